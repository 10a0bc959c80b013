"""Unfinished work: temporary names, locks, and folders whose finished pieces survive a kill.

Whatever can be resumed uses this: parts of :mod:`molvae.data.prepare`, blocks of
:mod:`molvae.generate`, calls of :mod:`molvae.optimize` and runs of :mod:`molvae.train`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
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
    "sync_folder",
]

LOCK, PLAN = ".lock", "plan.json"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
OCCUPIED = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}
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
    """Move a complete folder to its place, flushed to disk, so that nobody sees half of it.

    An older folder is exchanged for it in one step where the system can do that. Elsewhere it is
    renamed first, and who opens it between the two steps finds nothing.
    """
    restore_folder(place)
    for path in (*new.rglob("*"), new):
        _sync(path)
    try:
        os.replace(new, place)
    except OSError as error:
        if os.name == "posix" and error.errno not in OCCUPIED:
            raise
        if _exchange(new, place):
            _remove(new)
        else:
            _rename_twice(new, place)
    sync_folder(place.parent)


def _rename_twice(new: Path, place: Path) -> None:
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


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False if the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    library: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(library, "renameat2"):  # Linux; -100 is the current folder, 2 RENAME_EXCHANGE
        return bool(library.renameat2(-100, names[0], -100, names[1], 2) == 0)
    if hasattr(library, "renamex_np"):  # macOS; 2 is RENAME_SWAP
        return bool(library.renamex_np(*names, 2) == 0)
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk: without it, a power failure may undo a rename."""
    if os.name == "posix":  # Windows opens no folder
        _sync(folder)


def _sync(path: Path) -> None:
    with suppress(OSError):  # not every file system can, and not everything can be opened
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise FileError(f"'{file}': is not a lock that molvae made; remove it")
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileError(busy) from None
    return lock


def numbered_files(folder: Path, prefix: str, suffix: str) -> dict[int, Path]:
    """Number → file of the pieces in a folder, which may not exist, in order."""
    paths = sorted(folder.glob(f"{prefix}*{suffix}"))
    numbers = {path: path.name.removeprefix(prefix).removesuffix(suffix) for path in paths}
    return {int(number): path for path, number in numbers.items() if number.isdecimal()}


def plan_conflict(file: Path, plan: Mapping[str, Any]) -> str:
    """The first difference from the plan stored in a file; empty if none."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return next(iter(differences(stored, plan)), "")
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return f"its {file.name} cannot be read"


def _require_workdir(work: Path, names: str) -> None:
    """Refuse what :func:`open_workdir` did not make: it would be removed at the end.

    Also a folder of ours in which somebody left other files, links, or pipes that would block.
    """
    if not work.exists() and not work.is_symlink():
        return
    foreign = FileError(f"'{work}': exists and was not created by molvae; rename or remove it")
    if work.is_symlink() or not work.is_dir():
        raise foreign
    paths = {path.name: path for path in work.iterdir()}
    if paths and LOCK not in paths and not _is_plan(work / PLAN):
        raise foreign  # an empty one: killed as soon as it was made
    for name, path in paths.items():
        known = name in (LOCK, PLAN) or is_unfinished(path) or re.fullmatch(names, name)
        plain = path.is_file() or path.is_dir() or not path.exists()  # gone meanwhile
        if not known or path.is_symlink() or not plain:
            raise FileError(f"'{path}': was not created by molvae; move it out of that folder")


def _is_plan(file: Path) -> bool:
    try:
        plan = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(plan, dict) and bool(plan.keys() & {"schema", "plan"})


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
    names: str = ".*",
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
        names: pattern of the names of all pieces; a folder with other files is refused.

    Raises:
        FileError: something else has the name of the folder, or another process works there.
        OutputExistsError: pieces worth keeping are there, and neither flag was given.
    """
    _require_workdir(work, names)
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
