"""Cleaning of molecules for a dataset: standard form, allowed atoms, size."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rdkit import Chem, rdBase
from rdkit.Chem import rdMolDescriptors, rdqueries
from rdkit.Chem.MolStandardize import rdMolStandardize

from molvae.chem.fragments import STEREOISOMERS, flat_groups, parent_fragment
from molvae.chem.molecules import Mol, has_radical, parse, to_smiles
from molvae.config import CleaningConfig
from molvae.errors import ConfigError

__all__ = [
    "Cleaned",
    "Profile",
    "Rejected",
    "clean",
    "require_elements",
    "require_profile",
    "standardize",
]


Profile = Literal["rdkit", "chembl", "none"]


@dataclass(frozen=True)
class Cleaned:
    """A molecule that passed, with its canonical isomeric SMILES.

    ``note`` is a short fixed phrase that can be counted, if the file says more than the molecule:
    that it is a racemate, for example.
    """

    mol: Mol
    smiles: str
    note: str = ""


@dataclass(frozen=True)
class Rejected:
    """Why a molecule was refused; ``reason`` is a short fixed phrase that can be counted."""

    reason: str


class _Standardizers:
    """RDKit's parts of a clean-up; made once, which takes longer than their work."""

    def __init__(self) -> None:
        self.metals = rdMolStandardize.MetalDisconnector()
        self.normalizer = rdMolStandardize.Normalizer()
        self.reionizer = rdMolStandardize.Reionizer()
        self.uncharger = rdMolStandardize.Uncharger()


@functools.cache
def _standardizers() -> _Standardizers:
    return _Standardizers()


def standardize(mol: Mol, profile: Profile = "rdkit") -> Mol:
    """A molecule in its standard form; unchanged for profile ``none``.

    ``rdkit``: RDKit's clean-up (normalize groups, cut bonds to metals, reionize), the parent
    fragment (:func:`molvae.chem.fragments.parent_fragment`), neutralized. A single neutral fragment
    is returned as it is: every rule of the clean-up needs a charge, a metal bond or a second
    fragment to act on. The one exception is undone: sulfoxides are written S=O, so that the salt of
    a sulfoxide equals its plain form.
    ``chembl``: the parent molecule by ChEMBL's own pipeline (Bento et al. 2020), which needs the
    extra of that name.
    """
    return _standardized(mol, profile)[0]


def _standardized(mol: Mol, profile: Profile) -> tuple[Mol, str]:
    """The standard form, and a note about the choice of the fragment."""
    if profile == "none":
        return mol, ""
    if profile == "chembl":
        return _chembl_parent(mol), ""
    simple = not (mol.HasSubstructMatch(_charged_atom()) or mol.HasSubstructMatch(_metal_atom()))
    if simple and len(Chem.GetMolFrags(mol)) == 1:
        return mol, ""
    note = ""
    with rdBase.BlockLogs():
        mol = _cleaned_up(mol)
        if len(Chem.GetMolFrags(mol)) > 1:
            mol, note = parent_fragment(mol)
        return _standardizers().uncharger.uncharge(_plain_sulfoxides(mol)), note


def _rdkit_cleanup(mol: Mol) -> Mol:
    """What ``rdMolStandardize.Cleanup`` returns, without the steps that have nothing to act on.

    Only metals are disconnected. Protons move to negative atoms only, and lone atoms, such as Na
    and Cl, get charges.
    """
    steps = _standardizers()
    explicit = mol.GetNumHeavyAtoms() < mol.GetNumAtoms()
    cleaned = Chem.RWMol(Chem.RemoveHs(mol) if explicit else mol)
    if cleaned.HasSubstructMatch(_metal_atom()):
        steps.metals.DisconnectInPlace(cleaned)
    steps.normalizer.normalizeInPlace(cleaned)
    if cleaned.HasSubstructMatch(_reionized_atom()):
        steps.reionizer.reionizeInPlace(cleaned)
    Chem.AssignStereochemistry(cleaned, cleanIt=True, force=True)
    return cleaned


def _cleaned_up(mol: Mol) -> Mol:
    """RDKit's clean-up; the molecule as drawn where that breaks it, as it breaks sydnones.

    Moving charges, protons and bonds to metals changes hydrogens and charge together. A clean-up
    that does more has left a broken ring, which would end as another, saturated molecule.
    """
    before = rdMolDescriptors.CalcNumAtoms(mol) - Chem.GetFormalCharge(mol)
    cleaned = _rdkit_cleanup(mol)
    try:
        Chem.SanitizeMol(cleaned)
    except ValueError:
        return mol
    after = rdMolDescriptors.CalcNumAtoms(cleaned) - Chem.GetFormalCharge(cleaned)
    return cleaned if after == before else mol


def require_elements(symbols: Iterable[str]) -> None:
    """Raise an error that names the first symbol that is not an element."""
    table = Chem.GetPeriodicTable()
    known = {table.GetElementSymbol(number) for number in range(1, 119)}
    for symbol in symbols:
        if symbol not in known:
            raise ConfigError(f"elements: '{symbol}' is not an element; expected e.g. C, N, Cl")


def require_profile(profile: Profile) -> None:
    """Raise an error that names the extra if the profile needs a library that is missing."""
    if profile == "chembl":
        _chembl_pipeline()


def _chembl_pipeline() -> Any:
    try:
        import chembl_structure_pipeline
    except ImportError:
        raise ConfigError(
            "the cleaning profile 'chembl' needs the extra: pip install 'molvae[chembl]'"
        ) from None
    return chembl_structure_pipeline


class _ExcludedError(ValueError):
    """ChEMBL keeps no structure of such a compound, a complex of a metal for example."""


def _chembl_parent(mol: Mol) -> Mol:
    pipeline = _chembl_pipeline()
    with rdBase.BlockLogs():
        parent: Mol
        parent, excluded = pipeline.get_parent_mol(pipeline.standardize_mol(mol))
    if excluded:
        raise _ExcludedError
    Chem.SanitizeMol(parent)  # the pipeline leaves it without rings
    return parent


@functools.cache
def _charged_sulfoxide() -> Mol:
    return Chem.MolFromSmarts("[!O][S+1;X3;D3]([O-1;D1;H0])[!O]")


def _plain_sulfoxides(mol: Mol) -> Mol:
    matches = mol.GetSubstructMatches(_charged_sulfoxide())
    for _, sulfur, oxygen, _ in matches:
        mol.GetAtomWithIdx(sulfur).SetFormalCharge(0)
        mol.GetAtomWithIdx(oxygen).SetFormalCharge(0)
        mol.GetBondBetweenAtoms(sulfur, oxygen).SetBondType(Chem.BondType.DOUBLE)
    if matches:
        Chem.SanitizeMol(mol)
    return mol


_NON_METALS = frozenset(
    {0, 1, 2, *range(5, 11), *range(14, 19), *range(33, 37), 52, 53, 54, 85, 86}
)


# Searching for an atom takes a fraction of the time of a loop over the atoms here.
@functools.cache
def _metal_atom() -> Mol:
    return Chem.MolFromSmarts("[" + ";".join(f"!#{number}" for number in _NON_METALS) + "]")


@functools.cache
def _charged_atom() -> Mol:
    return Chem.MolFromSmarts("[!+0]")


@functools.cache
def _reionized_atom() -> Mol:
    """A negative or a lone atom."""
    query = Chem.RWMol(Chem.MolFromSmarts("[D0]"))
    atom = rdqueries.FormalChargeLessQueryAtom(0)
    atom.ExpandQuery(query.GetAtomWithIdx(0), Chem.COMPOSITE_OR)
    query.ReplaceAtom(0, atom)
    return query.GetMol()


@functools.cache
def _wildcard() -> Mol:
    return Chem.MolFromSmarts("[#0]")


@functools.cache
def _metal_on_carbon() -> Mol:
    """Cut off from the metal, the rest of such a molecule is another one."""
    return Chem.MolFromSmarts(f"{Chem.MolToSmarts(_metal_atom())}~[#6]")


TEXT_PER_ATOM = 80  # most characters of SMILES per heavy atom, enough for salts and brackets
_R_GROUP = re.compile(r"\[R\d*\]")


def clean(smiles: str, options: CleaningConfig) -> Cleaned | Rejected:
    """Parse, standardize and filter one molecule; cheap checks come first."""
    text = smiles.strip()
    if not text:
        return Rejected("empty")
    if len(text) > TEXT_PER_ATOM * options.max_heavy_atoms:
        # RDKit needs minutes for thousands of rings and branches.
        return Rejected("text too long")
    mol = parse(text)
    if mol is None:
        return Rejected("wildcard or R-group" if _R_GROUP.search(text) else "not a valid SMILES")
    if ":" in text:  # or an aromatic bond, which does no harm
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
    note = STEREOISOMERS if "|" in text and flat_groups(mol) else ""
    plain = _is_plain(mol)
    if not plain:
        if mol.HasSubstructMatch(_wildcard()):
            return Rejected("wildcard or R-group")
        if options.standardize != "none" and mol.HasSubstructMatch(_metal_on_carbon()):
            return Rejected("organometallic")
    try:
        if not plain or options.standardize == "chembl":
            mol, about = _standardized(mol, options.standardize)
            plain, note = False, note or about
    except _ExcludedError:
        return Rejected("excluded by the ChEMBL pipeline")
    except (ValueError, RuntimeError):
        return Rejected("standardization failed")
    reason = _size_refusal(mol, options)
    usual = plain or _is_plain(mol)
    if reason is None and not (usual and _COMMON.issubset(options.elements)):
        reason = _refusal(mol, options)
    if reason is not None:
        return Rejected(reason)
    if not options.stereo:
        Chem.RemoveStereochemistry(mol)
        note = "" if note == STEREOISOMERS else note
    return Cleaned(mol, to_smiles(mol, reread=not plain or bool(note)), note)


_COMMON = frozenset({"B", "Br", "C", "Cl", "F", "I", "N", "O", "P", "S"})


@functools.cache
def _unusual_atom() -> Mol:
    """Matches charges, isotopes, radicals, and all elements but the common ones."""
    unusual = rdqueries.FormalChargeEqualsQueryAtom(0, negate=True)
    unusual.ExpandQuery(rdqueries.IsotopeGreaterQueryAtom(0), Chem.COMPOSITE_OR)
    unusual.ExpandQuery(rdqueries.NumRadicalElectronsGreaterQueryAtom(0), Chem.COMPOSITE_OR)
    table = Chem.GetPeriodicTable()
    other = rdqueries.AtomNumEqualsQueryAtom(6, negate=True)
    for symbol in sorted(_COMMON - {"C"}):
        number = rdqueries.AtomNumEqualsQueryAtom(table.GetAtomicNumber(symbol), negate=True)
        other.ExpandQuery(number, Chem.COMPOSITE_AND)
    unusual.ExpandQuery(other, Chem.COMPOSITE_OR)
    query = Chem.RWMol()
    query.AddAtom(unusual)
    return query.GetMol()


def _is_plain(mol: Mol) -> bool:
    """Whether nothing needs standardization or a closer check, as for most drug-like molecules.

    One fragment of common elements without charges, isotopes and radicals.
    """
    return not mol.HasSubstructMatch(_unusual_atom()) and len(Chem.GetMolFrags(mol)) == 1


def _size_refusal(mol: Mol, options: CleaningConfig) -> str | None:
    heavy = mol.GetNumHeavyAtoms()
    if heavy < options.min_heavy_atoms:
        return "too few heavy atoms"
    if heavy > options.max_heavy_atoms:
        return "too many heavy atoms"
    return None


def _refusal(mol: Mol, options: CleaningConfig) -> str | None:
    allowed = frozenset(options.elements)
    for atom in mol.GetAtoms():
        if atom.GetSymbol() not in allowed:
            return "element not allowed"
        if atom.GetIsotope() and not options.isotopes:
            return "isotope label"
    if has_radical(mol):
        return "radical"
    if len(Chem.GetMolFrags(mol)) > 1:
        return "more than one fragment"
    if not options.charged and Chem.GetFormalCharge(mol) != 0:
        return "charged"
    return None
