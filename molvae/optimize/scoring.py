"""Calls of an objective that may raise, hang, crash or return rubbish."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from molvae.objectives import Objective
from molvae.objectives.worker import ScoringCall
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say

__all__ = ["Scored", "Scoring"]


class Scored(NamedTuple):
    """A molecule with what each part of the objective gave; NaN and a note where it failed."""

    smiles: str
    scores: tuple[float, ...]
    note: str = ""


class Scoring:
    """Scores molecules in the worker processes of a pool.

    A call that raises, takes longer than ``timeout`` seconds per molecule or takes its process with
    it is repeated molecule by molecule, so that only those fail which cannot be scored. What a
    function has answered is never asked again.
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
        """``size`` molecules per call at most; a pool without workers calls here, unprotected.

        What the objective prints in a worker process goes to the file ``log``, if one is given.
        """
        self.objective, self.timeout, self.size = objective, timeout, size
        self._pool = pool
        if timeout is not None and not pool.protected:
            say("note: without worker processes no time limit is kept, but that of programs")
        self._call = (
            ScoringCall(objective, timeout, None if log is None else str(log.absolute()))
            if pool.protected
            else ScoringCall(objective, None, None)
        )

    def __call__(self, smiles: Sequence[str]) -> Iterator[list[Scored]]:
        """The molecules with their scores, as calls come back: whichever comes first."""
        # No worker without work while another has several molecules before it.
        size = max(1, min(self.size, -(-len(smiles) // max(self._pool.count, 1))))
        chunks = [smiles[i : i + size] for i in range(0, len(smiles), size)]
        for chunk, found in self._pool.map(self._call, chunks, ordered=False):
            if isinstance(found, list):
                yield [Scored(text, scores) for text, scores in zip(chunk, found, strict=True)]
            elif len(chunk) == 1:
                yield [self._failed(chunk[0], found)]
            else:
                for text in chunk:
                    yield [self._single(text)]

    def _single(self, text: str) -> Scored:
        found = self._pool.run_alone(self._call, [text])
        return Scored(text, found[0]) if isinstance(found, list) else self._failed(text, found)

    def _failed(self, text: str, why: str | None) -> Scored:
        lost = "the process was lost: it crashed"
        if self.timeout is not None:
            lost += f" or took longer than {self.timeout:g} s"
        return Scored(text, (math.nan,) * len(self.objective.parts), why or lost)
