"""Unfinished work: temporary names, and locked folders whose finished pieces survive a kill."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.runtime.progress import say

__all__ = [
    "clear_forgotten",
    "clear_unfinished",
    "is_unfinished",
    "naming",
    "replace_folder",
    "restore_folder",
    "workplace",
]

LOCK, PLAN = ".lock", "plan.json"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
UNFINISHED = ".unfinished"  # how the names of temporary files and folders end
GO_ON = "go on with --resume, or delete it"


def is_unfinished(path: Path) -> bool:
    """Whether the name is that of a file or folder not finished when its maker was killed."""
    return path.name.startswith(".") and path.name.endswith(UNFINISHED)


def clear_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed processes left of files and folders of these names.

    For those who hold the lock under which such are written: another may be at work on them.
    """
    own = "|".join(map(re.escape, names))
    pattern = re.compile(rf"\.({own})\.[a-z0-9_]{{8}}{re.escape(UNFINISHED)}")  # of tempfile
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def clear_forgotten(work: Path) -> None:
    """Remove what is left of a work folder whose work is done."""
    shutil.rmtree(_forgotten(work), ignore_errors=True)


def _forgotten(work: Path) -> Path:
    return work.with_name(f".{work.name}{UNFINISHED}")


def _forget(work: Path, lock: FileLock) -> None:
    """Remove a work folder by one rename: half a folder would be taken for work to go on with."""
    clear_forgotten(work)
    try:
        os.replace(work, _forgotten(work))
        lock.release()
    except OSError:  # where a folder with an open file cannot be renamed
        lock.release()
        shutil.rmtree(work, ignore_errors=True)
    clear_forgotten(work)


def _set_aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def restore_folder(place: Path) -> None:
    """Bring a folder back that a kill left set aside, between two renames."""
    if not place.exists() and _set_aside(place).exists():
        os.replace(_set_aside(place), place)


def replace_folder(new: Path, place: Path) -> None:
    """Give a complete folder its name, by renames: no half of it or of an older one is seen."""
    restore_folder(place)
    old = _set_aside(place)
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    try:
        os.replace(new, place)
    except BaseException:
        restore_folder(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors that only writing gives, as that of a full disk, get the name of what is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = str(path)
        raise


def _ours(work: Path) -> bool:
    """Whether there is nothing of that name, or a folder that we made."""
    if not work.exists():
        return True
    names = {path.name for path in work.iterdir()} if work.is_dir() else {work.name}
    return not names or bool(names & {LOCK, PLAN})  # empty: killed as soon as it was made


@contextmanager
def workplace(
    work: Path,
    *,
    verb: str,
    finished: Callable[[Path], Sized],
    pieces: Callable[[int], str],
    worth_keeping: int,
    resume: bool,
    force: bool,
    advice: str = GO_ON,
) -> Iterator[Path]:
    """The folder ``work``, locked; removed at the end, unless work that failed left pieces in it.

    Args:
        work: the folder.
        verb: the command that works there, for messages.
        finished: the finished pieces in a folder that may not exist.
        pieces: so many of them, in words.
        worth_keeping: how many pieces are too many to drop unasked.
        resume: keep what is there.
        force: drop it, where ``resume`` is not given.
        advice: what the user is told to do with pieces that are kept.

    Raises:
        FileError: something else has the name of the folder, or another process works there.
        OutputExistsError: pieces worth keeping are there, and neither flag was given.
    """
    if not _ours(work):
        raise FileError(f"'{work}': is in the way and not of our making; rename or remove it")
    if len(finished(work)) >= worth_keeping and not (resume or force):
        raise OutputExistsError(
            f"'{work}' holds unfinished work; go on with it by --resume, or drop it by --force"
        )
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileError(f"'{work}': another molvae {verb} is working there") from None
    try:
        if not resume:
            for old in work.iterdir():
                if old.name != LOCK:
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
        with naming(work):
            yield work
    except BaseException as error:
        kept = len(finished(work))
        if not kept or (kept < worth_keeping and not isinstance(error, ConfigError)):
            _forget(work, lock)
            kept = 0
        lock.release()
        stopped = (
            f"stopped; {pieces(kept)} {'is' if kept == 1 else 'are'} kept in '{work}': {advice}"
            if kept
            else "stopped; nothing was finished that is worth keeping"
        )
        if isinstance(error, KeyboardInterrupt):
            raise RunError(stopped) from None
        if isinstance(error, Exception) and not isinstance(error, ConfigError) and kept:
            say(stopped)
        raise
    _forget(work, lock)
