"""Where uploads are stored, and how long: as long as a tab, its work or a job needs them.

A job needs its files while it runs and as long as it can be resumed or continued. What nothing
needs is removed: while the server runs within ``GRACE + EVERY`` seconds, at its end, and after a
kill at the next start. Every server has a marked folder below ``uploads``, and holds a lock in it:
nothing else below ``uploads`` is touched, and nothing of another server that runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from streamlit.runtime import Runtime

from molvae.app.jobs import all_jobs
from molvae.app.settings import settings

__all__ = [
    "EVERY",
    "GRACE",
    "claim",
    "hold",
    "removed",
    "store",
    "sweep",
    "sweeping",
    "without_folder",
]

FOLDER = "uploads"  # below the folder of the app
MARK, LOCK = ".molvae-uploads", ".lock"  # in the folder of each server
EVERY, GRACE = 60.0, 180.0  # seconds between sweeps; from the last use of a file to its removal

_own: dict[Path, tuple[Path, FileLock]] = {}  # folder of the app -> that of this server, its lock
_claims: dict[str, set[Path]] = {}  # tab -> files chosen in it
_left: dict[str, float] = {}  # tab without a browser -> since when
_held: weakref.WeakKeyDictionary[object, Sequence[Path]] = weakref.WeakKeyDictionary()
_guard = threading.RLock()  # of all of these, and of the files


def store(name: str, content: bytes) -> Path:
    """Write a file of this server; equal content and name are stored once."""
    with _guard:
        folder = _own_folder(settings().folder) / hashlib.sha256(content).hexdigest()[:16]
        folder.mkdir(exist_ok=True)
        path = folder / name
        if path.exists():
            path.touch()
        else:
            draft = folder.parent / f"{folder.name}.new"
            draft.write_bytes(content)
            os.replace(draft, path)
        return path


def _own_folder(root: Path) -> Path:
    if root not in _own or not _own[root][0].is_dir():
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=root / FOLDER, prefix="server-"))
        lock = FileLock(folder / LOCK, thread_local=False)
        lock.acquire(timeout=0)
        (folder / MARK).touch()
        _own[root] = folder, lock
    return _own[root][0]


def claim(tab: str, paths: set[Path]) -> None:
    """The files that a tab uses now, instead of those before."""
    with _guard:
        _claims[tab] = paths


def hold(user: object, paths: Sequence[Path]) -> None:
    """Keep files as long as ``user`` exists."""
    with _guard:
        _held[user] = paths


def removed(arguments: Sequence[str]) -> list[str]:
    """Names of the uploads among the arguments of a command that are no longer there."""
    root = settings().folder / FOLDER
    paths = [path for text in arguments if (path := Path(text)).is_relative_to(root)]
    return [path.name for path in paths if not path.exists()]


def without_folder(text: str) -> str:
    """A message in which uploads have their names alone, as the user knows them."""
    root = re.escape(str(settings().folder / FOLDER))
    return re.sub(rf"{root}[/\\]server-\w+[/\\][0-9a-f]+[/\\]", "", text)


@contextlib.contextmanager
def sweeping() -> Iterator[None]:
    """Remove what nothing needs, now and then, and at the end whatever no job needs."""
    over = threading.Event()

    def watch() -> None:
        sweep()
        while not over.wait(EVERY):
            sweep()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sweep(last=True)


def sweep(*, last: bool = False) -> None:
    """Remove the uploads that nothing needs; ``last``: the server ends, and its tabs with it."""
    root = settings().folder
    with _guard:
        if last:
            _claims.clear()
            _held.clear()
        jobs = [job for job in all_jobs(root) if job.needs_files]
        needed = _used() | {text for job in jobs for text in job.arguments}
        if (own := _own.get(root)) is not None:
            _clear(own[0], needed, 0.0 if last else GRACE)
            if last:
                own[1].release()
                del _own[root]
        for mark in (root / FOLDER).glob(f"server-*/{MARK}"):
            if root in _own and mark.parent == _own[root][0]:
                continue
            with contextlib.suppress(Timeout, OSError):
                with FileLock(mark.parent / LOCK, timeout=0):
                    _clear(mark.parent, needed, 0.0)
                if not any(path.is_dir() for path in mark.parent.iterdir()):
                    shutil.rmtree(mark.parent)
        with contextlib.suppress(OSError):
            (root / FOLDER).rmdir()  # if it is empty


def _clear(folder: Path, needed: set[str], age: float) -> None:
    """Remove files of a server's folder that were not chosen within ``age`` seconds."""
    for path in folder.glob("*/*"):
        # What cannot be removed now is tried again.
        with contextlib.suppress(OSError):
            if str(path) not in needed and time.time() - path.stat().st_mtime >= age:
                path.unlink()
            path.parent.rmdir()  # if it is empty


def _used() -> set[str]:
    """Paths that open tabs and their work use; tabs whose browser has left are forgotten."""
    now = time.monotonic()
    for tab in list(_claims):
        if not Runtime.exists() or Runtime.instance().is_active_session(tab):
            _left.pop(tab, None)
        elif now - _left.setdefault(tab, now) > GRACE:
            del _claims[tab], _left[tab]
    return {str(path) for paths in [*_claims.values(), *_held.values()] for path in paths}
