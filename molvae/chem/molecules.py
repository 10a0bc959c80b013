"""Texts ⇄ molecules, and the composition of molecules: elements, scaffolds, fragments."""

from __future__ import annotations

import functools
import re
from collections import Counter

from rdkit import Chem, rdBase
from rdkit.Chem import rdqueries

__all__ = [
    "Mol",
    "atom_counts",
    "bertz_complexity",
    "block_fault",
    "block_smiles",
    "brics_fragments",
    "canonical_smiles",
    "elements",
    "fragment_count",
    "has_radical",
    "largest_ring",
    "parse",
    "ring_scaffold",
    "scaffold",
    "to_smiles",
]

Mol = Chem.Mol


def parse(smiles: str) -> Mol | None:
    """The molecule, or None if RDKit refuses the text or it holds no atom at all.

    RDKit parses the empty string to a molecule of zero atoms, which is not valid here. It also
    reads no further than the first line or NUL, which would silently lose the rest.
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
    return None if mol is None else to_smiles(mol)


def block_smiles(block: str) -> str | None:
    """SMILES of a mol block, or None if RDKit refuses it or it has no atoms.

    Enhanced stereo, such as the mark of a racemate, is appended: ``C[C@H](N)CO |&1:1|``.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block)
    if mol is None or mol.GetNumAtoms() == 0:
        return None
    fields = Chem.CXSmilesFields.CX_ENHANCEDSTEREO
    return str(Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), fields))


def block_fault(block: str) -> tuple[str, str]:
    """(why RDKit refuses a mol block, its SMILES as drawn): texts for a table of refused records.

    The reason is a short phrase that can be counted; the SMILES is empty if there are no atoms.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(block, sanitize=False)
        problems = [] if mol is None else Chem.DetectChemistryProblems(mol)
    if mol is None:
        return "broken SDF record", ""
    if mol.GetNumAtoms() == 0:
        return "no atoms", ""
    reason = "not a valid structure"
    if problems and problems[0].GetType() == "AtomValenceException":
        reason += f": valence of {mol.GetAtomWithIdx(problems[0].GetAtomIdx()).GetSymbol()}"
    elif problems:
        reason += ": aromatic ring without alternating bonds"
    return reason, str(Chem.MolToSmiles(mol))


def to_smiles(mol: Mol, *, isomeric: bool = True, reread: bool = False) -> str:
    """Canonical SMILES of a molecule; not ``isomeric``: without stereochemistry and isotopes.

    RDKit writes some molecules in another way each time they are read again, by dependent centers
    or double bonds. Texts with such are read again until they repeat, and of a cycle the first in
    alphabetical order is taken. ``reread`` does so with any text, for a molecule that was changed.
    """
    smiles = str(Chem.MolToSmiles(mol, isomericSmiles=isomeric))
    if not (reread or (isomeric and _MAY_CHANGE.search(smiles))):
        return smiles
    seen = [smiles]
    while True:
        with rdBase.BlockLogs():
            again = Chem.MolFromSmiles(seen[-1])
        if again is None:
            return smiles
        following = str(Chem.MolToSmiles(again, isomericSmiles=isomeric))
        if following in seen:
            return min(seen[seen.index(following) :])
        seen.append(following)


_MAY_CHANGE = re.compile(r"/|@[^@].*@")  # a double bond's stereo, or two centers


def elements(mol: Mol) -> frozenset[str]:
    """Symbols of the elements in a molecule, implicit hydrogens excluded."""
    return frozenset(atom.GetSymbol() for atom in mol.GetAtoms())


def fragment_count(mol: Mol) -> int:
    """Number of disconnected parts of a molecule, such as an ion and its counter-ion."""
    return len(Chem.GetMolFrags(mol))


@functools.cache
def _radical_atom() -> Chem.QueryAtom:
    return rdqueries.NumRadicalElectronsGreaterQueryAtom(0)


def has_radical(mol: Mol) -> bool:
    """Whether an atom has unpaired electrons, which RDKit accepts as valid."""
    return len(mol.GetAtomsMatchingQuery(_radical_atom())) > 0


def _framework(mol: Mol) -> Mol:
    """The rings of a molecule and what joins them (Bemis & Murcko 1996)."""
    from rdkit.Chem.Scaffolds import MurckoScaffold  # slow to import, and rarely needed

    framework: Mol = MurckoScaffold.GetScaffoldForMol(mol)
    return framework


def scaffold(mol: Mol) -> str:
    """SMILES of the Bemis-Murcko scaffold without stereochemistry; empty for acyclic molecules."""
    return str(Chem.MolToSmiles(_framework(mol), isomericSmiles=False))


def ring_scaffold(mol: Mol, *, min_rings: int = 2) -> str:
    """SMILES of the Bemis-Murcko scaffold as MOSES counts it; empty below ``min_rings`` rings.

    MOSES (Polykovskiy et al. 2020) leaves single rings out, which nearly all molecules share, and
    keeps the stereochemistry, if any.
    """
    core = _framework(mol)
    if core.GetRingInfo().NumRings() < min_rings:
        return ""
    return str(Chem.MolToSmiles(core))


def brics_fragments(mol: Mol) -> list[str]:
    """SMILES of the pieces after cutting all BRICS bonds (Degen et al. 2008), with repeats.

    A molecule without such a bond is its own single piece.
    """
    return str(Chem.MolToSmiles(Chem.FragmentOnBRICSBonds(mol))).split(".")


def bertz_complexity(mol: Mol) -> float:
    """Topological complexity of Bertz 1981 as RDKit defines it (BertzCT)."""
    from rdkit.Chem import GraphDescriptors  # slow to import, and rarely needed

    return float(GraphDescriptors.BertzCT(mol))


def atom_counts(mol: Mol) -> Counter[str]:
    """Symbol of each element → number of its atoms, hydrogens included."""
    counts = Counter(atom.GetSymbol() for atom in mol.GetAtoms())
    counts["H"] += sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    return counts


def largest_ring(mol: Mol) -> int:
    """Atoms of the largest of the smallest rings; 0 without a ring."""
    return max((len(ring) for ring in Chem.GetSymmSSSR(mol)), default=0)
