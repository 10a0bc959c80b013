"""Molecule files in and out, streamed: .smi .csv .tsv .sdf, each also gzipped."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import IO, Any, Literal

from molvae import chem
from molvae.errors import FileError, OutputExistsError, suggest

__all__ = [
    "Format",
    "Row",
    "atomic_text",
    "file_format",
    "fingerprint",
    "format_cell",
    "read_rows",
    "read_smiles",
    "require_absent",
    "scratch_folder",
    "write_rows",
]

Format = Literal["smi", "csv", "tsv", "sdf"]

SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "structure")
ID_NAMES = ("id", "name", "compound_id", "molecule_id", "title")

# A quoted cell may be long, but a megabyte of it is damage, not chemistry.
csv.field_size_limit(1_000_000)


@dataclass(frozen=True)
class Row:
    """One record of a molecule file.

    ``number`` counts records from 1 (a header is not a record). ``smiles`` is None where the file
    itself is broken at that record, and ``text`` then says how.
    """

    file: str
    number: int
    smiles: str | None
    name: str
    labels: Mapping[str, str]
    text: str = ""


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
    raise FileError(
        f"'{path}': unknown file type '{kind or path.name}', expected "
        ".smi, .csv, .tsv or .sdf, each also with .gz"
    )


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    if not path.exists():
        raise FileError(f"'{path}': no such file")
    if not path.is_file():
        raise FileError(f"'{path}': not a file")
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as text:
                yield text
        else:
            with open(path, encoding="utf-8-sig", errors="replace", newline="") as plain:
                yield plain
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"'{path}': damaged gzip file ({error})") from None
    except PermissionError:
        raise FileError(f"'{path}': permission denied") from None


def read_rows(
    path: str | Path, *, smiles_column: str | None = None, columns: Sequence[str] = ()
) -> Iterator[Row]:
    """Stream the records of a molecule file.

    ``columns`` are label columns to carry along; the SMILES column is found by its usual names
    unless given. A .smi file may begin with a header line. Errors name the file and the columns
    that it does have.
    """
    path = Path(path)
    kind = file_format(path)
    if kind == "smi":
        if columns:
            raise FileError(
                f"'{path}': a .smi file has no column '{columns[0]}'; use .csv for labelled data"
            )
        yield from _read_smi(path)
    elif kind == "sdf":
        yield from _read_sdf(path, columns)
    else:
        yield from _read_delimited(path, "," if kind == "csv" else "\t", smiles_column, columns)


def _read_smi(path: Path) -> Iterator[Row]:
    number = 0
    with _open_text(path) as lines:
        for index, line in enumerate(lines):
            fields = line.strip().split(None, 1)
            if index == 0 and fields and fields[0].strip("\"',").lower() in SMILES_NAMES:
                continue
            number += 1
            smiles = fields[0] if fields else ""
            yield Row(str(path), number, smiles, fields[1] if len(fields) > 1 else "", {})


def _read_sdf(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    if not path.is_file():
        raise FileError(f"'{path}': no such file")
    try:
        for number, (smiles, name, fields) in enumerate(chem.read_sdf(path), start=1):
            labels = {column: fields.get(column, "") for column in columns}
            text = "" if smiles is not None else "broken SDF record"
            yield Row(str(path), number, smiles, name, labels, text)
    except SystemError as error:  # what RDKit makes of an exception while it reads
        raise FileError(f"'{path}': damaged gzip file ({error.__cause__})") from None
    except PermissionError:
        raise FileError(f"'{path}': permission denied") from None


def _read_delimited(
    path: Path, delimiter: str, smiles_column: str | None, columns: Sequence[str]
) -> Iterator[Row]:
    with _open_text(path) as text:
        reader = csv.reader(text, delimiter=delimiter)
        header = next(reader, None)
        if header is None:
            raise FileError(f"'{path}': the file is empty, expected a header line")
        header = [cell.strip() for cell in header]
        smiles_at = _smiles_index(path, header, smiles_column)
        name_at = next((i for i, cell in enumerate(header) if cell.lower() in ID_NAMES), None)
        label_at = {column: _column_index(path, header, column) for column in columns}
        number = 0
        while True:
            number += 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield Row(str(path), number, None, "", {}, f"malformed line ({error})")
                continue
            if cells is None:
                return
            if len(cells) > len(header):
                yield Row(
                    str(path), number, None, "", {},
                    f"{len(cells)} cells where the header has {len(header)}",
                )  # fmt: skip
                continue

            def cell(i: int | None, cells: list[str] = cells) -> str:
                return cells[i].strip() if i is not None and i < len(cells) else ""

            labels = {column: cell(i) for column, i in label_at.items()}
            yield Row(str(path), number, cell(smiles_at), cell(name_at), labels)


def _smiles_index(path: Path, header: list[str], wanted: str | None) -> int:
    if wanted is not None:
        return _column_index(path, header, wanted)
    for i, cell in enumerate(header):
        if cell.lower() in SMILES_NAMES:
            return i
    raise FileError(
        f"'{path}': no SMILES column among {header[:12]}; "
        f"expected one named {' or '.join(SMILES_NAMES[:3])}, or name it with --smiles-column"
    )


def _column_index(path: Path, header: list[str], column: str) -> int:
    if column in header:
        return header.index(column)
    raise FileError(f"'{path}': no column '{column}': {suggest(column, header)}")


def read_smiles(paths: Iterable[str | Path], *, smiles_column: str | None = None) -> list[str]:
    """All SMILES texts of some files, in order, unparsed; a broken record gives an empty text."""
    return [
        row.smiles or "" for path in paths for row in read_rows(path, smiles_column=smiles_column)
    ]


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
def atomic_text(path: str | Path) -> Iterator[IO[str]]:
    """Write text to a temporary file beside ``path`` and rename it when it is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.suffix.lower() == ".gz":
                # No time and no name in the header: equal content gives equal bytes.
                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
                    yield from _as_text(packed)
            else:
                yield from _as_text(raw)
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _as_text(binary: io.BufferedWriter | gzip.GzipFile) -> Iterator[IO[str]]:
    """One text layer over a binary stream, taken off again without closing the stream."""
    text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()  # writes what is buffered


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
