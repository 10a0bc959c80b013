"""Files written whole or not at all; paths and hashes of files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from molvae.errors import FileError, OutputExistsError
from molvae.runtime.workdir import UNFINISHED, name_in_errors

__all__ = [
    "atomic_binary",
    "atomic_text",
    "fingerprint",
    "require_absent",
    "scratch_folder",
    "write_json",
]


def require_absent(path: str | Path, *, force: bool, resume: bool = False) -> None:
    """Refuse to overwrite: an error if ``path`` exists, unless forced; also checks its folder.

    With ``resume`` the error says that there is no unfinished work to continue.
    """
    path = Path(path)
    if path.exists() and not force:
        nothing = ", and there is no unfinished work to resume" if resume else ""
        raise OutputExistsError(
            f"'{path}' exists already{nothing}; choose another name or add --force"
        )
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise FileError(f"'{path}': '{parent}' is not a folder")
    if not os.access(parent, os.W_OK):
        raise FileError(f"'{path}': the folder '{parent}' is not writable")


@contextmanager
def atomic_binary(path: str | Path) -> Iterator[io.BufferedWriter | gzip.GzipFile]:
    """Write bytes to a temporary file in the folder of ``path``; rename it when it is complete.

    The file is compressed if the name ends in ``.gz``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    try:
        with name_in_errors(path), os.fdopen(handle, "wb") as raw:
            if path.suffix.lower() == ".gz":
                # No time and no name in the header: equal content gives equal bytes.
                with gzip.GzipFile("", "wb", 6, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def scratch_folder(place: Path) -> Path:
    """An empty folder next to ``place``, to be renamed to it when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(UNFINISHED, f".{place.name}.", place.parent))
    os.chmod(folder, 0o777 & ~_umask())
    return folder
