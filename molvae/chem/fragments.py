"""The parent molecule of a salt, solvate or mixture: which of its fragments is kept."""

from __future__ import annotations

import functools
from importlib.resources import files

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.MolStandardize import rdMolStandardize

from molvae.chem.molecules import Mol

__all__ = ["MIXTURE", "STEREOISOMERS", "flat_groups", "is_counter_ion", "parent_fragment"]

# What is noted, and counted, about a molecule that is not written as the file has it.
MIXTURE = "mixture of several organic molecules: the largest is kept"
STEREOISOMERS = "racemate or mixture of stereoisomers: kept without the stereo it leaves open"


def parent_fragment(mol: Mol) -> tuple[Mol, str]:
    """The fragment of a molecule that is kept, and a note if the choice was not obvious.

    Solvents and counter-ions of ``counterions.smi`` are removed first, in the order of that list,
    as long as another fragment with carbon remains. Of what remains, the largest is kept: by heavy
    atoms, then by mass, then the first SMILES in alphabetical order. Stereoisomers of one molecule
    become its form without stereochemistry.
    """
    fragments = list(Chem.GetMolFrags(mol, asMols=True))
    organic = [f for f in fragments if any(a.GetAtomicNum() == 6 for a in f.GetAtoms())]
    if not organic:
        return max(fragments, key=_size), ""
    by_form: dict[str, list[Mol]] = {}
    for fragment in organic:
        by_form.setdefault(_form(fragment), []).append(fragment)
    listed = _counter_ions()
    last = max(listed.get(form, len(listed)) for form in by_form)
    left = {f: same for f, same in by_form.items() if listed.get(f, len(listed)) == last}
    form = max(sorted(left), key=lambda f: _size(left[f][0]))
    note = MIXTURE if len(left) > 1 else ""
    isomers = {Chem.MolToSmiles(_uncharged(fragment)) for fragment in left[form]}
    kept = left[form][0]
    if len(isomers) > 1:
        kept = Chem.Mol(kept)
        Chem.RemoveStereochemistry(kept)
        note = STEREOISOMERS
    return kept, note


def is_counter_ion(mol: Mol) -> bool:
    """Whether a molecule is one of the solvents and counter-ions of ``counterions.smi``."""
    return _form(mol) in _counter_ions()


def _size(mol: Mol) -> tuple[int, float]:
    return mol.GetNumHeavyAtoms(), float(rdMolDescriptors._CalcMolWt(mol))


def _form(mol: Mol) -> str:
    """What is compared: SMILES of the neutral form, without stereochemistry and isotopes."""
    return str(Chem.MolToSmiles(_uncharged(mol), isomericSmiles=False))


def _uncharged(mol: Mol) -> Mol:
    uncharged: Mol = _uncharger().uncharge(mol)
    return uncharged


@functools.cache
def _uncharger() -> rdMolStandardize.Uncharger:
    return rdMolStandardize.Uncharger()


@functools.cache
def _counter_ions() -> dict[str, int]:
    """Form of each listed solvent and counter-ion → its place in the list."""
    text = files("molvae.chem").joinpath("counterions.smi").read_text(encoding="utf-8")
    lines = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    return {_form(Chem.MolFromSmiles(smiles)): i for i, smiles in enumerate(lines)}


def flat_groups(mol: Mol) -> bool:
    """Remove, in place, the stereochemistry that enhanced stereo leaves open; whether there is any.

    The centers of an AND group (``&1``, a racemate) and of an OR group (``o1``, one enantiomer that
    is not known which) have no single configuration.
    """
    open_groups = [
        group
        for group in mol.GetStereoGroups()
        if group.GetGroupType() != Chem.StereoGroupType.STEREO_ABSOLUTE
    ]
    for group in open_groups:
        for atom in group.GetAtoms():
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        for bond in group.GetBonds():
            bond.SetStereo(Chem.BondStereo.STEREONONE)
    if open_groups:
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    return bool(open_groups)
