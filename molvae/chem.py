"""The one place where molecules are parsed, standardised, compared and drawn with RDKit."""

from __future__ import annotations

import functools
import random
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import (
    GraphDescriptors,
    rdDepictor,
    rdFingerprintGenerator,
    rdMolDescriptors,
    rdqueries,
)
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.Scaffolds import MurckoScaffold

from molvae.config import CleaningConfig
from molvae.errors import ConfigError, FileError, TargetError

__all__ = [
    "Cleaned",
    "Mol",
    "Profile",
    "Rejected",
    "Writing",
    "bertz_complexity",
    "block_smiles",
    "brics_fragments",
    "canonical_smiles",
    "clean",
    "contains",
    "draw_grid",
    "draw_svg",
    "elements",
    "fingerprints",
    "fragment_count",
    "has_radical",
    "is_pattern",
    "parse",
    "require_elements",
    "require_profile",
    "ring_scaffold",
    "scaffold",
    "sdf_block",
    "standardize",
    "to_smiles",
    "writings",
]

Mol = Chem.Mol
Profile = Literal["rdkit", "chembl", "none"]


@dataclass(frozen=True)
class Cleaned:
    """A molecule that passed, with its canonical isomeric SMILES."""

    mol: Mol
    smiles: str


@dataclass(frozen=True)
class Rejected:
    """Why a molecule was refused; ``reason`` is a short fixed phrase that can be counted."""

    reason: str


def parse(smiles: str) -> Mol | None:
    """The molecule, or None if RDKit refuses the text or it holds no atom at all.

    RDKit parses the empty string to a molecule of zero atoms; nothing is not a valid molecule.
    It also reads no further than the first line or NUL, which would silently lose the rest.
    """
    if len(smiles.strip().splitlines()) > 1 or "\0" in smiles:
        return None
    try:
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(smiles)
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    if mol is None or mol.GetNumAtoms() == 0:
        return None
    return mol


def canonical_smiles(smiles: str) -> str | None:
    """Canonical isomeric SMILES, or None if ``smiles`` is not a valid molecule."""
    mol = parse(smiles)
    return None if mol is None else str(Chem.MolToSmiles(mol))


def to_smiles(mol: Mol, *, isomeric: bool = True) -> str:
    """Canonical SMILES of a molecule; not ``isomeric``: without stereochemistry and isotopes."""
    return str(Chem.MolToSmiles(mol, isomericSmiles=isomeric))


@functools.cache
def _standardizers() -> tuple[
    rdMolStandardize.CleanupParameters,
    rdMolStandardize.LargestFragmentChooser,
    rdMolStandardize.Uncharger,
]:
    # A drug is smaller than some of its counter-ions; hydrogens do not make a fragment large.
    parameters = rdMolStandardize.CleanupParameters()
    parameters.preferOrganic = True  # type: ignore[assignment]  # the stubs name the wrong type
    parameters.largestFragmentChooserCountHeavyAtomsOnly = True  # type: ignore[assignment]
    return (
        parameters,
        rdMolStandardize.LargestFragmentChooser(parameters),
        rdMolStandardize.Uncharger(),
    )


def standardize(mol: Mol, profile: Profile = "rdkit") -> Mol:
    """A molecule in its standard form; unchanged for profile ``none``.

    ``rdkit``: RDKit's clean-up (normalise groups, cut bonds to metals, reionise), the largest
    organic fragment, neutralised. A single neutral fragment is returned as it is: every rule of
    the clean-up needs a charge, a metal bond or a second fragment to act on. The one exception is
    undone: sulfoxides are written S=O, as a salt of one or one beside a nitro group would not equal
    its plain form otherwise. ``chembl``: the parent molecule by ChEMBL's own pipeline (Bento et al.
    2020), which needs the extra of that name.
    """
    if profile == "none":
        return mol
    if profile == "chembl":
        return _chembl_parent(mol)
    simple = all(a.GetFormalCharge() == 0 for a in mol.GetAtoms()) and not _has_metal(mol)
    if simple and len(Chem.GetMolFrags(mol)) == 1:
        return mol
    parameters, chooser, uncharger = _standardizers()
    with rdBase.BlockLogs():
        mol = _cleaned_up(mol, parameters)
        if len(Chem.GetMolFrags(mol)) > 1:
            mol = chooser.choose(mol)
        return uncharger.uncharge(_plain_sulfoxides(mol))


def _cleaned_up(mol: Mol, parameters: rdMolStandardize.CleanupParameters) -> Mol:
    """RDKit's clean-up; the molecule as drawn where that breaks it, as it breaks sydnones.

    Moving charges, protons and bonds to metals changes hydrogens and charge together. A clean-up
    that does more has left a broken ring, which would end as another, saturated molecule.
    """
    before = rdMolDescriptors.CalcNumAtoms(mol) - Chem.GetFormalCharge(mol)
    cleaned: Mol = rdMolStandardize.Cleanup(mol, parameters)
    try:
        Chem.SanitizeMol(cleaned)
    except ValueError:
        return mol
    after = rdMolDescriptors.CalcNumAtoms(cleaned) - Chem.GetFormalCharge(cleaned)
    return cleaned if after == before else mol


def require_elements(symbols: Iterable[str]) -> None:
    """An error naming the first that is not the symbol of an element."""
    table = Chem.GetPeriodicTable()
    known = {table.GetElementSymbol(number) for number in range(1, 119)}
    for symbol in symbols:
        if symbol not in known:
            raise ConfigError(f"elements: '{symbol}' is not an element; expected e.g. C, N, Cl")


def require_profile(profile: Profile) -> None:
    """An error naming the extra if the profile needs a library that is not installed."""
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


def _has_metal(mol: Mol) -> bool:
    return any(atom.GetAtomicNum() not in _NON_METALS for atom in mol.GetAtoms())


def _is_organometallic(mol: Mol) -> bool:
    """Whether a metal is bound to carbon: cut off from it, the rest is another molecule."""
    return any(
        atom.GetAtomicNum() not in _NON_METALS
        and any(neighbor.GetAtomicNum() == 6 for neighbor in atom.GetNeighbors())
        for atom in mol.GetAtoms()
    )


_R_GROUP = re.compile(r"\[R\d*\]")


def clean(smiles: str, options: CleaningConfig) -> Cleaned | Rejected:
    """Parse, standardise and filter one molecule; cheap refusals come first."""
    text = smiles.strip()
    if not text:
        return Rejected("empty")
    mol = parse(text)
    if mol is None:
        return Rejected("wildcard or R-group" if _R_GROUP.search(text) else "not a valid SMILES")
    if ":" in text:  # or an aromatic bond, which does no harm
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
    plain = _is_plain(mol)
    if not plain:
        if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
            return Rejected("wildcard or R-group")
        if options.standardize != "none" and _is_organometallic(mol):
            return Rejected("organometallic")
    try:
        if not plain or options.standardize == "chembl":
            mol = standardize(mol, options.standardize)
            plain = False
    except _ExcludedError:
        return Rejected("excluded by the ChEMBL pipeline")
    except (ValueError, RuntimeError):
        return Rejected("standardisation failed")
    reason = _size_refusal(mol, options)
    if reason is None and not (plain and _COMMON.issubset(options.elements)):
        reason = _refusal(mol, options)
    if reason is not None:
        return Rejected(reason)
    if not options.stereo:
        Chem.RemoveStereochemistry(mol)
    return Cleaned(mol, Chem.MolToSmiles(mol))


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
    """Whether there is nothing to standardise or to look at twice, as for most drug-like molecules.

    One fragment of common elements without charges, isotopes and radicals. A query that RDKit
    matches by itself is many times as fast as a loop over atoms here.
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


def elements(mol: Mol) -> frozenset[str]:
    """Symbols of the elements in a molecule; hydrogens that are not atoms of the graph apart."""
    return frozenset(atom.GetSymbol() for atom in mol.GetAtoms())


@functools.cache
def _radical_atom() -> Chem.QueryAtom:
    return rdqueries.NumRadicalElectronsGreaterQueryAtom(0)


def has_radical(mol: Mol) -> bool:
    """Whether an atom has unpaired electrons: valid for RDKit, not what a chemist makes."""
    return len(mol.GetAtomsMatchingQuery(_radical_atom())) > 0


def scaffold(mol: Mol) -> str:
    """SMILES of the Bemis-Murcko scaffold without stereochemistry; empty for acyclic molecules."""
    core = MurckoScaffold.GetScaffoldForMol(mol)
    return str(Chem.MolToSmiles(core, isomericSmiles=False))


def ring_scaffold(mol: Mol, *, min_rings: int = 2) -> str:
    """SMILES of the Bemis-Murcko scaffold as MOSES counts it; empty below ``min_rings`` rings.

    MOSES (Polykovskiy et al. 2020) leaves single rings out, which nearly all molecules share, and
    keeps the stereochemistry, if any.
    """
    core = MurckoScaffold.GetScaffoldForMol(mol)
    if core.GetRingInfo().NumRings() < min_rings:
        return ""
    return str(Chem.MolToSmiles(core))


class Writing(NamedTuple):
    """A molecule written down in one of many orders."""

    smiles: str
    hydrogens: tuple[int, ...]  # of each atom, in that order; those that brackets name left out


MARKS = "[1At]", "[2At]"  # written for an attachment point; the second where others need it


def writings(smiles: str, count: int) -> list[Writing]:
    """About ``count`` ways to write a molecule, from every atom at least once; none is random.

    Attachment points (``*``) are written as `MARKS`, the second at stereo centres and stereo double
    bonds, and no writing begins with one. There is no way to write what is no connected SMILES or
    has a ``*`` that is not at the end of a single bond.
    """
    mol = parse(smiles)
    points = None if mol is None else _attachment_points(mol)
    if mol is None or points is None or fragment_count(mol) > 1:
        return []
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        if atom.GetIdx() in points:
            atom.SetAtomicNum(85)
            atom.SetIsotope(1 + _is_stereo(atom.GetNeighbors()[0]))
    shuffle, found = random.Random(0), {}
    roots = [i for i in range(mol.GetNumAtoms()) if i not in points]
    for turn in range(-(-count // len(roots))):
        for root in roots:
            order = list(range(mol.GetNumAtoms()))
            if turn:
                shuffle.shuffle(order)
            other = Chem.RenumberAtoms(mol, order)
            text = Chem.MolToSmiles(other, canonical=not turn, rootedAtAtom=order.index(root))
            # Where RDKit leaves the order in which it wrote the atoms.
            written = other.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"]
            atoms = [other.GetAtomWithIdx(i) for i in written]
            found[text] = Writing(text, tuple(a.GetNumImplicitHs() for a in atoms))
    return list(found.values())


def _attachment_points(mol: Mol) -> list[int] | None:
    """The atoms ``*``, or None if one of them is anything but the end of a single bond."""
    points = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    for atom in points:
        if [bond.GetBondType() for bond in atom.GetBonds()] != [Chem.BondType.SINGLE]:
            return None
        if atom.GetNeighbors()[0].GetAtomicNum() == 0:
            return None
    return [atom.GetIdx() for atom in points]


def is_pattern(text: str) -> bool:
    """Whether a text is a SMILES or a SMARTS with at least one atom."""
    return _pattern(text) is not None


def contains(mol: Mol, text: str) -> bool:
    """Whether a molecule has the substructure of a SMILES or, if it is none, of a SMARTS.

    An atom of a SMILES wants its charge and its aromaticity; stereo counts if the text has any.
    With attachment points (``*``), no other atom may have more neighbours than in the SMILES.
    """
    found = _pattern(text)
    if found is None:
        raise TargetError(f"'{text}' is neither a SMILES nor a SMARTS")
    return bool(mol.HasSubstructMatch(*found))


@functools.lru_cache(maxsize=64)
def _pattern(text: str) -> tuple[Mol, Chem.SubstructMatchParameters] | None:
    options: Any = Chem.SubstructMatchParameters()  # the stubs name wrong types
    options.useChirality = any(mark in text for mark in "@/\\")
    mol = parse(text)
    points = None if mol is None else _attachment_points(mol)
    if mol is None or points is None:
        if len(text.strip().splitlines()) > 1 or "\0" in text:
            return None
        with rdBase.BlockLogs():
            query = Chem.MolFromSmarts(text)
        return (query, options) if query is not None and query.GetNumAtoms() else None

    core = Chem.RWMol(mol)
    room = [a.GetDegree() if points else sys.maxsize for a in mol.GetAtoms()]
    # At a stereo centre or double bond the point says where the others are: it stays, as any atom.
    loose = [i for i in points if not _is_stereo(mol.GetAtomWithIdx(i).GetNeighbors()[0])]
    for i in sorted(loose, reverse=True):
        core.RemoveAtom(i)
        del room[i]
    for atom in core.GetAtoms():
        if atom.GetAtomicNum() == 0:
            anything = rdqueries.AtomNumGreaterQueryAtom(1)
            core.ReplaceAtom(atom.GetIdx(), anything)
    wanted = [
        None if a.GetAtomicNum() == 0 else (a.GetFormalCharge(), a.GetIsAromatic(), degree)
        for a, degree in zip(core.GetAtoms(), room, strict=True)
    ]

    def fits(other: Mol, match: Sequence[int]) -> bool:
        for i, want in zip(match, wanted, strict=True):
            atom = other.GetAtomWithIdx(i)
            if want is not None and (
                (atom.GetFormalCharge(), atom.GetIsAromatic()) != want[:2]
                or atom.GetDegree() > want[2]
            ):
                return False
        return True

    options.setExtraFinalCheck(fits)
    return core.GetMol(), options


def _is_stereo(atom: Chem.Atom) -> bool:
    return atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED or any(
        bond.GetStereo() > Chem.BondStereo.STEREOANY for bond in atom.GetBonds()
    )


def brics_fragments(mol: Mol) -> list[str]:
    """SMILES of the pieces after cutting all BRICS bonds (Degen et al. 2008), with repeats.

    A molecule without such a bond is its own single piece.
    """
    return str(Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(mol))).split(".")


def bertz_complexity(mol: Mol) -> float:
    """Topological complexity of Bertz 1981 as RDKit defines it (BertzCT)."""
    return float(GraphDescriptors.BertzCT(mol))


def fragment_count(mol: Mol) -> int:
    """Number of disconnected parts of a molecule, such as an ion and its counter-ion."""
    return len(Chem.GetMolFrags(mol))


@functools.cache
def _morgan(radius: int, size: int) -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)


def fingerprints(mols: list[Mol], *, radius: int = 2, size: int = 1024) -> NDArray[np.uint8]:
    """Morgan bit fingerprints packed into bytes, shape (len(mols), size / 8)."""
    generator = _morgan(radius, size)
    rows = np.empty((len(mols), size // 8), dtype=np.uint8)
    for i, mol in enumerate(mols):
        bits = DataStructs.BitVectToBinaryText(generator.GetFingerprint(mol))
        rows[i] = np.frombuffer(bits, dtype=np.uint8)
    return rows


def draw_svg(mol: Mol, *, width: int = 220, height: int = 170, legend: str = "") -> str:
    """The molecule as an SVG element without XML header, ready to stand inside HTML."""
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawer.drawOptions()
    options.clearBackground = False  # type: ignore[assignment]  # the stubs name the wrong type
    options.padding = 0.08  # type: ignore[assignment]
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, legend=legend)
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text[text.index("<svg") :]


CELL = 220, 200  # pixels of a cell of a grid
GRID, GRID_ROWS, GRID_COLUMNS = 500, 150, 100  # most cells; PNGs end at 32,767 pixels either way


def draw_grid(
    smiles: Sequence[str],
    legends: Sequence[str],
    *,
    columns: int = 5,
    kind: Literal["svg", "png"] = "svg",
) -> bytes:
    """A picture file of molecules in rows of ``columns``, a legend below each.

    Invalid SMILES leave their cell empty. Legends may have several lines; RDKit's fonts are
    ASCII, other characters become ``?``. Equal molecules and legends give equal bytes.
    """
    rows = max(1, -(-len(smiles) // max(columns, 1)))
    if len(smiles) > GRID or rows > GRID_ROWS or not 1 <= columns <= GRID_COLUMNS:
        raise ConfigError(
            f"grid: got {len(smiles)} molecules in {columns} columns, expected at most {GRID} in "
            f"1 to {GRID_COLUMNS} columns and at most {GRID_ROWS} rows"
        )
    mols = [parse(text) for text in smiles]
    texts = [
        "" if mol is None else legend.encode("ascii", "replace").decode()
        for mol, legend in zip(mols, legends, strict=True)
    ]
    width, height = CELL
    canvas = rdMolDraw2D.MolDraw2DSVG if kind == "svg" else rdMolDraw2D.MolDraw2DCairo
    drawer = canvas(width * max(1, min(columns, len(smiles))), height * rows, width, height)
    options: Any = drawer.drawOptions()  # the stubs name wrong types
    options.includeMetadata = False  # it holds the version of RDKit
    options.drawMolsSameScale = False  # one large molecule would make all others small
    options.fixedBondLength = 24.0  # pixels, less if the molecule does not fit
    options.legendFraction = 0.2
    options.legendFontSize = 14
    drawer.DrawMolecules(mols, legends=texts)
    drawer.FinishDrawing()
    picture: str | bytes = drawer.GetDrawingText()
    return picture.encode("ascii") if isinstance(picture, str) else picture


def sdf_block(smiles: str, name: str, values: dict[str, str]) -> str:
    """One SDF record with 2D coordinates, a title line and data fields."""
    mol = parse(smiles)
    if mol is None:
        raise FileError(f"cannot write '{smiles}' to an SDF file: not a valid SMILES")
    rdDepictor.Compute2DCoords(mol)
    mol.SetProp("_Name", name)
    fields = "".join(f">  <{key}>\n{value}\n\n" for key, value in values.items())
    return f"{Chem.MolToMolBlock(mol)}{fields}$$$$\n"


def block_smiles(block: str) -> str | None:
    """Canonical isomeric SMILES of a mol block, or None if RDKit refuses it or it has no atoms."""
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block)
    if mol is None or mol.GetNumAtoms() == 0:
        return None
    return str(Chem.MolToSmiles(mol))
