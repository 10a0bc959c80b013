"""Molecule files in, streamed: .smi .csv .tsv .sdf, each also gzipped, and .parquet.

Nothing is parsed by RDKit here. Records are handed on as text, so that a molecule that RDKit
crashes on cannot end whoever reads the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import re
import shutil
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, Self

from molvae import chem
from molvae.errors import FileError, suggest
from molvae.files import file_format

__all__ = ["Row", "Rows", "read_rows", "read_smiles", "save_stdin", "smiles_of"]

SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "structure")
ID_NAMES = ("id", "name", "compound_id", "molecule_id", "title")
HEAD = 1 << 16  # bytes by which a format is recognised
# More is damage, not chemistry; what is beyond is not kept in memory.
MAX_RECORD = 5_000_000  # characters of an SDF record
MAX_LINE = 2_000_000  # characters of a line
MAX_LINES = 1_000  # of one record of a table; line ends within quotes are legal
CUT = " [cut: line too long]"

# A quoted cell may be long, but a megabyte of it is damage, not chemistry.
csv.field_size_limit(1_000_000)

_NO_LABELS: Mapping[str, str] = MappingProxyType({})
GZIP = b"\x1f\x8b"
_DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error)


class Row(NamedTuple):
    """One record of a molecule file.

    ``number`` counts records from 1 (a header is not a record). A record of an SDF has its
    ``block`` instead of SMILES. ``fault`` says how the file itself is broken at that record;
    ``smiles`` is then the text found.
    """

    file: str
    number: int
    smiles: str
    name: str = ""
    labels: Mapping[str, str] = _NO_LABELS
    block: str = ""
    fault: str = ""

    @property
    def text(self) -> str:
        """What a person finds the record by."""
        return self.smiles or self.name if self.block else self.smiles

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only view cannot be pickled, and an empty one need not be.
        return (_row, (*self[:4], dict(self.labels) if self.labels else None, *self[5:]))


def _row(
    file: str, number: int, smiles: str, name: str, labels: dict[str, str] | None, block: str,
    fault: str,
) -> Row:  # fmt: skip
    return Row(file, number, smiles, name, labels or _NO_LABELS, block, fault)


class Rows(Iterator[Row]):
    """The records of one open file, one after the other; closes it at the end."""

    def __init__(
        self,
        path: Path,
        rows: Iterator[Row],
        position: Callable[[], int],
        close: Callable[[], None],
    ) -> None:
        self.size = path.stat().st_size  # bytes as stored
        self._path, self._rows, self._position, self._close = path, rows, position, close
        self._closed = False

    def __next__(self) -> Row:
        try:
            return next(self._rows)
        except StopIteration:
            self.close()
            raise
        except _DAMAGE as error:
            self.close()
            raise FileError(f"'{self._path}': damaged gzip file ({error})") from None

    def position(self) -> int:
        """How many bytes of the file, as stored, have been read."""
        return self.size if self._closed else min(self._position(), self.size)

    def close(self) -> None:
        """Close the file; nothing more comes."""
        if not self._closed:
            self._closed = True
            self._rows = iter(())
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()


def read_rows(
    path: str | Path,
    *,
    smiles_column: str | None = None,
    columns: Sequence[str] = (),
    shown: str | None = None,
) -> Rows:
    """Open a molecule file and stream its records.

    ``columns`` are label columns to carry along; the SMILES column is found by its usual names
    unless given. A .smi file may begin with comment lines (``#``) and a header line. ``shown`` is
    what rows call the file. Errors name the file and the columns that it does have.
    """
    path = Path(path)
    kind = file_format(path)
    if not path.exists():
        raise FileError(f"'{path}': no such file")
    if not path.is_file():
        raise FileError(f"'{path}': not a file")
    name = str(path) if shown is None else shown
    if kind == "smi" and columns:
        raise FileError(
            f"'{name}': a .smi file has no column '{columns[0]}'; use .csv for labelled data"
        )
    if kind == "parquet":
        return _read_parquet(path, name, smiles_column, columns)
    raw, text = _open_text(path)
    try:
        if kind == "smi":
            rows = _smi_rows(_lines(text), name)
        elif kind == "sdf":
            rows = _sdf_rows(_lines(text), name, columns)
        else:
            rows = _read_table(_lines(text), name, kind, smiles_column, columns)
    except _DAMAGE as error:
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

    return Rows(path, rows, raw.tell, close)


def _open_text(path: Path) -> tuple[IO[bytes], IO[str]]:
    """(the file as stored, its text)."""
    try:
        raw = open(path, "rb")  # noqa: SIM115  # Rows closes it
    except PermissionError:
        raise FileError(f"'{path}': permission denied") from None
    try:
        packed = path.suffix.lower() == ".gz" or raw.peek(2)[:2] == GZIP
        binary: Any = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
        if binary.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise FileError(f"'{path}': is in UTF-16; save it as UTF-8")
    except _DAMAGE as error:
        raw.close()
        raise FileError(f"'{path}': damaged gzip file ({error})") from None
    except BaseException:
        raw.close()
        raise
    return raw, io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines with their ends; of a monstrous one no more than its beginning, marked as cut."""
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
            if fields and fields[0].strip("\"',").lower() in SMILES_NAMES:
                continue
        number += 1
        if not fields:
            yield Row(name, number, "")
        else:
            yield Row(name, number, fields[0], fields[1] if len(fields) > 1 else "")


# -- tables -------------------------------------------------------------------------------------


def _read_table(
    text: Iterator[str], name: str, kind: str, smiles_column: str | None, columns: Sequence[str]
) -> Iterator[Row]:
    first = next((line for line in text if line.strip()), "")
    if not first:
        raise FileError(f"'{name}': the file is empty, expected a header line")
    delimiter = "\t" if kind == "tsv" else _delimiter(first, smiles_column)
    records = _records_of_table(_Lines(itertools.chain([first], text)), delimiter)
    head = next(records)
    if isinstance(head, str):
        raise FileError(f"'{name}': malformed header line: {head[:200].strip()}")
    header = [cell.strip() for cell in head]
    smiles_at = _smiles_index(name, header, smiles_column)
    name_at = next((i for i, cell in enumerate(header) if cell.lower() in ID_NAMES), None)
    label_at = [(column, _column_index(name, header, column)) for column in columns]
    return _table_rows(records, name, len(header), smiles_at, name_at, label_at)


class _Lines(Iterator[str]):
    """Lines that remember those of the record under way, and can take them back."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._back: deque[str] = deque()
        self.taken: list[str] = []

    def __next__(self) -> str:
        if len(self.taken) >= MAX_LINES:
            raise csv.Error("too many lines")
        line = self._back.popleft() if self._back else next(self._source)
        self.taken.append(line)
        return line

    def give_back(self) -> str:
        """Keep the first line of the record; the others are to be read again."""
        first, *rest = self.taken
        self._back.extendleft(reversed(rest))
        return first


def _records_of_table(lines: _Lines, delimiter: str) -> Iterator[list[str] | str]:
    """The cells of each record, or the first line of one that is malformed.

    A forgotten quote must not swallow the lines that follow. So a record of several lines must be
    quoted strictly by the rules; if it is not, its first line alone is at fault.
    """
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        lines.taken.clear()
        try:
            cells = next(reader)
            if len(lines.taken) > 1:
                cells = next(csv.reader(lines.taken, delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except csv.Error:
            yield lines.give_back()
            reader = csv.reader(lines, delimiter=delimiter)
            continue
        yield cells


def _delimiter(header: str, smiles_column: str | None) -> str:
    """A comma, unless only a semicolon, as spreadsheets write in parts of Europe, cuts a SMILES."""
    return (
        ";"
        if not _has_smiles(header, ",", smiles_column) and _has_smiles(header, ";", smiles_column)
        else ","
    )


def _has_smiles(line: str, delimiter: str, smiles_column: str | None) -> bool:
    cells = [cell.strip().strip('"').strip() for cell in line.split(delimiter)]
    return smiles_column in cells or any(cell.lower() in SMILES_NAMES for cell in cells)


def _table_rows(
    records: Iterator[list[str] | str],
    name: str,
    width: int,
    smiles_at: int,
    name_at: int | None,
    label_at: list[tuple[str, int]],
) -> Iterator[Row]:
    for number, cells in enumerate(records, start=1):
        if isinstance(cells, str):
            yield Row(name, number, cells.strip()[:1000], fault="malformed line")
            continue
        if len(cells) != width:
            if len(cells) > width:
                yield Row(name, number, ",".join(cells), fault="more cells than the header")
                continue
            cells += [""] * (width - len(cells))
        labels = {column: cells[i].strip() for column, i in label_at} if label_at else _NO_LABELS
        yield Row(
            name, number, cells[smiles_at].strip(),
            "" if name_at is None else cells[name_at].strip(), labels,
        )  # fmt: skip


def _smiles_index(name: str, header: list[str], wanted: str | None) -> int:
    if wanted is not None:
        return _column_index(name, header, wanted)
    for cell in header:
        if cell.lower() in SMILES_NAMES:
            return _column_index(name, header, cell)
    raise FileError(
        f"'{name}': no SMILES column among {header[:12]}; "
        f"expected one named {', '.join(SMILES_NAMES)}, or name it with --smiles-column"
    )


def _column_index(name: str, header: list[str], column: str) -> int:
    found = header.count(column)
    if found == 1:
        return header.index(column)
    if found:
        raise FileError(f"'{name}': {found} columns are named '{column}'; rename all but one")
    raise FileError(f"'{name}': no column '{column}': {suggest(column, header)}")


# -- SDF ----------------------------------------------------------------------------------------

_FIELD = re.compile(r">[^<]*<(.+)>")


def _sdf_rows(text: Iterator[str], name: str, columns: Sequence[str]) -> Iterator[Row]:
    number = 0
    for lines in _records(text):
        number += 1
        title = lines[0].strip()
        end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
        if end is None:
            yield Row(name, number, title, fault="broken SDF record")
            continue
        labels = _NO_LABELS
        if columns:
            fields = _fields(lines[end + 1 :])
            labels = {column: fields.get(column, "") for column in columns}
        yield Row(name, number, "", title, labels, "\n".join(lines[: end + 1]) + "\n")


def _records(text: Iterator[str]) -> Iterator[list[str]]:
    """Lines of each record, without line ends; a monstrous one keeps its first lines only."""
    lines: list[str] = []
    size = 0
    for line in text:
        line = line.rstrip("\r\n")
        if line.startswith("$$$$"):
            yield lines or [""]
            lines, size = [], 0
            continue
        size += len(line)
        if size <= MAX_RECORD:
            lines.append(line)
        elif len(lines) > 1:
            lines = [lines[0][:500]]
    if any(line.strip() for line in lines):
        yield lines


def _fields(lines: list[str]) -> dict[str, str]:
    """Data fields of a record: a header ``> <NAME>``, then lines up to a blank one."""
    fields: dict[str, list[str]] = {}
    value: list[str] | None = None
    for line in lines:
        header = _FIELD.match(line) if value is None else None
        if header is not None:
            value = fields[header[1].strip()] = []
        elif not line.strip():
            value = None
        elif value is not None:
            value.append(line)
    return {name: "\n".join(value).strip() for name, value in fields.items()}


# -- parquet ------------------------------------------------------------------------------------


def _read_parquet(path: Path, name: str, smiles_column: str | None, columns: Sequence[str]) -> Rows:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise FileError(
            f"'{name}': .parquet files need the extra: pip install 'molvae[parquet]'"
        ) from None
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise FileError(f"'{name}': damaged parquet file ({error})") from None
    except PermissionError:
        raise FileError(f"'{name}': permission denied") from None
    try:
        header = list(file.schema_arrow.names)
        smiles = header[_smiles_index(name, header, smiles_column)]
        title = next((cell for cell in header if cell.lower() in ID_NAMES), None)
        for column in columns:
            _column_index(name, header, column)
        kind = file.schema_arrow.field(smiles).type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            raise FileError(f"'{name}': column '{smiles}' holds {kind}, expected text")
    except BaseException:
        file.close()
        raise
    done = [0]

    def rows() -> Iterator[Row]:
        wanted = list(dict.fromkeys([smiles, *([title] if title else []), *columns]))
        try:
            for batch in file.iter_batches(batch_size=4096, columns=wanted):
                cells = {column: _texts(batch.column(column)) for column in wanted}
                names = cells[title] if title else [""] * batch.num_rows
                for i in range(batch.num_rows):
                    labels = {c: cells[c][i] for c in columns} if columns else _NO_LABELS
                    yield Row(name, done[0] + 1, cells[smiles][i], names[i], labels)
                    done[0] += 1
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise FileError(f"'{name}': damaged parquet file ({error})") from None

    size, total = path.stat().st_size, max(file.metadata.num_rows, 1)
    return Rows(path, rows(), lambda: size * done[0] // total, file.close)


def _texts(column: Any) -> list[str]:
    """Cells as a CSV file would hold them."""
    return [_cell(value) for value in column.to_pylist()]


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.strip() if isinstance(value, str) else str(value)


# -- conveniences -------------------------------------------------------------------------------


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
    path = place.with_name(f"{place.name}.{_recognise(head, smiles_column)}")
    temporary = place.with_name(f".{place.name}")
    with open(temporary, "wb") as copy:
        copy.write(head)
        shutil.copyfileobj(source, copy, 1 << 20)
    os.replace(temporary, path)
    return path


def _recognise(head: bytes, smiles_column: str | None) -> str:
    """The suffix for data that begin so."""
    packed = head.startswith(GZIP)
    if packed:
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD)
        except zlib.error as error:
            raise FileError(f"'-': damaged gzip data ({error})") from None
    if head.startswith(b"PAR1"):
        raise FileError("'-': parquet cannot be read from standard input; give the file's name")
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    first = lines[0] if lines else ""
    if len(lines) > 3 and lines[3].rstrip().endswith(("V2000", "V3000")):
        kind = "sdf"
    elif _has_smiles(first, "\t", smiles_column) and "\t" in first:
        kind = "tsv"
    elif any(_has_smiles(first, delimiter, smiles_column) for delimiter in ",;"):
        kind = "csv"
    else:
        kind = "smi"
    return f"{kind}.gz" if packed else kind
