"""Unfinished work: a locked folder beside the output whose finished pieces survive a kill."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.files import UNFINISHED, naming
from molvae.progress import say

__all__ = ["workplace"]

LOCK, PLAN = ".lock", "plan.json"
GO_ON = "go on with --resume, or delete it"


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
    gone = work.with_name(f".{work.name}{UNFINISHED}")
    shutil.rmtree(gone, ignore_errors=True)
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
        lock.release()
        kept = len(finished(work))
        if not kept or (kept < worth_keeping and not isinstance(error, ConfigError)):
            shutil.rmtree(work, ignore_errors=True)
            kept = 0
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
    lock.release()
    # By one rename: half a folder would be taken for work to go on with.
    try:
        os.replace(work, gone)
    except OSError:
        gone = work  # another process looks into it just now, where that forbids a rename
    shutil.rmtree(gone, ignore_errors=True)
