"""Work in a thread of this process: molecules as they come, with a stop button that works.

A thread belongs to one tab, calls nothing of Streamlit, and lets others compute when it is done
(:func:`molvae.app.models.working`). What may take longer than a minute is a job
(:mod:`molvae.app.jobs`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from molvae.app import models
from molvae.errors import MolvaeError

__all__ = ["Row", "Stopped", "Work"]

Row = dict[str, Any]
PATIENCE = 150.0  # seconds; a browser lets a hidden tab look once a minute


class Stopped(BaseException):
    """The user stopped the work; not an error, so that nothing on its way takes it for one."""


class Work:
    """One piece of work: what it has made so far, and how it ended."""

    def __init__(self, wanted: int, do: Callable[[Work], None], **about: Any) -> None:
        """``do`` gets this object; it adds rows and notes. ``about`` is for the page."""
        self.wanted, self.about = wanted, about
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.decoded = 0
        self.error = ""
        self.seconds = 0.0
        self.first: float | None = None  # seconds until the first row
        self.begun = False  # whether its turn has come
        self._seen = time.monotonic()
        self._stop = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(do,), daemon=True)

    def start(self) -> Work:
        """Begin; returns itself."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether the user stopped it."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask it to stop; what it has made stays."""
        self._stop.set()

    def look(self) -> None:
        """Called by the page now and then: work that no page shows any more is stopped."""
        self._seen = time.monotonic()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def check(self) -> None:
        """Called by the work now and then; others may compute meanwhile.

        Raises:
            Stopped: the user stopped it, or closed the tab.
        """
        if time.monotonic() - self._seen > PATIENCE:
            self._stop.set()
        if self._stop.is_set():
            raise Stopped
        models.give_way()

    def add(self, rows: Sequence[Row]) -> None:
        """More results."""
        if rows and self.first is None:
            self.first = time.monotonic() - self._started
        self.rows = [
            *self.rows,
            *rows,
        ]  # a new list: a page that reads the old one is not disturbed

    def _run(self, do: Callable[[Work], None]) -> None:
        try:
            with models.working():
                self.check()
                self.begun = True
                do(self)
        except Stopped:
            pass
        except MolvaeError as error:
            self.error = str(error)
        except Exception as error:
            logging.getLogger("molvae").exception("molvae app: the work failed")
            self.error = (
                f"this did not work: {type(error).__name__}; the terminal of molvae app shows "
                "the details"
            )
        finally:
            self.seconds = time.monotonic() - self._started
