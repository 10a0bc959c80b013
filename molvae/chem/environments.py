"""Values of atoms that depend on the environment alone, computed once for each environment.

Two kinds of environments serve different tables. Both say of an atom: its element, charge,
hydrogens, neighbors and aromaticity, and the order of each bond with the element, charge and
aromaticity of the neighbor. In addition they say

- ``oxygen``: of the neighbors of oxygen all of this, too;
- ``nitrogen``: of the neighbors of nitrogen the number of their double bonds to oxygen.

An environment is a hash of 64 bits: among a million of them, two are equal with a probability of
3e-8. Drug-like molecules have one or two thousand.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molvae.chem.molecules import Mol

__all__ = ["AtomTable", "Environments", "environments"]

T = TypeVar("T")

KINDS = 2048  # most kinds of atoms; drug-like molecules have about a hundred
MOST = 50_000  # environments that a table keeps: about 20 MB
AROMATIC, DOUBLE = 3, 4  # twice the order of such a bond


class _Kinds:
    """Hashes of kinds of atoms; a kind is RDKit's hash of all of an atom but aromaticity."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.numbers: dict[int, int] = {}
        self._count = itertools.count()
        self._seen: dict[tuple[int, int], NDArray[np.uint64]] = {}  # of an element and a charge
        self._random = random.integers(0, 2**64, (KINDS, 2), np.uint64)
        # Of each kind, not aromatic and aromatic: its own hash, and that which a neighbor sees.
        self.own = random.integers(0, 2**64, (KINDS, 2), np.uint64)
        self.seen = np.zeros((KINDS, 2), np.uint64)
        self.elements = np.zeros(KINDS, np.int64)
        self.orders = random.integers(0, 2**64, 7, np.uint64)  # of twice the order of a bond
        self.orders[0] = 0  # no bond

    def add(self, invariants: Iterable[int], mol: Mol) -> bool:
        """Number the new kinds of atoms of a molecule; False if there are too many."""
        for invariant, atom in zip(invariants, mol.GetAtoms(), strict=True):
            if invariant not in self.numbers:
                number = next(self._count)  # two threads never get the same
                if number >= KINDS:
                    return False
                kind = atom.GetAtomicNum(), atom.GetFormalCharge()
                self.seen[number] = self._seen.setdefault(kind, self._random[number])
                self.elements[number] = kind[0]
                self.numbers[invariant] = number
        return True


@functools.cache
def _kinds() -> _Kinds:
    return _Kinds()


@functools.cache
def _unusual_bond() -> Mol:
    """A bond whose order alone does not say what it is, such as a dative one."""
    return Chem.MolFromSmarts("*!-;!=;!#;!:*")


class Environments(NamedTuple):
    """The environments of the atoms of a molecule, in their order."""

    oxygen: list[int]
    nitrogen: list[int]


def environments(mol: Mol) -> Environments | None:
    """The environments of the atoms of a sanitized molecule.

    None where environments do not say enough: if hydrogens or wildcards are atoms, a bond is
    neither single, double, triple nor aromatic, or the process has met too many kinds of atoms.
    """
    if not 0 < mol.GetNumAtoms() == mol.GetNumHeavyAtoms():
        return None
    if mol.HasSubstructMatch(_unusual_bond()):
        return None
    known = _kinds()
    orders = (Chem.GetAdjacencyMatrix(mol, True, 0, True, "environments") * 2.0).astype(np.intp)
    aromatic = np.logical_or.reduce(orders == AROMATIC, axis=1).view(np.int8)
    invariants = rdMolDescriptors.GetConnectivityInvariants(mol, False)
    kinds = list(map(known.numbers.get, invariants))
    if None in kinds:
        if not known.add(invariants, mol):
            return None
        kinds = [known.numbers[invariant] for invariant in invariants]
    numbers = np.asarray(kinds)
    bonds: NDArray[np.uint64] = known.orders[orders]
    seen = known.seen[numbers, aromatic]
    first = known.own[numbers, aromatic] + bonds @ seen
    elements = known.elements[numbers]
    oxo = ((orders == DOUBLE) @ (elements == 8).astype(np.uint64)) * known.orders[DOUBLE]
    return Environments(
        (first + (elements == 8) * (bonds @ _mixed(first))).tolist(),
        (first + (elements == 7) * (bonds @ _mixed(seen + oxo))).tolist(),
    )


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Other hashes, whose sums say nothing of the sums of these."""
    return hashes ^ hashes >> np.uint64(32)


class AtomTable(Generic[T]):
    """Values of atoms by environment, in bounded memory.

    ``compute`` gives the value of each atom of a molecule; it is called for molecules with an
    environment that has not occurred before.
    """

    def __init__(self, compute: Callable[[Mol], list[T]]) -> None:
        self._compute = compute
        self._values: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def values(self, mol: Mol, hashes: list[int]) -> list[T]:
        """The value of each atom of a molecule with these environments."""
        known = self._values
        try:
            return [known[key] for key in hashes]
        except KeyError:
            values = self._compute(mol)
        if len(known) > MOST:
            known.clear()
        known.update(zip(hashes, values, strict=True))
        return values
