"""Every error molvae raises on purpose::

    MolvaeError                 one line a user can act on; the command line prints just that
    ├── InputError              what was given is wrong: exit code 2
    │   ├── FileError           a file cannot be found, read or understood
    │   │   └── NoColumnError   a file has no column of that name
    │   ├── ConfigError         a setting is unknown or out of its range
    │   ├── PropertyError       a property or condition is unknown or clashes with another
    │   ├── TargetError         a target such as ``logp=2:3`` is malformed or unknown
    │   ├── OutputExistsError   an output exists and ``--force`` was not given
    │   └── ModelFolderError    a model folder is incomplete, damaged or not one of ours
    └── RunError                the work itself failed: exit code 1
        └── ElsewhereError      another process of several failed, and says why itself

Messages say what was got, what was expected and what to do about it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = [
    "ConfigError",
    "ElsewhereError",
    "FileError",
    "InputError",
    "ModelFolderError",
    "MolvaeError",
    "NoColumnError",
    "OutputExistsError",
    "PropertyError",
    "RunError",
    "TargetError",
    "no_such_file",
    "similar_paths",
    "suggest",
]


class MolvaeError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class InputError(MolvaeError):
    """What the user gave is wrong; nothing was computed."""

    exit_code = 2


class FileError(InputError):
    """A file cannot be found, read or understood."""


class NoColumnError(FileError):
    """A file has no column of the name asked for."""


class ConfigError(InputError):
    """A configuration key is unknown or its value out of range."""


class PropertyError(InputError):
    """A property or condition name is unknown or clashes with another."""


class TargetError(InputError):
    """A generation target cannot be parsed or names an unknown property."""


class OutputExistsError(InputError):
    """An output path exists already and overwriting was not asked for."""


class ModelFolderError(InputError):
    """A model folder is incomplete, damaged, from the future, or not a model folder at all."""


class RunError(MolvaeError):
    """The work itself failed although the input was acceptable."""


class ElsewhereError(RunError):
    """Another of several processes failed; that one says why."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence naming the known names nearest to ``name``, or all of them if none is near.

    >>> suggest("lgop", ["qed", "logp"])
    "did you mean 'logp'? Known: logp, qed."
    """
    import difflib  # only errors need it

    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.5)
    if not names:
        return "none is known."
    if not near:
        return f"known are {', '.join(names)}."
    return f"did you mean {' or '.join(map(repr, near))}? Known: {', '.join(names)}."


def no_such_file(path: str | Path, what: str = "no such file") -> FileError:
    """The error for a file that is not there, with similar names of its folder."""
    near = similar_paths(Path(path), folders="folder" in what)
    return FileError(f"'{path}': {what}{near}")


def similar_paths(path: Path, *, folders: bool) -> str:
    """``; did you mean 'a.csv.gz'?``: files, or files and folders, with names like a missing one.

    A name that only lacks an ending, such as ``.gz``, or has another one comes first.
    """
    import difflib

    names = list[str]()
    with suppress(OSError, ValueError):
        names = sorted(
            item.name
            for item in os.scandir(path.parent)
            if not item.name.startswith(".") and (folders or item.is_file())
        )
    stem = path.name.partition(".")[0].lower()
    near = [name for name in names if name.partition(".")[0].lower() == stem]
    near = near or difflib.get_close_matches(path.name, names, n=2, cutoff=0.75)
    shown = " or ".join(repr(str(path.with_name(name))) for name in near[:3])
    return f"; did you mean {shown}?" if near else ""
