"""Facts about a molecule that show whether it looks real: counts, ring systems, environments.

One pass over a parsed molecule gives a :class:`Facts`: its Morgan count fingerprint of radius 2
(Rogers & Hahn 2010), its exact mass, small integers such as the size of the largest ring, and the
ids of its ring systems and atom environments. :mod:`molvae.realism.inputs` turns facts into the
inputs of the realism critic.

Ring systems and atom environments of radius 1 are 64-bit numbers that depend on this module alone:
neither on Python's hash nor on how an RDKit version orders a canonical SMILES. They do depend on
RDKit's aromaticity model.

Shapes: ``S`` stored fingerprint entries, ``F`` integer facts.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from molvae.chem.molecules import Mol

__all__ = [
    "FACTS",
    "FINGERPRINT_SIZE",
    "RADIUS",
    "Facts",
    "Kinds",
    "Outline",
    "Parts",
    "describe",
    "environment_name",
    "kinds",
    "ring_system_name",
]

FINGERPRINT_SIZE = 2048
RADIUS = 2

ELEMENTS = {7: "N", 8: "O", 9: "F", 15: "P", 16: "S", 17: "Cl", 35: "Br", 53: "I"}
FACTS = (
    "heavy_atoms",
    "rotatable_bonds",  # single, outside rings, between atoms of two or more neighbors
    "rings",
    "largest_ring",
    *(f"rings_of_{size}" for size in range(3, 9)),
    "rings_above_8",
    "aromatic_rings_of_5",
    "aromatic_rings_of_6",
    "other_aromatic_rings",
    "ring_double_bonds",  # in rings and not aromatic
    "chain_double_bonds",
    "hetero_hetero_bonds",
    "charged_atoms",
    *ELEMENTS.values(),
    "other_elements",
)
_PLACE = {name: number for number, name in enumerate(FACTS)}
_ELEMENT_PLACE = {number: _PLACE[symbol] for number, symbol in ELEMENTS.items()}
_RING_PLACES = {size: _PLACE[f"rings_of_{size}"] for size in range(3, 9)}
_AROMATIC_PLACES = {size: _PLACE[f"aromatic_rings_of_{size}"] for size in (5, 6)}

MOST_KEPT = 1 << 16  # ids of environments, and of ring systems, in memory
# Twice the bond order, which is what the adjacency matrix gives.
SINGLE, AROMATIC, DOUBLE = 2, 3, 4
_BOND_MARKS = {SINGLE: "-", AROMATIC: ":", DOUBLE: "=", 6: "#"}


class Outline(NamedTuple):
    """What the critic needs of a molecule, as in :class:`Facts`."""

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    integers: list[int]
    mass: float

    @property
    def identity(self) -> int:
        """64 bits of the fingerprint: molecules the critic cannot tell apart share it."""
        return _identity(self.bins, self.counts)


class Facts(NamedTuple):
    """Facts of a molecule, found in one pass."""

    bins: NDArray[np.int64]  # (S,) fingerprint bins that are not empty, ascending
    counts: NDArray[np.int64]  # (S,) their counts
    integers: list[int]  # (F,) in the order of FACTS, not clipped
    mass: float  # exact mass, Da
    ring_systems: tuple[int, ...]  # 64-bit ids, one per ring system, repeats included
    ring_atoms: tuple[tuple[int, ...], ...]  # atom indices of each ring system
    environments: tuple[int, ...]  # 64-bit ids, one per atom, in the order of the atoms

    @property
    def identity(self) -> int:
        """64 bits of the fingerprint: molecules the critic cannot tell apart share it."""
        return _identity(self.bins, self.counts)


class Kinds(NamedTuple):
    """What the plausibility table needs of a molecule, as in :class:`Facts`."""

    ring_systems: tuple[int, ...]
    ring_atoms: tuple[tuple[int, ...], ...]
    environments: tuple[int, ...]


# -- one pass over a molecule ---------------------------------------------------------------------


class _Kind(NamedTuple):
    """An atom apart from its bonds."""

    number: int  # of the element
    charge: int
    hydrogens: int
    in_ring: bool

    @property
    def site(self) -> int:
        """Element and charge as one number below 2 ** 16, where :data:`_SITE_AROMATIC` is 0."""
        return self.number << 9 | (self.charge + 128)  # RDKit's charges have 8 bits

    @property
    def center(self) -> int:
        """All of it as one number."""
        return (self.hydrogens << 1 | self.in_ring) << 16 | self.site


_SITE_AROMATIC = 1 << 8  # of a site or center


@functools.cache
def _morgan() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=FINGERPRINT_SIZE)


_KINDS: dict[int, tuple[_Kind, int, int]] = {}  # RDKit's invariant → kind, site, center of an atom


def _kinds(mol: Mol) -> list[tuple[_Kind, int, int]]:
    """The kind of every atom, with its site and center.

    Reading an atom from Python costs more than everything else here. RDKit's connectivity
    invariant hashes element, degree, hydrogens, charge and ring membership, so one atom is read
    for each value of it.
    """
    invariants = rdMolDescriptors.GetConnectivityInvariants(mol)
    try:
        return [_KINDS[invariant] for invariant in invariants]
    except KeyError:
        for index, invariant in enumerate(invariants):
            if invariant not in _KINDS:
                atom = mol.GetAtomWithIdx(index)
                kind = _Kind(
                    atom.GetAtomicNum(), atom.GetFormalCharge(), atom.GetTotalNumHs(),
                    atom.IsInRing(),
                )  # fmt: skip
                _KINDS[invariant] = kind, kind.site, kind.center
        return [_KINDS[invariant] for invariant in invariants]


class _Graph(NamedTuple):
    """The atoms and bonds of a molecule as plain lists."""

    kinds: list[_Kind]
    centers: list[int]  # of the kinds, with aromaticity
    sites: list[int]
    aromatic: list[int]  # _SITE_AROMATIC or 0
    bonds: list[tuple[int, int, int]]  # (lower atom, higher atom, twice the bond order)
    degrees: list[int]
    rings: tuple[tuple[int, ...], ...]
    ring_bonds: set[tuple[int, int]]  # lower atom first


def _graph(mol: Mol) -> _Graph:
    atoms = _kinds(mol)
    # One call for all bonds: reading one bond from Python costs as much as this matrix.
    matrix = Chem.GetAdjacencyMatrix(mol, useBO=True)
    begin, end = matrix.nonzero()  # each bond in both directions
    doubled = (2 * matrix[begin, end]).astype(np.int64)
    directed = zip(begin.tolist(), end.tolist(), doubled.tolist(), strict=True)
    bonds = [bond for bond in directed if bond[0] < bond[1]]
    aromatic, degrees = [0] * len(atoms), [0] * len(atoms)
    for i, j, order in bonds:
        degrees[i] += 1
        degrees[j] += 1
        if order == AROMATIC:
            aromatic[i] = aromatic[j] = _SITE_AROMATIC
    rings, ring_bonds = mol.GetRingInfo().AtomRings(), set()
    for ring in rings:
        last = ring[-1]
        for atom in ring:
            ring_bonds.add((last, atom) if last < atom else (atom, last))
            last = atom
    return _Graph(
        [kind for kind, _, _ in atoms],
        [center + mark for (_, _, center), mark in zip(atoms, aromatic, strict=True)],
        [site + mark for (_, site, _), mark in zip(atoms, aromatic, strict=True)],
        aromatic,
        bonds,
        degrees,
        rings,
        ring_bonds,
    )


def describe(mol: Mol) -> Facts:
    """The facts of a sanitized molecule, found in one pass."""
    graph = _graph(mol)
    return Facts(*_outline(mol, graph), *_kinds_of(graph))


class Parts:
    """The facts of a sanitized molecule in two parts, each made when it is needed."""

    def __init__(self, mol: Mol) -> None:
        self._mol, self._graph = mol, _graph(mol)

    def outline(self) -> Outline:
        """What the critic needs; it does not depend on the order of the atoms."""
        return _outline(self._mol, self._graph)

    def kinds(self) -> Kinds:
        """What the plausibility table needs."""
        return _kinds_of(self._graph)


def kinds(mol: Mol) -> Kinds:
    """The ring systems and environments alone, in half the time of :func:`describe`."""
    return _kinds_of(_graph(mol))


def _outline(mol: Mol, graph: _Graph) -> Outline:
    counts = _morgan().GetCountFingerprint(mol).GetNonzeroElements()  # in the order of the bins
    size = len(counts)
    return Outline(
        bins=np.fromiter(counts, np.int64, size),
        counts=np.fromiter(counts.values(), np.int64, size),
        integers=_integers(graph),
        mass=rdMolDescriptors.CalcExactMolWt(mol),
    )


def _kinds_of(graph: _Graph) -> Kinds:
    systems = _ring_systems(graph)
    return Kinds(
        ring_systems=tuple(_system_id(*_system_key(graph, system)) for system in systems),
        ring_atoms=tuple(map(tuple, systems)),
        environments=_environments(graph),
    )


def _identity(bins: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """64 bits of a fingerprint."""
    return int.from_bytes(_digest(np.stack([bins, counts]).astype("<i8").tobytes()), "little")


def _integers(graph: _Graph) -> list[int]:
    """The integer facts in the order of FACTS."""
    counts = [0] * len(FACTS)
    counts[0] = len(graph.kinds)
    for kind in graph.kinds:
        if kind.charge:
            counts[_PLACE["charged_atoms"]] += 1
        if kind.number <= 1:
            counts[0] -= 1
        elif kind.number != 6:
            counts[_ELEMENT_PLACE.get(kind.number, -1)] += 1  # the last one is for all others
    _count_bonds(graph, counts)
    _count_rings(graph, counts)
    return counts


def _count_bonds(graph: _Graph, counts: list[int]) -> None:
    kinds, degrees, ring_bonds = graph.kinds, graph.degrees, graph.ring_bonds
    rotatable = hetero = 0
    for i, j, order in graph.bonds:
        if order == DOUBLE:
            in_ring = (i, j) in ring_bonds
            counts[_PLACE["ring_double_bonds" if in_ring else "chain_double_bonds"]] += 1
        elif order == SINGLE and degrees[i] > 1 < degrees[j] and (i, j) not in ring_bonds:
            rotatable += 1
        if kinds[i].number > 6 < kinds[j].number:
            hetero += 1
    counts[_PLACE["rotatable_bonds"]] = rotatable
    counts[_PLACE["hetero_hetero_bonds"]] = hetero


def _count_rings(graph: _Graph, counts: list[int]) -> None:
    aromatic = graph.aromatic
    counts[_PLACE["rings"]] = len(graph.rings)
    counts[_PLACE["largest_ring"]] = max(map(len, graph.rings), default=0)
    for ring in graph.rings:
        size = len(ring)
        counts[_RING_PLACES.get(size, _PLACE["rings_above_8"])] += 1
        # Every atom aromatic: fused aromatic rings around an 8-ring make it count as well.
        if all(aromatic[atom] for atom in ring):
            counts[_AROMATIC_PLACES.get(size, _PLACE["other_aromatic_rings"])] += 1


# -- ring systems ---------------------------------------------------------------------------------


def _ring_systems(graph: _Graph) -> list[list[int]]:
    """Atoms of each ring system, ascending: rings that share an atom, fused or spiro."""
    systems: list[set[int]] = []
    for ring in graph.rings:
        atoms = set(ring)
        apart = []
        for system in systems:
            if system.isdisjoint(atoms):
                apart.append(system)
            else:
                atoms |= system
        systems = [*apart, atoms]
    return sorted(sorted(system) for system in systems)


_SystemKey = tuple[tuple[int, ...], tuple[tuple[int, int, int], ...]]


def _system_key(graph: _Graph, atoms: list[int]) -> _SystemKey:
    """(element and aromaticity of each atom, bonds by position) of a ring system.

    Charges, hydrogens and substituents are left out.
    """
    local = {atom: k for k, atom in enumerate(atoms)}
    sites = tuple([graph.sites[atom] >> 8 for atom in atoms])
    bonds = [
        (local[i], local[j], order)
        for i, j, order in graph.bonds
        if i in local and (i, j) in graph.ring_bonds
    ]
    return sites, tuple(bonds)


@functools.lru_cache(maxsize=MOST_KEPT)
def _system_id(sites: tuple[int, ...], bonds: tuple[tuple[int, int, int], ...]) -> int:
    """64 bits that do not depend on the order of the atoms.

    Color refinement (Weisfeiler & Leman 1968) with half as many rounds as the system has atoms.
    Molecules are read from canonical SMILES, so the same order recurs and is cached.
    """
    around: list[list[tuple[int, int]]] = [[] for _ in sites]
    for i, j, order in bonds:
        around[i].append((order, j))
        around[j].append((order, i))
    colors = [site.to_bytes(2, "little") for site in sites]
    for _ in range(len(sites) // 2 + 1):
        colors = [
            _digest(
                colors[i]
                + b"".join(sorted(order.to_bytes(1, "little") + colors[j] for order, j in links))
            )
            for i, links in enumerate(around)
        ]
    return int.from_bytes(_digest(b"ring" + b"".join(sorted(colors))), "little")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def ring_system_name(mol: Mol, atoms: Sequence[int]) -> str:
    """SMILES of a ring system in a molecule, for messages."""
    wanted = set(atoms)
    bonds = [
        bond.GetIdx()
        for bond in mol.GetBonds()
        if bond.IsInRing() and {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= wanted
    ]
    return str(Chem.MolFragmentToSmiles(mol, list(atoms), bonds, isomericSmiles=False))


# -- atom environments of radius 1 ----------------------------------------------------------------


def _environments(graph: _Graph) -> tuple[int, ...]:
    """The id of the environment of every atom."""
    around: list[list[int]] = [[] for _ in graph.sites]
    sites = graph.sites
    for i, j, order in graph.bonds:
        around[i].append(order << 16 | sites[j])
        around[j].append(order << 16 | sites[i])
    keys = [(center, *sorted(links)) for center, links in zip(graph.centers, around, strict=True)]
    try:
        return tuple([_ENVIRONMENTS[key] for key in keys])
    except KeyError:
        if len(_ENVIRONMENTS) > MOST_KEPT:
            _ENVIRONMENTS.clear()
        _ENVIRONMENTS.update({key: _environment_id(*key) for key in keys})
        return tuple([_ENVIRONMENTS[key] for key in keys])


_ENVIRONMENTS: dict[tuple[int, ...], int] = {}  # center and neighbors of an atom → id


def _environment_id(center: int, *around: int) -> int:
    """64 bits of an atom's element, aromaticity, charge, hydrogens and neighbors.

    The neighbors are bond orders and sites, ascending.
    """
    hydrogens, in_ring = center >> 17, center >> 16 & 1
    links = tuple((link >> 16, _site(link)) for link in around)
    text = f"environment {_site(center)} {hydrogens} {in_ring} {links}"
    return int.from_bytes(_digest(text.encode()), "little")


def _site(code: int) -> tuple[int, int]:
    """(twice the element's number, plus one if aromatic; charge) of a site."""
    return code >> 8 & 0xFF, (code & 0xFF) - 128


def environment_name(mol: Mol, index: int) -> str:
    """An atom with its neighbors, written like a SMILES, for messages.

    >>> environment_name(Chem.MolFromSmiles("CC(=O)N"), 1)
    'C(-C)(-N)(=O)'
    """
    atom = mol.GetAtomWithIdx(index)
    around = []
    for bond in atom.GetBonds():
        mark = _BOND_MARKS.get(int(2 * bond.GetBondTypeAsDouble()), "~")
        around.append(f"({mark}{_symbol(bond.GetOtherAtom(atom))})")
    ring = " in a ring" if atom.IsInRing() else ""
    hydrogens = atom.GetTotalNumHs()
    count = f"H{hydrogens if hydrogens > 1 else ''}" if hydrogens else ""
    return f"{_symbol(atom)}{count}{''.join(sorted(around))}{ring}"


def _symbol(atom: Chem.Atom) -> str:
    symbol = atom.GetSymbol().lower() if atom.GetIsAromatic() else atom.GetSymbol()
    charge = atom.GetFormalCharge()
    return f"{symbol}{'+-'[charge < 0] * abs(charge)}"
