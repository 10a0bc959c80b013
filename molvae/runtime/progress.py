"""Progress: a bar on a terminal, a line that changes in a notebook, one every 15 s in a log file.

All but the notebook's line goes to standard error, unless :func:`set_listener` takes it. Results
never go through here; standard output stays free for them.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Listener", "Progress", "duration", "say", "set_listener", "set_quiet"]

Listener = Callable[[str, float | None], None]  # a line, and the share that is done if known
_state = {"quiet": False}
_listeners: list[Listener] = []
CELL_EVERY = 0.5  # seconds between changes of a notebook's line
FIRST = 0.01  # share of the total that the first advance must make for a time left


def set_quiet(quiet: bool) -> None:
    """Silence (or restore) everything this module prints."""
    _state["quiet"] = quiet


def set_listener(listener: Listener | None) -> None:
    """Pass progress to a function twice a second, in place of lines on standard error; or stop."""
    _listeners[:] = [] if listener is None else [listener]


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
        self.count = self.advances = 0
        self.note = ""
        self.started = time.monotonic()
        self._printed = self.started
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._cell: Any = None  # the handle of a line in a notebook
        self._listener: Listener | None = None

    def __enter__(self) -> Self:
        if _state["quiet"]:
            return self
        if _listeners:
            self._listener, self.every = _listeners[0], CELL_EVERY
            self._listener(self.label, self._share())
        elif (show := _notebook_display()) is not None:
            self._cell = show({"text/plain": self.label}, raw=True, display_id=True)
            self.every = CELL_EVERY
        elif sys.stderr.isatty():
            self._bar = _bar(bool(self.total))
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
            done = f"{self.label}: {self.count:,} {self.unit} in {duration(elapsed)}, {self.rate()}"
            if self._cell is not None:
                self._change(done)
            else:
                say(done)

    def rate(self) -> str:
        """Units since the start per second; where that is less than one, per minute or hour."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        seconds, word = 1, "s"
        for longer, name in ((60, "min"), (3600, "h")):
            if self.count * seconds < elapsed and self.count:
                seconds, word = longer, name
        speed = self.count * seconds / elapsed
        return f"{speed:,.{0 if speed >= 9.95 or not speed else 1}f} {self.unit}/{word}"

    def advance(self, count: int, *, done: float | None = None, note: str | None = None) -> None:
        """``count`` more units; ``done`` is the position towards the total if not a count."""
        self.count += count
        self.advances += 1
        self.done = self.done + count if done is None else done
        if note is not None:
            self.note = note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=self.rate(), note=self.note)
            return
        now = time.monotonic()
        if now - self._printed >= self.every:
            self._printed = now
            if self._listener is not None:
                self._listener(self._line(now), self._share())
            elif self._cell is not None:
                self._change(self._line(now))
            else:
                say(self._line(now))

    def _change(self, line: str) -> None:
        self._cell.update({"text/plain": line}, raw=True)

    def _share(self) -> float | None:
        return min(self.done / self.total, 1.0) if self.total else None

    def _line(self, now: float) -> str:
        parts = [f"{self.label}: {self.count:,} {self.unit}", self.rate()]
        if self.total and (share := self._share()) is not None:
            parts.append(f"{share:.0%}")
            made = self.done - self.begun
            # The first of many units has taken the time of the start too.
            if made > 0 and (self.advances > 1 or made >= FIRST * self.total):
                left = (now - self.started) * max(self.total - self.done, 0.0) / made
                parts.append(f"{duration(left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)


def _bar(counted: bool) -> RichProgress:
    """A bar on the terminal, with a percentage if the total is known."""
    from rich import progress  # slow to import, and needed on a terminal only
    from rich.console import Console

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=20),
        progress.TextColumn("{task.percentage:>3.0f}%" if counted else ""),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _notebook_display() -> Any:
    """The function that shows things below a notebook's cell; None anywhere else."""
    ipython = sys.modules.get("IPython")  # whoever runs in a notebook has it loaded
    shell = None if ipython is None else ipython.get_ipython()
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    return importlib.import_module("IPython.display").display
