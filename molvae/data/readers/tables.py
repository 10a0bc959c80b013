"""Tables of text: a header line, then records whose cells may be quoted."""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Iterator, Sequence

from molvae.data.readers.rows import NO_LABELS, Row
from molvae.errors import FileError, NoColumnError, suggest

__all__ = ["ID_NAMES", "SMILES_NAMES", "column_index", "has_smiles", "read_table", "smiles_index"]

SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "structure")
ID_NAMES = ("id", "name", "compound_id", "molecule_id", "title")
MAX_LINES = 1_000  # of one record; line ends within quotes are legal

# A quoted cell may be long, but a megabyte of it is damage, not chemistry.
csv.field_size_limit(1_000_000)


def read_table(
    text: Iterator[str], name: str, kind: str, smiles_column: str | None, columns: Sequence[str]
) -> Iterator[Row]:
    """Records of a table, cells by their header; an error names the columns that are there."""
    first = next((line for line in text if line.strip()), "")
    if not first:
        raise FileError(f"'{name}': the file is empty, expected a header line")
    delimiter = "\t" if kind == "tsv" else _delimiter(first, smiles_column)
    records = _records_of_table(_Lines(itertools.chain([first], text)), delimiter)
    head = next(records)
    if isinstance(head, str):
        raise FileError(f"'{name}': malformed header line: {head[:200].strip()}")
    header = [cell.strip() for cell in head]
    smiles_at = smiles_index(name, header, smiles_column)
    name_at = next((i for i, cell in enumerate(header) if cell.lower() in ID_NAMES), None)
    label_at = [(column, column_index(name, header, column)) for column in columns]
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
        if not has_smiles(header, ",", smiles_column) and has_smiles(header, ";", smiles_column)
        else ","
    )


def has_smiles(line: str, delimiter: str, smiles_column: str | None) -> bool:
    """Whether a header line, split at the delimiter, names a column of SMILES."""
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
        labels = {column: cells[i].strip() for column, i in label_at} if label_at else NO_LABELS
        title = "" if name_at is None else cells[name_at].strip()
        yield Row(name, number, cells[smiles_at].strip(), title, labels)


def smiles_index(name: str, header: list[str], wanted: str | None) -> int:
    """Place of the SMILES column: the wanted one, or the first with a usual name."""
    if wanted is not None:
        return column_index(name, header, wanted)
    for cell in header:
        if cell.lower() in SMILES_NAMES:
            return column_index(name, header, cell)
    raise FileError(
        f"'{name}': no SMILES column among {header[:12]}; "
        f"expected one named {', '.join(SMILES_NAMES)}, or name it with --smiles-column"
    )


def column_index(name: str, header: list[str], column: str) -> int:
    """Place of a column that must be there, and once."""
    count = header.count(column)
    if count == 1:
        return header.index(column)
    if count:
        raise FileError(f"'{name}': {count} columns are named '{column}'; rename all but one")
    raise NoColumnError(f"'{name}': no column '{column}': {suggest(column, header)}")
