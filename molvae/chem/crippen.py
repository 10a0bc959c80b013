"""logP and molar refractivity of Wildman & Crippen 1999 as RDKit defines them, but faster.

RDKit adds hydrogens and searches for 110 SMARTS. What an atom and its hydrogens contribute depends
on its environment alone, so it is kept by environment once RDKit has computed it:

- any atom: its element, charge, hydrogens, neighbors, isotope and aromaticity, and the order of
  each bond with the element, charge and aromaticity of the neighbor;
- oxygen, and the hydrogens on it: the same of its neighbors, too.

An environment is a hash of 64 bits: among a million of them, two are equal with a probability of
3e-8. The sums are taken in RDKit's order, for the same rounding.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molvae.chem.molecules import Mol

__all__ = ["crippen"]

VERSION = "1.2.0"  # of RDKit's definition, whose SMARTS see no more than the environments
KINDS = 2048  # most kinds of atoms; drug-like molecules have about a hundred
MOST = 50_000  # environments that are kept: about 20 MB
AROMATIC = 3  # twice the order of an aromatic bond


# What an atom adds to logP and what each of its hydrogens adds; the same of the refractivity.
_Entry = tuple[float, list[float], float, list[float]]


class _Contributions:
    """Kinds of atoms, and the contributions of environments that have occurred."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        # Kind: RDKit's hash of element, neighbors, hydrogens, charge and isotope → its number.
        self.kinds: dict[int, int] = {}
        self._numbers = itertools.count()
        self._seen: dict[tuple[int, int], NDArray[np.uint64]] = {}  # of an element and a charge
        self._random = random.integers(0, 2**64, (KINDS, 2), np.uint64)
        # Hashes of each kind, not aromatic and aromatic: its own, and as a neighbor sees it.
        self.own = random.integers(0, 2**64, (KINDS, 2), np.uint64)
        self.seen = np.zeros((KINDS, 2), np.uint64)
        self.oxygen = np.zeros(KINDS, np.uint64)  # 1 for oxygen, else 0
        self.orders = random.integers(0, 2**64, 7, np.uint64)  # of twice the order of a bond
        self.orders[0] = 0  # no bond
        self.table: dict[int, _Entry] = {}

    def add_kinds(self, invariants: Iterable[int], mol: Mol) -> bool:
        """Number the new kinds of atoms of a molecule; False if there are too many."""
        for invariant, atom in zip(invariants, mol.GetAtoms(), strict=True):
            if invariant not in self.kinds:
                number = next(self._numbers)  # two threads never get the same
                if number >= KINDS:
                    return False
                kind = atom.GetAtomicNum(), atom.GetFormalCharge()
                self.seen[number] = self._seen.setdefault(kind, self._random[number])
                self.oxygen[number] = kind[0] == 8
                self.kinds[invariant] = number
        return True

    def add(self, mol: Mol, environments: list[int]) -> list[_Entry]:
        """The contributions of a molecule with a new environment, by RDKit; they are kept."""
        pairs = rdMolDescriptors._CalcCrippenContribs(Chem.AddHs(mol), True)
        hydrogens = iter(pairs[mol.GetNumAtoms() :])  # those of the first atom, of the second, ...
        entries: list[_Entry] = []
        for (logp, refractivity), atom in zip(pairs, mol.GetAtoms(), strict=False):
            more = list(itertools.islice(hydrogens, atom.GetTotalNumHs()))
            entries.append((logp, [h[0] for h in more], refractivity, [h[1] for h in more]))
        if len(self.table) > MOST:
            self.table.clear()
        self.table.update(zip(environments, entries, strict=True))
        return entries


@functools.cache
def _contributions() -> _Contributions:
    return _Contributions()


@functools.cache
def _unusual_bond() -> Mol:
    """A bond whose order alone does not say what it is, such as a dative one."""
    return Chem.MolFromSmarts("*!-;!=;!#;!:*")


def _environments(mol: Mol) -> list[int] | None:
    """The environment of each atom; None for a molecule that only RDKit itself can judge."""
    size = mol.GetNumAtoms()
    # Not here: hydrogens as atoms, wildcards, unusual bonds, another definition.
    if (
        not 0 < size == mol.GetNumHeavyAtoms()
        or rdMolDescriptors._CalcCrippenDescriptors_version != VERSION
        or mol.HasSubstructMatch(_unusual_bond())
    ):
        return None
    known = _contributions()
    orders = (Chem.GetAdjacencyMatrix(mol, True, 0, True, "crippen") * 2.0).astype(np.intp)
    aromatic = np.logical_or.reduce(orders == AROMATIC, axis=1).view(np.int8)
    invariants = rdMolDescriptors.GetConnectivityInvariants(mol, False)
    kinds = list(map(known.kinds.get, invariants))
    if None in kinds:
        if not known.add_kinds(invariants, mol):
            return None
        kinds = [known.kinds[invariant] for invariant in invariants]
    numbers = np.asarray(kinds)
    bonds: NDArray[np.uint64] = known.orders[orders]
    first = known.own[numbers, aromatic] + bonds @ known.seen[numbers, aromatic]
    second = first + known.oxygen[numbers] * (bonds @ (first ^ first >> np.uint64(32)))
    environments: list[int] = second.tolist()
    return environments


def crippen(mol: Mol, *, refractivity: bool = True) -> tuple[float, float]:
    """logP (octanol-water partition) and molar refractivity in cm³/mol of a sanitized molecule.

    Without ``refractivity`` only logP is computed, and the other is NaN.
    """
    environments = _environments(mol)
    if environments is None:
        logp, molar = rdMolDescriptors.CalcCrippenDescriptors(mol)
        return float(logp), float(molar)
    table = _contributions().table
    try:
        entries = [table[environment] for environment in environments]
    except KeyError:
        entries = _contributions().add(mol, environments)
    logp = _total([e[0] for e in entries], [e[1] for e in entries])
    if not refractivity:
        return logp, math.nan
    return logp, _total([e[2] for e in entries], [e[3] for e in entries])


def _total(atoms: list[float], hydrogens: list[list[float]]) -> float:
    """The sum in RDKit's order; not ``sum``, which rounds differently in some Pythons."""
    return functools.reduce(operator.add, itertools.chain(atoms, *hydrogens), 0.0)
