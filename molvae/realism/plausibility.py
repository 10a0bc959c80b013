"""Ring systems and atom environments that training molecules have, and how many have them.

A molecule with one that no training molecule has is refused, and the reason names it. The table
holds 64-bit ids and counts, no molecules.
The ids are those of :mod:`molvae.chem.realism_features`.

Shapes: ``K`` kinds of ring system or environment.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from molvae.chem import Mol
from molvae.chem.realism_features import Facts, Kinds, environment_name, kinds, ring_system_name
from molvae.errors import ModelFolderError
from molvae.runtime.untrusted import read_tensors

__all__ = [
    "NOTHING",
    "PLAUSIBILITY_FILE",
    "TOGETHER",
    "Counts",
    "Exempt",
    "Plausibility",
    "Unseen",
    "load_plausibility",
    "save_plausibility",
]

PLAUSIBILITY_FILE = "plausibility.safetensors"
VERSION = 1
MAX_BYTES = 100_000_000
KINDS = ("ring_systems", "environments")
TOGETHER = 64  # tables added up at a time


class Exempt(NamedTuple):
    """Allowed although no training molecule has it, because the start molecules have it."""

    ring_systems: frozenset[int] = frozenset()
    environments: frozenset[int] = frozenset()

    @classmethod
    def of(cls, mols: Iterable[Mol]) -> Exempt:
        """The ring systems and environments of these molecules."""
        facts = [kinds(mol) for mol in mols]
        return cls(
            frozenset(ring for molecule in facts for ring in molecule.ring_systems),
            frozenset(atom for molecule in facts for atom in molecule.environments),
        )


NOTHING = Exempt()


class Unseen(NamedTuple):
    """Ring systems and environments of a molecule that no training molecule has."""

    ring_systems: tuple[int, ...]  # positions in Facts.ring_systems
    environments: tuple[int, ...]  # indices of atoms


@dataclass(frozen=True)
class Counts:
    """Ids and the number of molecules that have each."""

    ids: NDArray[np.uint64]  # (K,) ascending
    molecules: NDArray[np.uint32]  # (K,)

    @classmethod
    def of(cls, counter: Counter[int]) -> Counts:
        """Counts of a dictionary."""
        ids = np.asarray(sorted(counter), dtype=np.uint64)
        return cls(ids, np.asarray([counter[key] for key in ids.tolist()], dtype=np.uint32))

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {"ids": self.ids, "molecules": self.molecules}  # not the set, which is larger

    @functools.cached_property
    def known(self) -> frozenset[int]:
        """The ids as a set."""
        return frozenset(self.ids.tolist())

    @classmethod
    def summed(cls, tables: Sequence[Counts]) -> Counts:
        """The sums of tables of counts."""
        ids = np.concatenate([table.ids for table in tables])
        ids, places = np.unique(ids, return_inverse=True)
        counts = np.concatenate([table.molecules for table in tables]).astype(np.float64)
        sums = np.bincount(places, weights=counts, minlength=len(ids))
        return cls(ids, np.minimum(sums, np.iinfo(np.uint32).max).astype(np.uint32))


@dataclass(frozen=True)
class Plausibility:
    """The table of a model, small and picklable."""

    ring_systems: Counts
    environments: Counts
    molecules: int  # counted

    @classmethod
    def of(cls, facts: Iterable[Facts | Kinds]) -> Plausibility:
        """The table of training molecules."""
        rings: Counter[int] = Counter()
        environments: Counter[int] = Counter()
        molecules = 0
        for molecule in facts:
            molecules += 1
            rings.update(set(molecule.ring_systems))
            environments.update(set(molecule.environments))
        return cls(Counts.of(rings), Counts.of(environments), molecules)

    @classmethod
    def joined(cls, tables: Iterable[Plausibility]) -> Plausibility:
        """The table of several sets of molecules, such as a start model's and the new data's.

        Many small tables are added up some at a time: the sum is sorted for each addition.
        """
        total, left = cls.of([]), iter(tables)
        while some := list(itertools.islice(left, TOGETHER)):
            parts = [total, *some]
            total = cls(
                Counts.summed([part.ring_systems for part in parts]),
                Counts.summed([part.environments for part in parts]),
                sum(part.molecules for part in parts),
            )
        return total

    def unseen(
        self, facts: Facts | Kinds, exempt: Exempt = NOTHING, atoms: frozenset[int] = frozenset()
    ) -> Unseen:
        """What no training molecule has, apart from what the scaffold's ``atoms`` make up.

        An environment is made of its central atom; a ring system of all its atoms.
        """
        rings, environments = self.ring_systems.known, self.environments.known
        new_rings = [
            k
            for k, ring in enumerate(facts.ring_systems)
            if ring not in rings
            and ring not in exempt.ring_systems
            and not atoms.issuperset(facts.ring_atoms[k])
        ]
        new_atoms = [
            atom
            for atom, key in enumerate(facts.environments)
            if key not in environments and key not in exempt.environments and atom not in atoms
        ]
        return Unseen(tuple(new_rings), tuple(new_atoms))

    def refused(
        self,
        mol: Mol,
        exempt: Exempt = NOTHING,
        *,
        facts: Facts | Kinds | None = None,
        atoms: frozenset[int] = frozenset(),
    ) -> str | None:
        """Why a molecule is refused: its first unseen ring system, else environment; or None.

        ``facts`` are those of the molecule, if they are known already; ``atoms`` as for
        :meth:`unseen`.
        """
        facts = kinds(mol) if facts is None else facts
        new = self.unseen(facts, exempt, atoms)
        if new.ring_systems:
            name = ring_system_name(mol, facts.ring_atoms[new.ring_systems[0]])
            return f"ring system without training molecules: {name}"
        if new.environments:
            name = environment_name(mol, new.environments[0])
            return f"atom environment without training molecules: {name}"
        return None

    def shares(self, facts: Sequence[Facts | Kinds]) -> dict[str, dict[str, float]]:
        """Molecules with an unseen ring system, and with an unseen environment, of these."""
        unseen = [self.unseen(molecule) for molecule in facts]
        result = {}
        for kind in KINDS:
            numerator = sum(bool(getattr(molecule, kind)) for molecule in unseen)
            result[kind] = {
                "value": numerator / len(unseen) if unseen else float("nan"),
                "numerator": numerator,
                "denominator": len(unseen),
            }
        return result


def save_plausibility(folder: Path, table: Plausibility) -> None:
    """Write the table into a folder. The same table gives the same bytes."""
    head = np.asarray([VERSION, table.molecules], dtype=np.int64)
    tensors: dict[str, NDArray[Any]] = {"version": head}
    for kind in KINDS:
        counts: Counts = getattr(table, kind)
        tensors[f"{kind}.ids"] = counts.ids
        tensors[f"{kind}.molecules"] = counts.molecules
    (folder / PLAUSIBILITY_FILE).write_bytes(save(tensors))


def load_plausibility(folder: Path) -> Plausibility:
    """The table in a folder.

    Raises:
        ModelFolderError: the file is missing, damaged, or not a table.
    """
    path = folder / PLAUSIBILITY_FILE
    tensors = read_tensors(path, MAX_BYTES)
    names = {"version", *(f"{kind}.{part}" for kind in KINDS for part in ("ids", "molecules"))}
    if tensors.keys() != names:
        raise ModelFolderError(
            f"'{path}': got the tensors {', '.join(sorted(tensors)) or 'none'}, expected "
            f"{', '.join(sorted(names))}"
        )
    head = tensors["version"]
    if head.dtype != np.int64 or head.shape != (2,) or head[0] != VERSION or head[1] < 0:
        raise ModelFolderError(
            f"'{path}': version is {head.ravel()[:1].tolist()}, this molvae reads {VERSION}"
        )
    rings, environments = (_counts(path, kind, tensors) for kind in KINDS)
    return Plausibility(rings, environments, int(head[1]))


def _counts(path: Path, kind: str, tensors: dict[str, NDArray[Any]]) -> Counts:
    ids, molecules = tensors[f"{kind}.ids"], tensors[f"{kind}.molecules"]
    sound = (
        ids.dtype == np.uint64
        and molecules.dtype == np.uint32
        and ids.ndim == 1
        and ids.shape == molecules.shape
        and bool((ids[1:] > ids[:-1]).all())
        and bool((molecules > 0).all())
    )
    if not sound:
        raise ModelFolderError(
            f"'{path}': {kind}: expected ascending 64-bit ids and as many counts above 0; the file "
            "is damaged"
        )
    return Counts(ids, molecules)
