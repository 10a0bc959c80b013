"""Molecule files in, streamed: .smi .csv .tsv .sdf, each also gzipped, .parquet and .xlsx.

Nothing is parsed by RDKit here. Records are passed on as text, so that a molecule that RDKit
crashes on cannot end the process that reads the file.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import os
import re
import shutil
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from molvae import chem
from molvae.data.formats import file_format
from molvae.data.readers.excel import read_excel
from molvae.data.readers.layout import HEAD_LINES, layout_of, smiles_cell
from molvae.data.readers.parquet import read_parquet
from molvae.data.readers.rows import DAMAGE, Row, Rows
from molvae.data.readers.sdf import read_sdf, sdf_fields
from molvae.data.readers.tables import read_table
from molvae.errors import FileError, NoColumnError, no_such_file

__all__ = [
    "Row",
    "Rows",
    "columns_present",
    "field_names",
    "piped",
    "read_rows",
    "read_smiles",
    "save_stdin",
    "smiles_of",
]

HEAD = 1 << 16  # bytes by which a format is recognized
RECORDS = 1000  # of an SDF by which its columns are recognized
MAX_LINE = 2_000_000  # characters of a line; more is damage and not kept in memory
CUT = " [cut: line too long]"
GZIP = b"\x1f\x8b"


def read_rows(
    path: str | Path,
    *,
    smiles_column: str | None = None,
    columns: Sequence[str] = (),
    shown: str | None = None,
    most: int | None = None,
) -> Rows:
    """Open a molecule file and stream its records.

    ``columns`` are label columns to carry along; the SMILES column is found by its usual names
    unless given. What is in a text file, and not its name, says how its columns are separated
    (:mod:`molvae.data.readers.layout`). A .smi file may begin with comment lines (``#``) and a
    header line. ``shown`` is what rows call the file. Of text no more than ``most`` bytes are
    unpacked. Errors name the file and the columns that it does have.
    """
    path = Path(path)
    kind = file_format(path, reading=True)
    if not path.exists():
        raise no_such_file(path)
    if not path.is_file():
        raise FileError(f"'{path}': not a file")
    name = str(path) if shown is None else shown
    if kind == "parquet":
        return read_parquet(path, name, smiles_column, columns)
    if kind == "xlsx":
        return read_excel(path, name, smiles_column, columns)
    raw, text = _open_text(path, most)
    header: Sequence[str] = ()
    try:
        lines = _lines(text)
        if kind == "sdf":
            rows = read_sdf(lines, name, columns)
        else:
            head = list(itertools.islice(lines, HEAD_LINES))
            lines = itertools.chain(head, lines)
            layout = layout_of(head, kind, smiles_column, columns)
            if not layout.smi:
                header, rows = read_table(lines, name, layout, smiles_column, columns)
            elif columns:
                raise NoColumnError(
                    f"'{name}': has no header line with a column '{columns[0]}'; use a .csv file "
                    "for labelled data"
                )
            else:
                rows = _smi_rows(lines, name)
    except DAMAGE as error:
        text.close()
        raw.close()
        raise FileError(f"'{path}': damaged gzip file ({error})") from None
    except BaseException:
        text.close()
        raw.close()
        raise

    def close() -> None:
        text.close()
        raw.close()

    return Rows(path, rows, raw.tell, close, header)


def columns_present(
    path: str | Path, columns: Sequence[str], *, smiles_column: str | None = None
) -> list[str]:
    """Those of the label columns that a file has.

    An SDF has a column if one of its first records has a value of it.
    """
    present = []
    for column in columns:
        try:
            with read_rows(path, smiles_column=smiles_column, columns=[column]) as rows:
                first = itertools.islice(rows, RECORDS)
                if file_format(Path(path), reading=True) != "sdf" or any(
                    row.labels.get(column) for row in first
                ):
                    present.append(column)
        except NoColumnError:
            continue
    return present


class _Beginning(io.RawIOBase):
    """The first bytes of a stream."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self._source, self._left = source, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def field_names(
    path: str | Path, *, smiles_column: str | None = None, most: int | None = None
) -> list[str]:
    """The columns of a file that may have labels: those of a table, or data fields of an SDF.

    Of an SDF those of its first records count, of a list there are none. No more than ``most``
    bytes of text are unpacked.
    """
    path = Path(path)
    with read_rows(path, smiles_column=smiles_column, most=most) as rows:
        if file_format(path, reading=True) != "sdf":
            return list(rows.header)
    raw, text = _open_text(path, most)
    try:
        return sdf_fields(_lines(text), RECORDS)
    except DAMAGE as error:
        raise FileError(f"'{path}': damaged gzip file ({error})") from None
    finally:
        text.close()
        raw.close()


# Files with the name of a text file by mistake: first bytes, what they are, what to do.
OTHERS = (
    (b"PK\x03\x04", "an Excel file or another ZIP archive", "end its name in .xlsx, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "a file of an old Excel (.xls)", "save it as CSV or .xlsx"),
    (b"PAR1", "a Parquet file", "end its name in .parquet"),
    (b"%PDF", "a PDF", "save its table as CSV"),
)


def _open_text(path: Path, most: int | None = None) -> tuple[IO[bytes], IO[str]]:
    """(the file as stored, its text)."""
    try:
        raw = open(path, "rb")  # noqa: SIM115  # Rows closes it
    except PermissionError:
        raise FileError(f"'{path}': permission denied") from None
    try:
        packed = path.suffix.lower() == ".gz" or raw.peek(2)[:2] == GZIP
        binary: Any = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
        if most is not None:
            binary = io.BufferedReader(_Beginning(binary, most))
        if binary.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise FileError(f"'{path}': is in UTF-16; save it as UTF-8")
        for start, kind, advice in OTHERS:
            if binary.peek(len(start)).startswith(start):
                raise FileError(f"'{path}': is {kind}, expected text; {advice}")
    except DAMAGE as error:
        raw.close()
        raise FileError(f"'{path}': damaged gzip file ({error})") from None
    except BaseException:
        raw.close()
        raise
    return raw, io.TextIOWrapper(binary, encoding="utf-8-sig", errors=WINDOWS, newline="")


def _as_windows(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no UTF-8 are those of Windows-1252, which older spreadsheets write."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    text = error.object[error.start : error.end].decode("cp1252", errors="replace")
    return text, error.end


WINDOWS = "molvae-windows-1252"
codecs.register_error(WINDOWS, _as_windows)


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines with their ends; an extremely long one is truncated and marked as cut."""
    while line := text.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith(("\n", "\r")):
            while (rest := text.readline(MAX_LINE)) and not rest.endswith(("\n", "\r")):
                pass
            line = f"{line[:1000]}{CUT}\n"
        yield line


def _smi_rows(lines: Iterator[str], name: str) -> Iterator[Row]:
    number, first = 0, True
    for line in lines:
        fields = line.strip().split(None, 1)
        if first:
            if fields and fields[0].startswith("#"):
                continue
            first = False
            if fields and smiles_cell([fields[0].strip("\"',")]):
                continue
        number += 1
        smiles, title = (*fields, "", "")[:2]
        if (extension := _EXTENSION.match(title)) is not None:  # such as |&1:1|, a racemate
            smiles, title = f"{smiles} {extension[0].strip()}", title[extension.end() :]
        yield Row(name, number, smiles, title)


_EXTENSION = re.compile(r"\|[^|]*\|(\s+|$)")


def read_smiles(paths: Iterable[str | Path], *, smiles_column: str | None = None) -> list[str]:
    """All SMILES texts of some files, in order; a broken record gives an empty text."""
    return [
        smiles_of(row) or ""
        for path in paths
        for row in read_rows(path, smiles_column=smiles_column)
    ]


def smiles_of(row: Row) -> str | None:
    """The SMILES of a record as found, or made from its block; None if the record is broken."""
    if row.fault:
        return None
    return chem.block_smiles(row.block) if row.block else row.smiles


def save_stdin(place: Path, *, smiles_column: str | None = None) -> Path:
    """Copy standard input to ``place`` with the suffix of its format, and return that path."""
    source = sys.stdin.buffer
    if sys.stdin.isatty():
        raise FileError("'-': standard input is a terminal; pipe a molecule file into it")
    head = source.read(HEAD)
    if not head:
        raise FileError("'-': standard input is empty")
    path = place.with_name(f"{place.name}.{_recognize(head, smiles_column)}")
    temporary = place.with_name(f".{place.name}")
    with open(temporary, "wb") as copy:
        copy.write(head)
        shutil.copyfileobj(source, copy, 1 << 20)
    os.replace(temporary, path)
    return path


@contextmanager
def piped(
    paths: Iterable[str | Path], *, smiles_column: str | None = None
) -> Iterator[tuple[Path, ...]]:
    """The files of a command; ``-`` is standard input, copied to a temporary file."""
    given = [str(path) for path in paths]
    if given.count("-") > 1:
        raise FileError("'-': standard input can be read once only")
    with TemporaryDirectory(prefix="molvae-") as folder:
        yield tuple(
            save_stdin(Path(folder) / "stdin", smiles_column=smiles_column)
            if path == "-"
            else Path(path)
            for path in given
        )


def _recognize(head: bytes, smiles_column: str | None) -> str:
    """The file suffix for data, from their first bytes."""
    packed = head.startswith(GZIP)
    if packed:
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD)
        except zlib.error as error:
            raise FileError(f"'-': damaged gzip data ({error})") from None
    if head.startswith(b"PK\x03\x04"):
        raise FileError("'-': .xlsx cannot be read from standard input; give the file's name")
    if head.startswith(b"PAR1"):
        raise FileError("'-': parquet cannot be read from standard input; give the file's name")
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    if len(lines) > 3 and lines[3].rstrip().endswith(("V2000", "V3000")):
        return "sdf.gz" if packed else "sdf"
    # As a table, if a header line says so; without one a .smi file may have any separator.
    layout = layout_of(lines[:HEAD_LINES], "csv", smiles_column)
    kind = "smi"
    if lines and layout.header:
        cells = next(
            csv.reader(lines[layout.skip : layout.skip + 1], delimiter=layout.delimiter), []
        )
        cells = [cell.strip() for cell in cells]
        if smiles_column in cells or (smiles_column is None and smiles_cell(cells)):
            kind = "tsv" if layout.delimiter == "\t" else "csv"
    return f"{kind}.gz" if packed else kind
