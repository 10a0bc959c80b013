"""The answers so far, ranked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.data.writers import format_cell

__all__ = ["Answer", "Archive", "crowding", "fronts", "mean", "rank", "worths"]

POOL = 1000  # best molecules that engines choose from
TOP = 10  # best molecules whose mean and diversity are reported


class Answer(NamedTuple):
    """A molecule after its call of the objective."""

    number: int  # of the call, from 1
    round: int
    origin: str  # the move of the engine that made it
    smiles: str
    scores: tuple[float, ...]  # of each part of the objective
    worth: tuple[float, ...]  # their desirability; greater is better
    value: float  # the number that is maximised; of a Pareto search NaN
    note: str = ""  # why there is no score

    @property
    def failed(self) -> bool:
        """Whether it has no score."""
        return any(math.isnan(x) for x in self.worth)


class Archive:
    """All answers by molecule, and the best of them in order.

    Engines choose from ``pool``. ``found`` are the best of the calls: without ``known``, the
    molecules of the pool that had scores before the search.
    """

    def __init__(self, *, pareto: bool = False) -> None:
        self.pareto = pareto
        self.answers: dict[str, Answer] = {}
        self.known: list[Answer] = []
        self.pool: list[Answer] = []
        self.found: list[Answer] = []
        self._calls = 0

    def __len__(self) -> int:
        """Answers to calls, and known molecules of the first pool."""
        return self._calls + len(self.known)

    def seed(self, answers: Mapping[str, Answer], parents: Sequence[Answer]) -> None:
        """Begin with known ``answers`` by SMILES; the best of ``parents`` are the first pool."""
        self.answers.update(answers)
        for first in range(0, len(parents), POOL):
            self.known = self.rank([*self.known, *parents[first : first + POOL]])[:POOL]
        self.pool = list(self.known)

    def add(self, answers: Iterable[Answer]) -> None:
        """Add the answers of a round."""
        new = list(answers)
        self._calls += len(new)
        self.answers.update({answer.smiles: answer for answer in new})
        scored = [answer for answer in new if not answer.failed]
        self.pool = self.rank([*self.pool, *scored])[:POOL]
        self.found = self.rank([*self.found, *scored])[:POOL] if self.known else self.pool

    def rank(self, answers: Sequence[Answer]) -> list[Answer]:
        """Answers with a score, the best first; ties by call number."""
        return rank(answers, pareto=self.pareto)

    def normal_scores(self) -> dict[str, float]:
        """Molecules → quantiles of N(0, 1) of their ranks in the pool, which has no scale."""
        from molvae.runtime.randomness import normal_quantile

        share = 1 - (np.arange(len(self.pool)) + 0.5) / max(len(self.pool), 1)
        return dict(
            zip((a.smiles for a in self.pool), normal_quantile(share).tolist(), strict=True)
        )


def rank(answers: Sequence[Answer], *, pareto: bool = False) -> list[Answer]:
    """Answers, the best first: by value, or by front and then by crowding distance.

    The order of NSGA-II (Deb et al. 2002): by front of molecules that no other dominates, and
    within a front by crowding distance, the most isolated first.
    """
    if not pareto:
        return sorted(answers, key=lambda answer: (-answer.value, answer.number))
    ordered: list[Answer] = []
    worth = worths(answers)
    for front in fronts(worth):
        distance = crowding(worth[front])
        order = sorted(range(len(front)), key=lambda i: (-distance[i], answers[front[i]].number))
        ordered += [answers[front[i]] for i in order]
    return ordered


def worths(answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Desirability of each of the P parts of the objective for N molecules, (N, P).

    Rounded to six digits, as in files, so that rounding errors decide nothing.
    """
    rows = [[float(format_cell(part)) for part in answer.worth] for answer in answers]
    return np.asarray(rows, dtype=np.float64)


def mean(values: Sequence[float]) -> float:
    """The mean of numbers whose sum may overflow."""
    return math.fsum(value / len(values) for value in values)


def fronts(worth: NDArray[np.float64]) -> list[list[int]]:
    """Indices of N molecules with P worths each, (N, P), in fronts: the first is not dominated."""
    if not len(worth):
        return []
    more, as_much = worth[:, None] > worth[None], worth[:, None] >= worth[None]
    beats: NDArray[np.bool_] = np.logical_and(np.all(as_much, axis=-1), np.any(more, axis=-1))
    beaten_by, left = beats.sum(axis=0), np.ones(len(worth), dtype=np.bool_)
    result = []
    while left.any():
        front = np.flatnonzero(left & (beaten_by == 0))
        result.append(front.tolist())
        left[front] = False
        beaten_by = beaten_by - beats[front].sum(axis=0)
    return result


def crowding(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far apart the neighbours of each molecule of a front are, (N,); the ends have ∞."""
    distance = np.zeros(len(worth))
    for column in worth.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance
