"""Calls of an objective that may raise, hang, crash or return invalid values."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from molvae.errors import RunError
from molvae.objectives import ColumnScorer, DockScorer, Objective
from molvae.objectives.worker import LoadingCheck, ScoringCall
from molvae.runtime.pool import Stream, WorkerPool
from molvae.runtime.progress import say

__all__ = ["Scored", "Scoring", "column_details"]


class Scored(NamedTuple):
    """A molecule with the score of each part of the objective; NaN and a note if it failed."""

    smiles: str
    scores: tuple[float, ...]
    note: str = ""


class Scoring:
    """Scores molecules in the worker processes of a pool.

    A call that raises, exceeds ``timeout`` seconds per molecule or kills its process is repeated
    molecule by molecule, so that only molecules that cannot be scored fail. A score that was
    returned is never requested again.
    """

    def __init__(
        self,
        objective: Objective,
        pool: WorkerPool,
        *,
        timeout: float | None = None,
        size: int = 16,
        log: Path | None = None,
    ) -> None:
        """``size`` molecules per call at most; without workers, calls run here, unprotected.

        The output that the objective prints in a worker process goes to the file ``log``, on a
        Dask cluster to the log of the worker.
        """
        # A docking that fails is not worth a repetition of those that were called with it.
        docks = any(isinstance(part.scorer, DockScorer) for part in objective.parts)
        self.objective, self.timeout, self.size = objective, timeout, 1 if docks else size
        self._pool = pool
        # Predictors of columns hold all training molecules: they are asked here, in one call.
        parts = objective.parts
        self._columns = [i for i, p in enumerate(parts) if isinstance(p.scorer, ColumnScorer)]
        others = tuple(part for i, part in enumerate(parts) if i not in self._columns)
        self._call = _call_in(pool, Objective(others, objective.minimize), timeout, log)
        self._stream = Stream(pool, self._call, ordered=False, delay=False)
        self._begun: dict[str, dict[int, float]] = {}  # molecules → scores of measured columns
        self._ready: deque[list[Scored]] = deque()
        self._again: deque[str] = deque()  # molecules of calls that failed

    def __call__(self, smiles: Sequence[str]) -> Iterator[list[Scored]]:
        """The molecules with their scores, in the order in which calls finish."""
        self.begin(smiles)
        while self.left:
            yield self.take()

    @property
    def left(self) -> int:
        """Molecules begun and not yet taken."""
        return len(self._begun)

    def begin(self, smiles: Sequence[str]) -> None:
        """Start to score molecules, beside others that are still being scored."""
        columns = {i: self.objective.parts[i].scorer(smiles) for i in self._columns}
        self._begun |= {
            text: {i: column[row] for i, column in columns.items()}
            for row, text in enumerate(smiles)
        }
        if len(columns) == len(self.objective.parts):
            self._ready.append([Scored(text, ()) for text in smiles])
            return
        # Small enough that no worker is idle while another has several molecules to score.
        size = max(1, min(self.size, -(-len(smiles) // max(self._pool.count, 1))))
        for first in range(0, len(smiles), size):
            self._stream.put(smiles[first : first + size])

    def take(self) -> list[Scored]:
        """Wait for some molecules and their scores."""
        if self._ready:
            scored = self._ready.popleft()
        elif self._again:
            scored = [self._single(self._again.popleft())]
        else:
            scored = self._finished(*self._stream.take())
        return [
            call._replace(scores=_merged(call.scores, self._begun.pop(call.smiles)))
            for call in scored
        ]

    def _finished(
        self, chunk: Sequence[str], result: list[tuple[float, ...]] | str | None
    ) -> list[Scored]:
        """The scores of a call; one that failed is repeated molecule by molecule."""
        if isinstance(result, list):
            return [Scored(text, scores) for text, scores in zip(chunk, result, strict=True)]
        if len(chunk) == 1:
            return [self._failed(chunk[0], result)]
        self._again.extend(chunk)
        return [self._single(self._again.popleft())]

    def cancel(self) -> None:
        """Drop the calls that have not begun."""
        self._stream.cancel()

    def _single(self, text: str) -> Scored:
        result = self._pool.run_alone(self._call, [text])
        return Scored(text, result[0]) if isinstance(result, list) else self._failed(text, result)

    def _failed(self, text: str, why: str | None) -> Scored:
        lost = "the worker process died: it crashed"
        if self.timeout is not None:
            lost += f" or took longer than {self.timeout:g} s"
        others = len(self.objective.parts) - len(self._columns)
        return Scored(text, (math.nan,) * others, why or lost)


def _call_in(
    pool: WorkerPool, objective: Objective, timeout: float | None, log: Path | None
) -> ScoringCall:
    """The call of an objective in a pool; an error if its cluster cannot load the objective."""
    if pool.cluster is not None:
        objective = objective.shipped()
        if objective.parts:
            for address, error in pool.cluster.each(LoadingCheck(objective)).items():
                if error:
                    raise RunError(f"Dask worker {address}: {error}")
        return ScoringCall(objective, timeout, None)  # what it prints is in the worker's log
    if pool.protected:
        return ScoringCall(objective, timeout, None if log is None else str(log.absolute()))
    if timeout is not None:
        say("note: without worker processes, only external programs have a time limit")
    return ScoringCall(objective, None, None, inline=True)


def column_details(objective: Objective, smiles: Sequence[str]) -> dict[str, list[object]]:
    """What scores rest on, by the name of an output column: predictions, files of poses."""
    details: dict[str, list[object]] = {}
    for name, part in zip(objective.names, objective.parts, strict=True):
        if isinstance(part.scorer, ColumnScorer):
            cells = part.scorer.details(smiles)
            stem = name.removesuffix("_score") if part.is_probability else name
            details |= {f"{stem}{ending}": column for ending, column in cells.items()}
        elif isinstance(part.scorer, DockScorer) and part.scorer.options.poses is not None:
            details[f"{name}_poses"] = [part.scorer.pose(text).name for text in smiles]
    return details


def _merged(others: Sequence[float], columns: Mapping[int, float]) -> tuple[float, ...]:
    """The scores of all parts: those in ``columns`` by their number, the ``others`` in order."""
    left = iter(others)
    count = len(others) + len(columns)
    return tuple(columns[i] if i in columns else next(left) for i in range(count))
