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
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any, Literal

from molvae import chem
from molvae.errors import FileError, OutputExistsError
from molvae.unfinished import UNFINISHED, naming

__all__ = [
    "Format",
    "atomic_binary",
    "atomic_text",
    "file_format",
    "fingerprint",
    "format_cell",
    "picture_format",
    "require_absent",
    "require_writer",
    "scratch_folder",
    "write_json",
    "write_picture",
    "write_rows",
]

Format = Literal["smi", "csv", "tsv", "sdf", "parquet"]

GROUP = 1 << 15  # rows of a parquet file that are written at once


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
        case "parquet" | "pq" if len(suffixes) < len(path.suffixes):
            raise FileError(f"'{path}': .parquet files are compressed already; leave out .gz")
        case "parquet" | "pq":
            return "parquet"
    raise FileError(
        f"'{path}': unknown file type '{kind or path.name}', expected "
        ".smi, .csv, .tsv or .sdf, each also with .gz, or .parquet"
    )


def require_absent(path: str | Path, *, force: bool, resume: bool = False) -> None:
    """Refuse to overwrite: an error if ``path`` exists, unless forced; also checks its folder.

    To those who came to ``resume``, and found nothing that this would go on with, it says so.
    """
    path = Path(path)
    if path.exists() and not force:
        nothing = (
            ", and nothing unfinished is beside it: it is finished, or something else" * resume
        )
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
    """Write bytes to a temporary file beside ``path`` and rename it when it is complete.

    A name that ends in ``.gz`` gets them packed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    try:
        with naming(path), os.fdopen(handle, "wb") as raw:
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
    found = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        found.encode()
    except UnicodeEncodeError:  # the name of a file need not be text
        found = json.dumps(data, indent=1, allow_nan=False)
    with atomic_text(path) as text:
        text.write(found + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_rows(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write molecules with their values; the first column is the SMILES. Returns the row count.

    The format follows the file name. A .smi file holds SMILES and a running name only. In a
    .parquet file numbers are float64 with all their digits, and what is missing is null.
    """
    path = Path(path)
    kind = require_writer(path)
    if kind == "parquet":
        return _write_parquet(path, columns, rows)
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


def require_writer(path: Path) -> Format:
    """The format :func:`write_rows` will write; an error if the name or a library forbids it."""
    kind = file_format(path)
    if kind == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise FileError(
                f"'{path}': .parquet files need the extra: pip install 'molvae[parquet]'"
            ) from None
    return kind


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """The first column, and those with a text in the first group, are text; the others numbers."""
    import pyarrow
    from pyarrow import parquet

    rows = iter(rows)
    group = list(islice(rows, GROUP))
    texts = [i == 0 or any(isinstance(row[i], str) for row in group) for i in range(len(columns))]
    kinds = [pyarrow.string() if text else pyarrow.float64() for text in texts]
    schema = pyarrow.schema(list(zip(columns, kinds, strict=True)))
    count = 0
    with atomic_binary(path) as binary, parquet.ParquetWriter(binary, schema) as writer:
        while group:
            cells: list[list[object]] = []
            for name, text, column in zip(columns, texts, zip(*group, strict=True), strict=True):
                cells.append([_typed(value, text, path, name) for value in column])
            writer.write_batch(pyarrow.record_batch(cells, schema=schema))
            count += len(group)
            group = list(islice(rows, GROUP))
    return count


def _typed(value: object, text: bool, path: Path, column: str) -> object:
    """A cell of a parquet file; text in a column of numbers is an error."""
    if _missing(value):
        return None
    if text:
        return format_cell(value)
    if isinstance(value, Real):
        return float(value)
    raise FileError(
        f"'{path}': column '{column}' has no text in its first {GROUP:,} rows, later "
        f"'{value}'; write it as .csv"
    )


def _missing(value: object) -> bool:
    return value is None or value != value


def picture_format(path: Path) -> Literal["png", "svg"]:
    """The format a picture's name stands for; any other is an error."""
    match path.suffix.lower():
        case ".png":
            return "png"
        case ".svg":
            return "svg"
    raise FileError(f"'{path}': a picture is written as .png or .svg")


def write_picture(path: str | Path, smiles: Sequence[str], legends: Sequence[str]) -> None:
    """Draw molecules in a grid, a legend below each, into a .png or .svg file."""
    picture = chem.draw_grid(smiles, legends, kind=picture_format(Path(path)))
    with atomic_binary(path) as file:
        file.write(picture)


def fingerprint(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def scratch_folder(place: Path) -> Path:
    """An empty folder beside ``place``, to be renamed to it when it is complete."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(UNFINISHED, f".{place.name}.", place.parent))
    os.chmod(folder, 0o777 & ~_umask())
    return folder


def format_cell(value: object) -> str:
    """A value as text: six significant digits for numbers, empty for missing."""
    if _missing(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's floats too
        return f"{float(value):.6g}"
    return str(value)
