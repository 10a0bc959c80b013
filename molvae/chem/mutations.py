"""Mutations of molecular graphs: one edit of a molecule, or a crossover of two (Jensen 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.random import Generator
from rdkit import Chem, rdBase

from molvae.chem.molecules import Mol, parse

__all__ = ["crossed", "edited"]

T = TypeVar("T")
TRIES = 10
LARGEST = 7  # atoms of a new ring
_RINGS = range(3, LARGEST + 1)  # sizes of rings that an edit may close
_BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
_BENT = (Chem.MolFromSmarts("[r]#@[r]"), Chem.MolFromSmarts("[r]=@[r]=@[r]"))
_CHAIN_BOND = Chem.MolFromSmarts("[*]-;!@[*]")

_ENDS = Chem.MolzipParams()
_ENDS.label = Chem.MolzipLabel.Isotope

_Edit = Callable[[Chem.RWMol, Sequence[str], Generator], bool]


def edited(smiles: str, elements: Sequence[str], rng: Generator) -> str:
    """Canonical SMILES after one edit; empty if ten attempts gave no other molecule.

    An atom is appended, inserted into a bond, removed or replaced by another of ``elements``; a
    bond gets another order; a ring is opened or closed; a group moves to another atom, or two atoms
    change places. Results with a strained ring, a ring larger than any of ``smiles``, or another
    net charge are dropped.
    """
    parent = _bare(smiles)
    if parent is None:
        return ""
    start, limit, charges = parent.mol, parent.ring_limit, {0, parent.charge}
    for _ in range(TRIES):
        mol = Chem.RWMol(start)
        if _EDITS[rng.integers(len(_EDITS))](mol, elements, rng):
            result = _finished(mol, limit, charges)
            if result and result != smiles:
                return result
    return ""


def crossed(first: str, second: str, rng: Generator) -> str:
    """Canonical SMILES of a part of each of two molecules; empty if ten attempts gave none.

    Both are cut at a chain bond, or both through a ring at two of its bonds. Rings and charges are
    limited as in :func:`edited`, the size to 0.5 of the smaller up to 1.5 of the larger molecule.
    """
    molecules = [mol for mol in (_cuttable(first), _cuttable(second)) if mol is not None]
    if len(molecules) < 2:
        return ""
    limit, sizes = max(mol.ring_limit for mol in molecules), [mol.size for mol in molecules]
    charges = {0, *(mol.charge for mol in molecules)}
    for _ in range(TRIES):
        in_ring = rng.random() < 0.5
        cuts = [mol.cut_ring(rng) if in_ring else mol.cut_chain(rng) for mol in molecules]
        halves = [parts for parts in cuts if parts is not None]
        if len(halves) < 2:
            continue
        a, b = (parts[int(rng.integers(2))] for parts in halves)
        ends = 4 if in_ring else 2  # placeholders at the cuts
        size = a.GetNumAtoms() + b.GetNumAtoms() - ends
        if not min(sizes) <= 2 * size <= 3 * max(sizes):
            continue
        try:
            with rdBase.BlockLogs():
                joined = Chem.molzip(a, b, _ENDS)
        except (RuntimeError, ValueError):  # the parts do not fit together
            continue
        result = _finished(Chem.RWMol(joined), limit, charges)
        if result and result not in (first, second):
            return result
    return ""


class _Bare(NamedTuple):
    """A molecule with alternating bonds and all hydrogens implied; callers change copies of it."""

    mol: Mol
    ring_limit: int  # atoms of the largest ring that a change may leave
    charge: int


@lru_cache(maxsize=256)  # a search changes the same parents many times
def _bare(smiles: str) -> _Bare | None:
    """The molecule, so that each of its bonds and atoms may change; None if it is not valid."""
    mol = parse(smiles)
    if mol is None:
        return None
    Chem.Kekulize(mol, clearAromaticFlags=True)
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    mol.UpdatePropertyCache(strict=False)
    ring_limit = max(LARGEST, *map(len, mol.GetRingInfo().AtomRings()), 0)
    return _Bare(mol, ring_limit, Chem.GetFormalCharge(mol))


def _finished(mol: Chem.RWMol, limit: int, charges: set[int]) -> str:
    """Canonical SMILES; empty if invalid, in several parts, strained, or of another charge."""
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
            smiles = str(Chem.MolToSmiles(mol))
    except (ValueError, RuntimeError):
        return ""
    if "." in smiles or "*" in smiles or Chem.GetFormalCharge(mol) not in charges:
        return ""
    if _strained(mol, smiles, limit) or parse(smiles) is None:
        return ""
    return smiles


def _strained(mol: Mol, smiles: str, limit: int) -> bool:
    """Whether a ring is too large, or has a multiple bond and less than five atoms, or bends an
    alkyne or allene.
    """
    for ring in mol.GetRingInfo().BondRings():
        if len(ring) > limit:
            return True
        if len(ring) < 5 and any(
            mol.GetBondWithIdx(bond).GetBondType() != _BONDS[0] for bond in ring
        ):
            return True
    # A search for a pattern takes longer than to see that the SMILES lacks its bonds.
    alkyne, allene = _BENT
    return ("#" in smiles and mol.HasSubstructMatch(alkyne)) or (
        smiles.count("=") > 1 and mol.HasSubstructMatch(allene)
    )


def _pick(items: Sequence[T], rng: Generator) -> T:
    return items[int(rng.integers(len(items)))]


def _free(mol: Chem.RWMol) -> list[int]:
    """Atoms with a hydrogen."""
    return [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs()]


def _append_atom(mol: Chem.RWMol, elements: Sequence[str], rng: Generator) -> bool:
    places = _free(mol)
    if not places:
        return False
    place = _pick(places, rng)
    most = min(mol.GetAtomWithIdx(place).GetTotalNumHs(), 3)
    bond = _BONDS[int(rng.integers(most))] if rng.random() < 0.4 else _BONDS[0]
    mol.AddBond(place, mol.AddAtom(Chem.Atom(_pick(elements, rng))), bond)
    return True


def _insert_atom(mol: Chem.RWMol, elements: Sequence[str], rng: Generator) -> bool:
    bonds = [bond for bond in mol.GetBonds() if bond.GetBondType() == _BONDS[0]]
    if not bonds:
        return False
    bond = _pick(bonds, rng)
    ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    new = mol.AddAtom(Chem.Atom(_pick(elements, rng)))
    mol.RemoveBond(*ends)
    for end in ends:
        mol.AddBond(end, new, _BONDS[0])
    return True


def _delete_atom(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    places = [atom.GetIdx() for atom in mol.GetAtoms() if 1 <= atom.GetDegree() <= 2]
    if not places or mol.GetNumAtoms() < 3:
        return False
    place = _pick(places, rng)
    neighbors = [atom.GetIdx() for atom in mol.GetAtomWithIdx(place).GetNeighbors()]
    if len(neighbors) == 2 and mol.GetBondBetweenAtoms(*neighbors) is None:
        mol.AddBond(neighbors[0], neighbors[1], _BONDS[0])
    mol.RemoveAtom(place)
    return True


def _change_atom(mol: Chem.RWMol, elements: Sequence[str], rng: Generator) -> bool:
    atom = mol.GetAtomWithIdx(int(rng.integers(mol.GetNumAtoms())))
    atom.SetAtomicNum(Chem.Atom(_pick(elements, rng)).GetAtomicNum())
    atom.SetFormalCharge(0)
    return True


def _change_bond(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    if not mol.GetNumBonds():
        return False
    bond = mol.GetBondWithIdx(int(rng.integers(mol.GetNumBonds())))
    bond.SetBondType(_pick([b for b in _BONDS if b != bond.GetBondType()], rng))
    return True


def _open_ring(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    Chem.FastFindRings(mol)
    bonds = [bond for bond in mol.GetBonds() if bond.IsInRing()]
    if not bonds:
        return False
    bond = _pick(bonds, rng)
    mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return True


def _close_ring(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    free = _free(mol)
    near = Chem.GetDistanceMatrix(mol)[np.ix_(free, free)] + 1  # size of the ring
    size = _pick((5, 6) if rng.random() < 0.8 else _RINGS, rng)
    pairs = np.argwhere(np.triu(near == size))
    if not len(pairs):
        return False
    a, b = pairs[int(rng.integers(len(pairs)))]
    mol.AddBond(free[a], free[b], _BONDS[0])
    return True


def _move_group(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    """Move a group at a chain bond to another atom: one step between positional isomers."""
    Chem.FastFindRings(mol)
    pairs = mol.GetSubstructMatches(_CHAIN_BOND)
    if not pairs:
        return False
    old, group = (int(end) for end in rng.permutation(_pick(pairs, rng)))
    mol.RemoveBond(old, group)
    (rest,) = (part for part in Chem.GetMolFrags(mol) if old in part)
    places = [place for place in _free(mol) if place in rest and place != old]
    if not places:
        return False
    mol.AddBond(_pick(places, rng), group, _BONDS[0])
    return True


def _swap_atoms(mol: Chem.RWMol, _: Sequence[str], rng: Generator) -> bool:
    """Swap two atoms of equal degree: a nitrogen moves around its ring in one step."""
    a = mol.GetAtomWithIdx(int(rng.integers(mol.GetNumAtoms())))
    candidates = [
        atom
        for atom in mol.GetAtoms()
        if atom.GetDegree() == a.GetDegree() and atom.GetAtomicNum() != a.GetAtomicNum()
    ]
    if not candidates:
        return False
    b = _pick(candidates, rng)
    first, second = a.GetAtomicNum(), b.GetAtomicNum()
    for atom, number in ((a, second), (b, first)):
        atom.SetAtomicNum(number)
        atom.SetFormalCharge(0)
    return True


_EDITS: tuple[_Edit, ...] = (
    _append_atom,
    _insert_atom,
    _delete_atom,
    _change_atom,
    _change_bond,
    _open_ring,
    _close_ring,
    _move_group,
    _swap_atoms,
)


class _Cuttable:
    """A molecule and the parts it can be cut into, which are cached."""

    def __init__(self, bare: _Bare) -> None:
        mol, self.ring_limit, self.charge = bare
        self._mol, self._parts = mol, dict[tuple[int, ...], tuple[Mol, Mol] | None]()
        self.size = mol.GetNumAtoms()
        self._chain = [
            mol.GetBondBetweenAtoms(*pair).GetIdx() for pair in mol.GetSubstructMatches(_CHAIN_BOND)
        ]
        self._rings = [
            [bond for bond in ring if mol.GetBondWithIdx(bond).GetBondType() == _BONDS[0]]
            for ring in mol.GetRingInfo().BondRings()
        ]

    def cut_chain(self, rng: Generator) -> tuple[Mol, Mol] | None:
        """The two parts at a single bond outside rings."""
        return self._cut((_pick(self._chain, rng),)) if self._chain else None

    def cut_ring(self, rng: Generator) -> tuple[Mol, Mol] | None:
        """The two parts at two single bonds of a ring."""
        single = _pick(self._rings, rng) if self._rings else []
        return self._cut(tuple(rng.permutation(single)[:2].tolist())) if len(single) > 1 else None

    def _cut(self, bonds: tuple[int, ...]) -> tuple[Mol, Mol] | None:
        if bonds not in self._parts:
            self._parts[bonds] = _parts(self._mol, bonds)
        return self._parts[bonds]


@lru_cache(maxsize=256)  # a search crosses the same parents many times
def _cuttable(smiles: str) -> _Cuttable | None:
    bare = _bare(smiles)
    return None if bare is None else _Cuttable(bare)


def _parts(mol: Mol, bonds: Sequence[int]) -> tuple[Mol, Mol] | None:
    """The parts after the bonds are cut, if there are two, each with an end of every bond."""
    labels = [(number, number) for number in range(1, len(bonds) + 1)]
    cut = Chem.FragmentOnBonds(mol, bonds, dummyLabels=labels)
    parts = Chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False)
    if len(parts) != 2:
        return None
    ends = [sum(not atom.GetAtomicNum() for atom in part.GetAtoms()) for part in parts]
    return (parts[0], parts[1]) if ends == [len(bonds)] * 2 else None
