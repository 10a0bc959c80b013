"""Texts → the description that every metric reads: each molecule is parsed and cut up once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.alerts import Filter
from molvae.chem.properties import compute
from molvae.chem.realism_features import kinds
from molvae.errors import InputError
from molvae.realism.plausibility import Plausibility

__all__ = ["MoleculeSet", "Molecules", "Occurrences", "Wanted", "as_set", "describe", "merge"]

FINGERPRINT_BYTES = 128  # Morgan, radius 2, 1024 bits


@dataclass(frozen=True)
class Wanted:
    """Which parts of a description to compute; parsing and canonical SMILES always are."""

    fingerprints: bool = True
    scaffolds: bool = True
    fragments: bool = True
    properties: tuple[str, ...] = ()  # built-in property names, the columns of ``values``
    filters: Filter | None = None
    kinds: bool = False  # ring systems and atom environments


NO_KINDS = Plausibility.of([])
TEXTS = Wanted(False, False, False)  # nothing but canonical SMILES


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Which of some names occur in which molecule, one entry each time.

    ``names[ids[i]]`` occurs in molecule ``molecules[i]``; the molecules ascend.
    """

    names: list[str]
    ids: NDArray[np.int32]
    molecules: NDArray[np.int32]

    @classmethod
    def of(cls, lists: Iterable[Iterable[str]]) -> Occurrences:
        """Of the names in each of the molecules, in order."""
        numbers: dict[str, int] = {}
        ids, molecules = [], []
        for molecule, names in enumerate(lists):
            for name in names:
                ids.append(numbers.setdefault(name, len(numbers)))
                molecules.append(molecule)
        return cls(list(numbers), np.asarray(ids, np.int32), np.asarray(molecules, np.int32))

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each name occurs."""
        totals = np.bincount(self.ids, minlength=len(self.names))
        return Counter(dict(zip(self.names, totals.tolist(), strict=True)))


def _join(parts: Sequence[Occurrences], sizes: Sequence[int]) -> Occurrences:
    numbers: dict[str, int] = {}
    ids, molecules = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    first = 0
    for part, size in zip(parts, sizes, strict=True):
        new = [numbers.setdefault(name, len(numbers)) for name in part.names]
        ids.append(np.asarray(new, np.int32)[part.ids])
        molecules.append(part.molecules + np.int32(first))
        first += size
    return Occurrences(list(numbers), np.concatenate(ids), np.concatenate(molecules))


@dataclass(frozen=True, eq=False)
class MoleculeSet:
    """The valid molecules among some texts, in order, each described once.

    Parts that were not wanted are empty. ``failures`` counts what RDKit could not compute.
    """

    total: int  # texts looked at, valid or not
    smiles: list[str]  # canonical isomeric SMILES of the N valid ones
    positions: NDArray[np.int64]  # (N,) place of each valid molecule among the texts
    fingerprints: NDArray[np.uint8]  # (N, 128) Morgan radius 2, 1024 bits
    scaffolds: Occurrences  # ring scaffolds, molecules without one left out
    fragments: Occurrences  # BRICS fragments
    values: NDArray[np.float64]  # (N, P), NaN where RDKit failed
    passes: NDArray[np.bool_]  # (N,) whether the filters let it pass
    wanted: Wanted = Wanted()
    disconnected: int = 0  # valid molecules of more than one part
    failures: Counter[str] = field(default_factory=Counter)
    kinds: Plausibility = NO_KINDS  # how many molecules have each ring system and environment

    def __len__(self) -> int:
        return len(self.smiles)

    @property
    def properties(self) -> tuple[str, ...]:
        """What the columns of ``values`` are."""
        return self.wanted.properties

    def column(self, name: str) -> NDArray[np.float64]:
        """The known values of one property, without the missing."""
        values = self.values[:, self.properties.index(name)].astype(np.float64)
        return values[~np.isnan(values)]


Molecules = Iterable[str] | MoleculeSet


def as_set(molecules: Molecules, wanted: Wanted) -> MoleculeSet:
    """Describe some SMILES; a given description is returned if it has the wanted parts."""
    if isinstance(molecules, MoleculeSet):
        missing = [
            name
            for name in ("fingerprints", "scaffolds", "fragments", "filters", "kinds")
            if getattr(wanted, name) and not getattr(molecules.wanted, name)
        ]
        missing += [name for name in wanted.properties if name not in molecules.properties]
        if missing:
            raise InputError(f"these molecules were described without {', '.join(missing)}")
        return molecules
    if isinstance(molecules, str):
        raise InputError(f"got one text, '{molecules[:40]}', expected a list of SMILES")
    return describe(list(molecules), wanted)


def describe(texts: Sequence[str], wanted: Wanted = Wanted()) -> MoleculeSet:
    """Parse SMILES and compute the wanted parts of the valid ones.

    >>> describe(["OCC", "", "C1CC"]).smiles
    ['CCO']
    """
    parsed = [(i, mol) for i, mol in enumerate(map(chem.parse, texts)) if mol is not None]
    mols = [mol for _, mol in parsed]
    failures: Counter[str] = Counter()

    def lists(what: str, function: Callable[[chem.Mol], list[str]]) -> Occurrences:
        return Occurrences.of(_guarded(what, function, mol, failures) for mol in mols)

    nothing = Occurrences.of([])
    prints = np.empty((0, FINGERPRINT_BYTES), dtype=np.uint8)
    values = np.empty((len(mols), len(wanted.properties)))
    for row, mol in zip(values, mols, strict=True):
        row[:] = compute(mol, wanted.properties)
    judged = mols if wanted.filters is not None else []
    return MoleculeSet(
        total=len(texts),
        smiles=[chem.to_smiles(mol) for mol in mols],
        positions=np.asarray([i for i, _ in parsed], dtype=np.int64),
        fingerprints=chem.fingerprints(mols) if wanted.fingerprints else prints,
        scaffolds=lists("scaffold", _scaffolds) if wanted.scaffolds else nothing,
        fragments=lists("fragments", chem.brics_fragments) if wanted.fragments else nothing,
        values=values,
        passes=np.asarray([wanted.filters.passes(mol) for mol in judged if wanted.filters], bool),
        wanted=wanted,
        disconnected=sum(chem.fragment_count(mol) > 1 for mol in mols),
        failures=failures,
        kinds=Plausibility.of(map(kinds, mols)) if wanted.kinds else NO_KINDS,
    )


def _scaffolds(mol: chem.Mol) -> list[str]:
    text = chem.ring_scaffold(mol)
    return [text] if text else []


def _guarded(
    what: str, function: Callable[[chem.Mol], list[str]], mol: chem.Mol, failures: Counter[str]
) -> list[str]:
    """The function's list, or an empty one and a count where RDKit gives up on a molecule."""
    try:
        return function(mol)
    except (ValueError, RuntimeError):
        failures[what] += 1
        return []


def merge(parts: Iterable[MoleculeSet]) -> MoleculeSet:
    """One set from the descriptions of consecutive chunks."""
    parts = list(parts)
    if not parts:
        return describe([])
    offsets = itertools.accumulate((part.total for part in parts), initial=0)
    shifted = [part.positions + offset for part, offset in zip(parts, offsets, strict=False)]
    sizes = [len(part) for part in parts]
    failures: Counter[str] = Counter()
    for part in parts:
        failures.update(part.failures)
    return MoleculeSet(
        total=sum(part.total for part in parts),
        smiles=[text for part in parts for text in part.smiles],
        positions=np.concatenate(shifted),
        fingerprints=np.concatenate([part.fingerprints for part in parts]),
        scaffolds=_join([part.scaffolds for part in parts], sizes),
        fragments=_join([part.fragments for part in parts], sizes),
        values=np.concatenate([part.values for part in parts]),
        passes=np.concatenate([part.passes for part in parts]),
        wanted=parts[0].wanted,
        disconnected=sum(part.disconnected for part in parts),
        failures=failures,
        kinds=Plausibility.joined(part.kinds for part in parts if part.wanted.kinds),
    )
