"""Molecules in several rows: their labels and split keys combined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molvae.data.prepare.parts import WORDS, Part

__all__ = ["Groups", "numbers"]


class Groups:
    """Molecules that occur more than once: labels and splits combined over their rows."""

    def __init__(self, equals: NDArray[np.int64], kinds: list[str], labels: int) -> None:
        """``equals``: (m, 2) every later molecule and the first that it equals."""
        self.first = np.unique(equals[:, 1])  # position of the molecule that represents each group
        self.rows = np.concatenate([self.first, equals[:, 0]])
        self.group = np.searchsorted(self.first, np.concatenate([self.first, equals[:, 1]]))
        order = np.argsort(self.rows)
        self.rows, self.group = self.rows[order], self.group[order]
        self.yesno = np.asarray([kind == "yesno" for kind in kinds], dtype=np.bool_)
        shape = (len(self.first), labels)
        self.sums, self.counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        self.low, self.high = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.split_low = np.full(len(self.first), np.iinfo(np.uint64).max, dtype=np.uint64)
        self.split_high = np.zeros(len(self.first), dtype=np.uint64)

    def members(self, start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(positions within a part, their groups) of a part's molecules."""
        a, b = np.searchsorted(self.rows, [start, start + count])
        return self.rows[a:b] - start, self.group[a:b]

    def add(self, part: Part, start: int) -> None:
        """Add the labels and split keys of a part's members."""
        at, group = self.members(start, len(part))
        np.minimum.at(self.split_low, group, part.split_keys[at])
        np.maximum.at(self.split_high, group, part.split_keys[at])
        values = numbers(part.labels[at], self.yesno)
        known = ~np.isnan(values)
        np.add.at(self.sums, group, np.where(known, values, 0.0))
        np.add.at(self.counts, group, known.astype(np.int64))
        np.minimum.at(self.low, group, np.where(known, values, np.inf))
        np.maximum.at(self.high, group, np.where(known, values, -np.inf))

    @property
    def split_conflicts(self) -> int:
        """Molecules that a split column puts on two sides."""
        return int((self.split_low != self.split_high).sum())

    def conflicts(self) -> NDArray[np.bool_]:
        """(groups, columns) where rows say both yes and no."""
        return np.asarray(self.yesno & (self.counts > 1) & (self.low != self.high))

    def combined(self) -> NDArray[np.int64]:
        """Molecules per column whose value comes from several rows."""
        return np.asarray(((self.counts > 1) & ~self.conflicts()).sum(axis=0))

    def disagreements(self, column: int, spread: float) -> list[tuple[int, int, float, float]]:
        """Molecules whose values of a column differ by more than its spread, the worst first.

        Of each the position of its first row, how many values it has, and the lowest and highest.
        """
        known = self.counts[:, column] > 1
        gaps = np.where(known, self.high[:, column] - self.low[:, column], 0.0)
        if self.yesno[column]:
            return []
        worst = np.argsort(-gaps, kind="stable")[: int((gaps > spread).sum())]
        columns = (self.first, self.counts[:, column], self.low[:, column], self.high[:, column])
        return list(zip(*(values[worst].tolist() for values in columns), strict=True))

    def labels(self) -> NDArray[np.float64]:
        """(groups, columns) mean of the measurements; missing where rows say both yes and no."""
        with np.errstate(invalid="ignore"):
            means = self.sums / self.counts
        return np.where(self.conflicts(), np.nan, means)


def numbers(labels: NDArray[np.float64], yesno: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Labels of a part, shape (n, columns), with words as 1 and 0, or missing beside numbers."""
    no, yes = (labels == word for word in WORDS)
    return np.where(no | yes, np.where(yesno, yes.astype(np.float64), np.nan), labels)
