"""Calls of an objective in a worker process: nothing here loads torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from molvae.errors import MolvaeError
from molvae.objectives.combined import Objective
from molvae.objectives.program import ProcessScorer
from molvae.runtime.processes import Deadline

__all__ = ["LoadingCheck", "ScoringCall"]

STREAMS = (1, 2)  # what a process prints to
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
GRACE = 1.0  # seconds beyond the limit of a call; more for a program to be ended at its own limit
PROGRAM_GRACE = 5.0


@dataclass(frozen=True)
class ScoringCall:
    """One call of the objective, in a worker process or, ``inline``, in the main process."""

    objective: Objective
    timeout: float | None
    log: str | None  # file for everything that the objective prints
    inline: bool = False

    def __call__(self, smiles: Sequence[str]) -> list[tuple[float, ...]] | str:
        """The scores, or the reason why there are none.

        No exception of the objective ends the search, whatever its class.
        """
        limit = None
        if self.timeout is not None:
            programs = any(isinstance(part.scorer, ProcessScorer) for part in self.objective.parts)
            limit = (PROGRAM_GRACE if programs else GRACE) + self.timeout * len(smiles)
        stops, streams = _Stops(self.inline), (sys.stdout, sys.stderr)
        try:
            with stops, Deadline(limit) as deadline:
                if not self.inline:
                    _print_into(self.log)
                self.objective.load()  # once per worker, outside the time limit
                deadline.start()
                return self.objective.scores(smiles)
        except MolvaeError as error:
            return str(error)
        except BaseException as error:
            if stops.seen:
                raise
            return f"objective: {type(error).__name__}: {_words(error)}"
        finally:
            if self.inline:
                sys.stdout, sys.stderr = streams
            elif hasattr(signal, "setitimer"):  # an alarm left behind would end this worker later
                signal.setitimer(signal.ITIMER_REAL, 0)


@dataclass(frozen=True)
class LoadingCheck:
    """Whether an objective can be used in this process; no scoring function is called."""

    objective: Objective

    def __call__(self, _: object = None) -> str:
        """Why its files, packages and programs cannot be used; empty if they can."""
        _print_into(None)
        try:
            self.objective.load()
            for part in self.objective.parts:
                if isinstance(part.scorer, ProcessScorer):
                    part.scorer.words()
        except MolvaeError as error:
            return str(error)
        return ""


class _Stops:
    """Notes a Ctrl-C or SIGTERM, to tell it from an exception of the objective."""

    def __init__(self, inline: bool) -> None:
        """Nothing is noted unless ``inline``: workers get no such signals."""
        self.seen = False
        self._inline = inline and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if not self._inline:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = handler
                signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        self._before[number](number, frame)


def _print_into(path: str | None) -> None:
    """From now on, append everything that this process prints to a file.

    Also what C libraries print, and threads between two calls. Without a file it goes to standard
    error, as standard output is for results. Repeated for every call, because a function may have
    closed or replaced the streams.
    """
    try:
        log = os.dup(2) if path is None else os.open(path, APPEND, 0o666)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY)
    for stream in STREAMS:
        os.dup2(log, stream)
    if log not in STREAMS:
        os.close(log)
    sys.stdout = sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "its message cannot be read"
