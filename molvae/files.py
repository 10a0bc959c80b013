"""Molecule files out, written whole or not at all; paths, formats and hashes of files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any, Literal

from molvae import chem
from molvae.errors import FileError, OutputExistsError

__all__ = [
    "Format",
    "atomic_binary",
    "atomic_text",
    "file_format",
    "fingerprint",
    "format_cell",
    "require_absent",
    "scratch_folder",
    "write_json",
    "write_rows",
]

Format = Literal["smi", "csv", "tsv", "sdf", "parquet"]


def file_format(path: Path) -> Format:
    """The format a file name stands for; an unknown suffix is an error listing the known ones."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    kind = suffixes[-1][1:] if suffixes else ""
    match kind:
        case "smi" | "smiles" | "txt":
            return "smi"
        case "csv":
            return "csv"
        case "tsv":
            return "tsv"
        case "sdf" | "sd":
            return "sdf"
        case "parquet" | "pq":
            return "parquet"
    raise FileError(
        f"'{path}': unknown file type '{kind or path.name}', expected "
        ".smi, .csv, .tsv or .sdf, each also with .gz, or .parquet"
    )


def require_absent(path: str | Path, *, force: bool) -> None:
    """Refuse to overwrite: an error if ``path`` exists, unless forced; also checks its folder."""
    path = Path(path)
    if path.exists() and not force:
        raise OutputExistsError(f"'{path}' exists already; choose another name or add --force")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise FileError(f"'{path}': '{parent}' is not a folder")
    if not os.access(parent, os.W_OK):
        raise FileError(f"'{path}': the folder '{parent}' is not writable")


@contextmanager
def atomic_binary(path: str | Path) -> Iterator[io.BufferedWriter | gzip.GzipFile]:
    """Write bytes to a temporary file beside ``path`` and rename it when it is complete.

    A name that ends in ``.gz`` gets them packed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
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
    """Write text to a temporary file beside ``path`` and rename it when it is complete."""
    with atomic_binary(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # writes what is buffered, leaves the file open


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write plain data as text that people can read, whole or not at all."""
    with atomic_text(path) as text:
        text.write(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write molecules with their values; the first column is the SMILES. Returns the row count.

    The format follows the file name. A .smi file holds SMILES and a running name only.
    """
    path = Path(path)
    kind = file_format(path)
    if kind == "parquet":
        raise FileError(f"'{path}': molecules are not written as .parquet; use .csv or .sdf")
    count = 0
    with atomic_text(path) as text:
        writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
        if kind in ("csv", "tsv"):
            writer.writerow(columns)
        for count, row in enumerate(rows, start=1):
            cells = [format_cell(value) for value in row]
            if kind == "smi":
                text.write(f"{cells[0]} molvae-{count}\n")
            elif kind == "sdf":
                values = dict(zip(columns[1:], cells[1:], strict=True))
                text.write(chem.sdf_block(cells[0], f"molvae-{count}", values))
            else:
                writer.writerow(cells)
    return count


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def scratch_folder(place: Path) -> Path:
    """An empty folder beside ``place``, to be renamed to it when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    os.chmod(folder, 0o777 & ~_umask())
    return folder


def format_cell(value: object) -> str:
    """A value as text: six significant digits for numbers, empty for missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's floats too
        return f"{float(value):.6g}"
    return str(value)
