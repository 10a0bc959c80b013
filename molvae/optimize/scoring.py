"""Calls of an objective that may raise, hang, crash or return rubbish."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from molvae.errors import MolvaeError
from molvae.objectives import Objective
from molvae.parallel import Crew, Watchdog
from molvae.progress import say

__all__ = ["Scored", "Scoring"]

STREAMS = (1, 2)  # what a process prints to
GRACE = 1.0  # seconds that a program has to end by its own limit before its worker is ended


class Scored(NamedTuple):
    """A molecule with what each part of the objective gave; NaN and a note where it failed."""

    smiles: str
    scores: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True)
class _Call:
    """One call of the objective, in a worker process."""

    objective: Objective
    timeout: float | None
    log: str | None  # where all that it prints goes, of a worker process

    def __call__(self, smiles: Sequence[str]) -> list[tuple[float, ...]] | str:
        """The scores, or why there are none."""
        limit = None if self.timeout is None else GRACE + self.timeout * len(smiles)
        watchdog = Watchdog(limit)
        try:
            # Standard output is for our results, and standard error for our progress.
            with contextlib.redirect_stdout(sys.stderr), _printed_into(self.log):
                self.objective.load()  # once per worker, and not on the clock
                watchdog.step()
                return self.objective.scores(smiles)
        except MolvaeError as error:
            return str(error)
        except (Exception, SystemExit) as error:
            return f"objective: {type(error).__name__}: {_words(error)}"
        finally:
            watchdog.rest()


@contextlib.contextmanager
def _printed_into(path: str | None) -> Iterator[None]:
    """What this process prints, libraries that are not Python's included, is added to a file."""
    if path is None:
        yield
        return
    sys.stderr.flush()
    before = [os.dup(stream) for stream in STREAMS]
    with open(path, "ab") as log:
        for stream in STREAMS:
            os.dup2(log.fileno(), stream)
    try:
        yield
    finally:
        sys.stderr.flush()
        for stream, old in zip(STREAMS, before, strict=True):
            os.dup2(old, stream)
            os.close(old)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "its message cannot be told"


class Scoring:
    """Scores molecules in the worker processes of a crew.

    A call that raises, takes longer than ``timeout`` seconds per molecule or takes its process with
    it is repeated molecule by molecule, so that only those fail which cannot be scored. What a
    function has answered is never asked again.
    """

    def __init__(
        self,
        objective: Objective,
        crew: Crew,
        *,
        timeout: float | None = None,
        size: int = 16,
        log: Path | None = None,
    ) -> None:
        """``size`` molecules per call at most; a crew of none calls here, unprotected.

        What the objective prints in a worker process goes to the file ``log``, if one is given.
        """
        self.objective, self.timeout, self.size = objective, timeout, size
        self._crew = crew
        if timeout is not None and not crew.protected:
            say("note: without worker processes no time limit is kept, but that of programs")
        self._call = (
            _Call(objective, timeout, None if log is None else str(log.absolute()))
            if crew.protected
            else _Call(objective, None, None)
        )

    def __call__(self, smiles: Sequence[str]) -> Iterator[list[Scored]]:
        """The molecules with their scores, as calls come back: whichever comes first."""
        # No worker without work while another has several molecules before it.
        size = max(1, min(self.size, -(-len(smiles) // max(self._crew.count, 1))))
        chunks = [smiles[i : i + size] for i in range(0, len(smiles), size)]
        for chunk, found in self._crew.map(self._call, chunks, ordered=False):
            if isinstance(found, list):
                yield [Scored(text, scores) for text, scores in zip(chunk, found, strict=True)]
            elif len(chunk) == 1:
                yield [self._failed(chunk[0], found)]
            else:
                for text in chunk:
                    yield [self._single(text)]

    def _single(self, text: str) -> Scored:
        found = self._crew.alone(self._call, [text])
        return Scored(text, found[0]) if isinstance(found, list) else self._failed(text, found)

    def _failed(self, text: str, why: str | None) -> Scored:
        lost = "the process was lost: it crashed"
        if self.timeout is not None:
            lost += f" or took longer than {self.timeout:g} s"
        return Scored(text, (math.nan,) * len(self.objective.parts), why or lost)
