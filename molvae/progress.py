"""Progress on standard error: a bar on a terminal, one line every few seconds in a log file.

Results never go through here; standard output stays free for them.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress", "duration", "say", "set_quiet"]

_state = {"quiet": False}


def set_quiet(quiet: bool) -> None:
    """Silence (or restore) everything this module prints."""
    _state["quiet"] = quiet


def say(text: str) -> None:
    """One line on standard error, unless quiet."""
    if not _state["quiet"]:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds as a person writes them.

    >>> duration(4.26), duration(95), duration(7300)
    ('4.3s', '1m35s', '2h01m')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


class Progress:
    """Count of finished units out of an optional total, with rate, time left and a short note."""

    def __init__(
        self,
        label: str,
        total: float | None = None,
        unit: str = "molecules",
        every: float = 15.0,
        done: float = 0.0,
    ) -> None:
        """``done`` of the total was done before this process started."""
        self.label, self.total, self.unit, self.every = label, total, unit, every
        self.begun = self.done = done
        self.count = 0
        self.note = ""
        self.started = time.monotonic()
        self._printed = self.started
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if not _state["quiet"] and sys.stderr.isatty():
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.percentage:>3.0f}%" if self.total else ""),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self.label, total=self.total, rate="", note="")
            self._bar.update(self._task, completed=self.done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            elapsed = time.monotonic() - self.started
            say(f"{self.label}: {self.count:,} {self.unit} in {duration(elapsed)}, {self.rate()}")

    def rate(self) -> str:
        """Units per second since the start."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        return f"{self.count / elapsed:,.0f} {self.unit}/s"

    def advance(self, count: int, *, done: float | None = None, note: str | None = None) -> None:
        """``count`` more units; ``done`` is the position towards the total if not a count."""
        self.count += count
        self.done = self.done + count if done is None else done
        if note is not None:
            self.note = note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=self.rate(), note=self.note)
            return
        now = time.monotonic()
        if now - self._printed >= self.every:
            self._printed = now
            say(self._line(now))

    def _line(self, now: float) -> str:
        parts = [f"{self.label}: {self.count:,} {self.unit}", self.rate()]
        if self.total:
            share = min(self.done / self.total, 1.0)
            parts.append(f"{share:.0%}")
            made = self.done - self.begun
            if made > 0:
                left = (now - self.started) * max(self.total - self.done, 0.0) / made
                parts.append(f"{duration(left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)
