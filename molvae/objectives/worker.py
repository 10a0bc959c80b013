"""One call of an objective in a worker process: nothing here loads torch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from molvae.errors import MolvaeError
from molvae.objectives.combined import Objective
from molvae.runtime.pool import Timeout

__all__ = ["ScoringCall"]

STREAMS = (1, 2)  # what a process prints to
GRACE = 1.0  # seconds for a program to stop at its own limit before its worker is killed


@dataclass(frozen=True)
class ScoringCall:
    """One call of the objective, in a worker process."""

    objective: Objective
    timeout: float | None
    log: str | None  # file for everything that the objective prints

    def __call__(self, smiles: Sequence[str]) -> list[tuple[float, ...]] | str:
        """The scores, or the reason why there are none."""
        limit = None if self.timeout is None else GRACE + self.timeout * len(smiles)
        timeout = Timeout(limit)
        try:
            # Standard output is for results, and standard error for progress.
            with contextlib.redirect_stdout(sys.stderr), _printed_into(self.log):
                self.objective.load()  # once per worker, outside the time limit
                timeout.restart()
                return self.objective.scores(smiles)
        except MolvaeError as error:
            return str(error)
        except (Exception, SystemExit) as error:
            return f"objective: {type(error).__name__}: {_words(error)}"
        finally:
            timeout.cancel()


@contextlib.contextmanager
def _printed_into(path: str | None) -> Iterator[None]:
    """Append everything that this process prints to a file, including output of C libraries."""
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
        return "its message cannot be read"
