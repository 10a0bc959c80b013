"""Reading the generated molecules: which are valid, and a described sample of them."""

from __future__ import annotations

import array
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.hashing import keys_of
from molvae.evaluate import metrics
from molvae.evaluate.metrics import MoleculeSet, Wanted, describe
from molvae.evaluate.sources import LONGEST, Source, bounded
from molvae.runtime.pool import WorkerPool
from molvae.runtime.randomness import Draws

__all__ = ["Sample", "Scan", "description", "read", "scan"]


@dataclass(frozen=True)
class Scan:
    """Result of the fast first pass over some texts: the valid ones and their hashes."""

    total: int
    positions: NDArray[np.int64]  # (N,) indices of the valid ones
    keys: NDArray[np.uint64]  # (N,) hash of the canonical SMILES
    disconnected: int


def scan(texts: Sequence[str]) -> Scan:
    """Parse texts, and hash the canonical SMILES of those that are molecules."""
    parsed = [(i, mol) for i, mol in enumerate(map(chem.parse, texts)) if mol is not None]
    return Scan(
        total=len(texts),
        positions=np.asarray([i for i, _ in parsed], dtype=np.int64),
        keys=keys_of([chem.to_smiles(mol) for _, mol in parsed]),
        disconnected=sum(chem.fragment_count(mol) > 1 for _, mol in parsed),
    )


def description(wanted: Wanted) -> Callable[[Sequence[str]], MoleculeSet]:
    """:func:`molvae.evaluate.metrics.describe` as a task for :meth:`WorkerPool.map_texts`."""
    return functools.partial(describe, wanted=wanted)


@dataclass(frozen=True, eq=False)
class Sample:
    """``keys`` identify the V valid molecules of all rows; n of them are ``described``."""

    total: int  # rows
    keys: NDArray[np.uint64]  # (V,) in the order of the rows
    disconnected: int
    too_long: int  # rows that were not parsed
    described: MoleculeSet  # in the order of the rows; its positions are rows of the file
    columns: dict[str, NDArray[np.float64]]  # (n,) cells of the described molecules
    order: NDArray[np.int64]  # (n,) the described molecules in a random order, set by the seed

    @property
    def valid(self) -> int:
        """Number of valid molecules among all rows."""
        return len(self.keys)

    @property
    def is_whole(self) -> bool:
        """Whether all valid molecules are described."""
        return len(self.described) == self.valid


def read(
    source: Source,
    *,
    columns: Sequence[str],
    wanted: Wanted,
    size: int | None,
    draws: Draws,
    workers: WorkerPool,
) -> Sample:
    """Read all rows, and describe ``size`` of the valid ones, drawn by the seed, or all.

    Up to ``size`` rows are read once. More are parsed first, and those that were drawn again.
    """
    cells = {name: array.array("d") for name in columns}
    too_long = array.array("b")

    def texts() -> Iterator[str]:
        for text, numbers in source.rows(columns):
            for name, number in zip(columns, numbers, strict=True):
                cells[name].append(number)
            too_long.append(len(text) > LONGEST)
            yield bounded(text)

    rows = texts()
    first = list(itertools.islice(rows, None if size is None else size + 1))
    if size is None or len(first) <= size:
        sample = _described(first, wanted, draws, workers)
    else:
        sample = _drawn(itertools.chain(first, rows), size, wanted, draws, workers)
    places = sample.described.positions
    chosen = {name: np.asarray(values)[places] for name, values in cells.items()}
    return replace(sample, too_long=sum(too_long), columns=chosen)


def _described(texts: Sequence[str], wanted: Wanted, draws: Draws, workers: WorkerPool) -> Sample:
    """All texts, described; without columns."""
    parts = workers.map_texts("molecules", description(wanted), texts, len(texts))
    described = _merged(parts, wanted)
    numbers = draws.uniform("sample", described.positions, 1)[:, 0]
    return Sample(
        total=described.total,
        keys=keys_of(described.smiles),
        disconnected=described.disconnected,
        too_long=0,
        described=described,
        columns={},
        order=np.argsort(numbers, kind="stable"),
    )


def _drawn(
    texts: Iterable[str], size: int, wanted: Wanted, draws: Draws, workers: WorkerPool
) -> Sample:
    """All texts, of which ``size`` are described; without columns."""
    keys: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
    total = disconnected = 0
    drawn = _Drawn(size, draws)
    for chunk, scanned in workers.map_texts("molecules", scan, texts):
        drawn.add(scanned.positions + total, [chunk[i] for i in scanned.positions])
        keys.append(scanned.keys)
        total, disconnected = total + scanned.total, disconnected + scanned.disconnected
    positions, chosen, order = drawn.result()
    parts = workers.map_texts("descriptions", description(wanted), chosen, len(chosen))
    described = _merged(parts, wanted)
    # Leave out a molecule that killed its worker in this pass; the others keep their order.
    kept = described.positions
    rank = np.full(len(chosen), -1, dtype=np.int64)
    rank[kept] = np.arange(len(kept))
    order = rank[order]
    return Sample(
        total=total,
        keys=np.concatenate(keys),
        disconnected=disconnected,
        too_long=0,
        described=replace(described, positions=positions[kept]),
        columns={},
        order=order[order >= 0],
    )


def _merged(parts: Iterable[tuple[object, MoleculeSet]], wanted: Wanted) -> MoleculeSet:
    return metrics.merge([part for _, part in parts] or [describe([], wanted)])


class _Drawn:
    """The ``size`` rows with the lowest random numbers, one number per row."""

    def __init__(self, size: int, draws: Draws) -> None:
        self._size, self._draws = size, draws
        self._numbers = np.empty(0)
        self._positions = np.empty(0, dtype=np.int64)
        self._texts: list[str] = []

    def add(self, positions: NDArray[np.int64], texts: list[str]) -> None:
        numbers = self._draws.uniform("sample", positions, 1)[:, 0]
        self._numbers = np.concatenate([self._numbers, numbers])
        self._positions = np.concatenate([self._positions, positions])
        self._texts += texts
        if len(self._texts) > 2 * self._size:
            self._prune()

    def _prune(self) -> None:
        if len(self._texts) > self._size:
            kept = np.sort(np.argsort(self._numbers, kind="stable")[: self._size])
            self._numbers, self._positions = self._numbers[kept], self._positions[kept]
            self._texts = [self._texts[i] for i in kept]

    def result(self) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64]]:
        """(rows, texts, random order), rows ascending."""
        self._prune()
        return self._positions, self._texts, np.argsort(self._numbers, kind="stable")
