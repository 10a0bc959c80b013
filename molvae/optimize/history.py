"""How a search went over its calls: values and diversity, and when it last improved."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.molecules import scaffold
from molvae.evaluate.metrics import internal_diversity
from molvae.objectives import Objective
from molvae.optimize.archive import TOP, Answer, Archive, fronts, mean, worths

__all__ = ["IdleCalls", "diversity", "history"]

POINTS = 20  # of a history


class IdleCalls:
    """Counts the calls after the last one that improved the search.

    A call improves it if its molecule enters the ten best, which raises their mean. In a Pareto
    search, if no earlier molecule is as good in every part: exactly then it raises the hypervolume
    of the front, whatever its reference point.
    """

    def __init__(self, *, pareto: bool = False) -> None:
        self.count = 0
        self._pareto = pareto
        self._top: list[float] = []  # a heap of the ten best values
        self._front = np.empty((0, 0))

    def add(self, answers: Iterable[Answer]) -> None:
        """Count further calls, in the order of their numbers."""
        for answer in sorted(answers, key=lambda answer: answer.number):
            self.count += 1
            if not answer.failed and (
                self._advances(answer) if self._pareto else self._rises(answer)
            ):
                self.count = 0

    def _rises(self, answer: Answer) -> bool:
        """Add an answer to the ten best; false if it is not one of them."""
        if len(self._top) < TOP:
            heapq.heappush(self._top, answer.value)
        elif answer.value > self._top[0]:
            heapq.heapreplace(self._top, answer.value)
        else:
            return False
        return True

    def _advances(self, answer: Answer) -> bool:
        """Add an answer to the front; false if one there is as good in every part."""
        (worth,), front = worths([answer]), self._front
        if front.size and np.all(front >= worth, axis=1).any():
            return False
        kept = front[~np.all(front <= worth, axis=1)] if front.size else front
        self._front = np.vstack([kept.reshape(-1, len(worth)), worth])
        return True


def history(
    answers: Sequence[Answer], objective: Objective, *, pareto: bool = False
) -> list[dict[str, Any]]:
    """The state of a search after each twentieth of its calls, as plain data.

    ``best`` value and mean of the ``top`` ten (of a Pareto search: molecules on the ``front``),
    ``top_diversity`` of the ten best, ``diversity`` of the molecules scored since the point before
    (one minus their mean similarity; None for fewer than two), and the number of different
    ``scaffolds`` among all that were scored.
    """
    ordered = sorted(answers, key=lambda answer: answer.number)
    archive, scaffolds, before = Archive(pareto=pareto), set[str](), 0
    points = []
    for end in np.unique(np.linspace(0, len(ordered), POINTS + 1).round().astype(int))[1:].tolist():
        new = [answer for answer in ordered[before:end] if not answer.failed]
        archive.add(new)
        mols = _mols(new)
        scaffolds |= {scaffold(mol) for mol in mols}
        point: dict[str, Any] = {"calls": end}
        if pareto:
            point["front"] = len(fronts(worths(archive.pool))[0]) if archive.pool else 0
        elif archive.pool:
            values = [answer.value for answer in archive.pool[:TOP]]
            point["best"] = objective.displayed(values[0])
            point["top"] = objective.displayed(mean(values))
        point["top_diversity"] = diversity(archive.pool[:TOP])
        point["diversity"] = _diversity(mols)
        point["scaffolds"] = len(scaffolds)
        points.append(point)
        before = end
    return points


def diversity(answers: Sequence[Answer]) -> float | None:
    """One minus the mean similarity of the molecules; None for fewer than two."""
    return _diversity(_mols(answers))


def _mols(answers: Sequence[Answer]) -> list[chem.Mol]:
    return [mol for answer in answers if (mol := chem.parse(answer.smiles)) is not None]


def _diversity(mols: list[chem.Mol]) -> float | None:
    prints: NDArray[np.uint8] = chem.fingerprints(mols) if mols else np.empty((0, 1), np.uint8)
    (metric,) = internal_diversity(prints, powers=(1,))
    return metric.value
