"""Unfinished work: temporary names, locks, and folders whose finished pieces survive a kill.

Whatever can be resumed uses this: parts of :mod:`molvae.data.prepare`, blocks of
:mod:`molvae.generate`, calls of :mod:`molvae.optimize` and runs of :mod:`molvae.train`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molvae.config import differences
from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.runtime.progress import say

__all__ = [
    "clear_unfinished",
    "exclusive_lock",
    "is_unfinished",
    "name_in_errors",
    "numbered_files",
    "open_workdir",
    "plan_conflict",
    "remove_discarded",
    "replace_folder",
    "restore_folder",
]

LOCK, PLAN = ".lock", "plan.json"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
UNFINISHED = ".unfinished"  # how the names of temporary files and folders end
RESUME_ADVICE = "continue with --resume, or delete it"


def is_unfinished(path: Path) -> bool:
    """Whether the name is of a temporary file or folder, as a killed process leaves it."""
    return path.name.startswith(".") and path.name.endswith(UNFINISHED)


def clear_unfinished(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files and folders that killed processes left for these names.

    The caller must hold the lock under which they are written: another process may be writing them.
    """
    known = "|".join(map(re.escape, names))
    pattern = re.compile(rf"\.({known})\.[a-z0-9_]{{8}}{re.escape(UNFINISHED)}")  # of tempfile
    for path in folder.iterdir():
        if pattern.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def remove_discarded(work: Path) -> None:
    """Remove what is left of a work folder that was discarded."""
    shutil.rmtree(_discarded(work), ignore_errors=True)


def _discarded(work: Path) -> Path:
    return work.with_name(f".{work.name}{UNFINISHED}")


def _discard(work: Path, lock: FileLock) -> None:
    """Remove a work folder by one rename: half a folder would look like work to resume."""
    remove_discarded(work)
    try:
        os.replace(work, _discarded(work))
        lock.release()
    except OSError:  # where a folder with an open file cannot be renamed
        lock.release()
        shutil.rmtree(work, ignore_errors=True)
    remove_discarded(work)


def _old_name(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def restore_folder(place: Path) -> None:
    """Restore a folder if a kill came between the two renames of :func:`replace_folder`."""
    if not place.exists() and _old_name(place).exists():
        os.replace(_old_name(place), place)


def replace_folder(new: Path, place: Path) -> None:
    """Move a complete folder to its place by renames, so that nobody sees half of it."""
    restore_folder(place)
    old = _old_name(place)
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
def name_in_errors(path: Path) -> Iterator[None]:
    """Add the path to errors of writing that lack one, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = str(path)
        raise


def exclusive_lock(file: Path, busy: str) -> FileLock:
    """An acquired lock on a file; if another process has it, a FileError that says ``busy``."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileError(busy) from None
    return lock


def numbered_files(folder: Path, prefix: str, suffix: str) -> dict[int, Path]:
    """Number → file of the pieces in a folder, which may not exist, in order."""
    paths = sorted(folder.glob(f"{prefix}*{suffix}"))
    return {int(path.name.removeprefix(prefix).removesuffix(suffix)): path for path in paths}


def plan_conflict(file: Path, plan: Mapping[str, Any]) -> str:
    """The first difference from the plan stored in a file; empty if none."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return next(iter(differences(stored, plan)), "")
    except (OSError, ValueError, TypeError, AttributeError):
        return f"its {file.name} cannot be read"


def _is_workdir(work: Path) -> bool:
    """Whether there is nothing of that name, or a folder made by :func:`open_workdir`."""
    if not work.exists():
        return True
    names = {path.name for path in work.iterdir()} if work.is_dir() else {work.name}
    return not names or bool(names & {LOCK, PLAN})  # empty: killed as soon as it was made


@contextmanager
def open_workdir(
    work: Path,
    *,
    verb: str,
    finished: Callable[[Path], Sized],
    in_words: Callable[[int], str],
    worth_keeping: int,
    resume: bool,
    force: bool,
    advice: str = RESUME_ADVICE,
) -> Iterator[Path]:
    """The folder ``work``, locked; removed at the end, unless an error left pieces in it.

    Args:
        work: the folder.
        verb: the command that works there, for messages.
        finished: the finished pieces in a folder that may not exist.
        in_words: a number of pieces, as text.
        worth_keeping: how many pieces are too many to discard without ``force``.
        resume: keep what is there.
        force: discard it, where ``resume`` is not given.
        advice: advice to the user about pieces that are kept.

    Raises:
        FileError: something else has the name of the folder, or another process works there.
        OutputExistsError: pieces worth keeping are there, and neither flag was given.
    """
    if not _is_workdir(work):
        raise FileError(f"'{work}': exists and was not created by molvae; rename or remove it")
    if len(finished(work)) >= worth_keeping and not (resume or force):
        raise OutputExistsError(
            f"'{work}' holds unfinished work; continue it with --resume, or discard it with --force"
        )
    work.mkdir(parents=True, exist_ok=True)
    lock = exclusive_lock(work / LOCK, f"'{work}': another molvae {verb} is working there")
    try:
        if not resume:
            for old in work.iterdir():
                if old.name != LOCK:
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
        with name_in_errors(work):
            yield work
    except BaseException as error:
        kept = len(finished(work))
        if not kept or (kept < worth_keeping and not isinstance(error, ConfigError)):
            _discard(work, lock)
            kept = 0
        lock.release()
        stopped = (
            f"stopped; {in_words(kept)} {'is' if kept == 1 else 'are'} kept in '{work}': {advice}"
            if kept
            else "stopped; nothing was finished that is worth keeping"
        )
        if isinstance(error, KeyboardInterrupt):
            raise RunError(stopped) from None
        if isinstance(error, Exception) and not isinstance(error, ConfigError) and kept:
            say(stopped)
        raise
    _discard(work, lock)
