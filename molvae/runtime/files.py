"""Files written whole or not at all; paths and hashes of files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from molvae.errors import ConfigError, FileError, OutputExistsError, no_such_file
from molvae.runtime.progress import say
from molvae.runtime.workdir import UNFINISHED, name_in_errors, sync_folder

__all__ = [
    "atomic_binary",
    "atomic_text",
    "fingerprint",
    "require_absent",
    "require_distinct",
    "scratch_folder",
    "write_json",
]

Made = TypeVar("Made")
LONGEST_NAME = 255  # bytes, on all common file systems
EXTRA_NAME = 32  # bytes that temporary names and names of companions add


def require_absent(
    path: str | Path, *, force: bool, resume: bool = False, folder: bool = False
) -> None:
    """Refuse to overwrite: an error if ``path`` exists, unless forced.

    Also an error if nothing could be written there at the end: something that is no file (of a
    ``folder``: that is a file), a name that is too long, a folder that cannot be written. With
    ``resume`` the error says that there is no unfinished work to continue.
    """
    path = Path(path)
    _check_name(path)
    if not folder and path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or device"
        raise FileError(f"'{path}': is {kind}, expected the name of a file to write")
    if path.exists() and not force:
        nothing = ", and there is no unfinished work to resume" if resume else ""
        raise OutputExistsError(
            f"'{path}' exists already{nothing}; choose another name or add --force"
        )
    if not folder and path.is_symlink():
        say(f"note: '{path}' is a link; it is replaced, and '{path.readlink()}' is left alone")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise FileError(f"'{path}': '{parent}' is not a folder")
    if not os.access(parent, os.W_OK):
        raise FileError(f"'{path}': the folder '{parent}' is not writable")


def require_distinct(paths: Iterable[str | Path | None]) -> None:
    """Refuse outputs of a command that have the same name: one would overwrite the other."""
    seen: set[str] = set()
    for path in paths:
        if path is not None and (whole := os.path.realpath(path)) in seen:
            raise ConfigError(f"'{path}': two outputs have this name; name them differently")
        if path is not None:
            seen.add(whole)


def _check_name(path: Path) -> None:
    """Refuse a name from which no temporary name can be made."""
    limit = LONGEST_NAME - EXTRA_NAME
    if (size := len(os.fsencode(path.name))) > limit:
        raise FileError(f"'{path.name[:40]}…': name of {size} bytes, expected at most {limit}")


@contextmanager
def atomic_binary(path: str | Path) -> Iterator[io.BufferedWriter | gzip.GzipFile]:
    """Write bytes to a temporary file in the folder of ``path``; rename it when it is complete.

    The file is compressed if the name ends in ``.gz``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = _new_name(path, lambda name: open(name, "xb"))  # noqa: SIM115
    temporary = Path(raw.name)
    try:
        with name_in_errors(path), raw:
            if path.suffix.lower() == ".gz":
                # No time and no name in the header: equal content gives equal bytes.
                with gzip.GzipFile("", "wb", 6, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_text(path: str | Path) -> Iterator[IO[str]]:
    """Write text to a temporary file in the folder of ``path``; rename it when it is complete."""
    with atomic_binary(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # writes what is buffered, leaves the file open


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write plain data as text that people can read, whole or not at all."""
    content = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        content.encode()
    except UnicodeEncodeError:  # the name of a file need not be text
        content = json.dumps(data, indent=1, allow_nan=False)
    with atomic_text(path) as text:
        text.write(content + "\n")


def _new_name(path: Path, make: Callable[[Path], Made]) -> Made:
    """What ``make`` makes under a temporary name next to ``path``, which nothing has.

    The kernel applies the user's umask. Python can read the umask only by changing it, which
    other threads would notice.
    """
    while True:
        name = f".{path.name}.{secrets.token_hex(4)}{UNFINISHED}"
        with suppress(FileExistsError):
            return make(path.with_name(name))


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file, which is there and can be read more than once."""
    if not path.is_file():
        if not path.exists():
            raise no_such_file(path)
        raise FileError(f"'{path}': is a pipe or device; save it to a file")
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def scratch_folder(place: Path) -> Path:
    """An empty folder next to ``place``, to be renamed to it when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)

    def make(folder: Path) -> Path:
        folder.mkdir()
        return folder

    return _new_name(place, make)
