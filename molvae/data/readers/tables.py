"""Tables of text: a header line, then records whose cells may be quoted."""

from __future__ import annotations

import csv
import itertools
import shlex
from collections import deque
from collections.abc import Iterator, Sequence

from molvae.data.readers.layout import Layout, id_cell, smiles_cell, smiles_hint
from molvae.data.readers.rows import NO_LABELS, Row
from molvae.data.writers import harmless
from molvae.errors import FileError, NoColumnError, suggest

__all__ = ["column_index", "read_table", "smiles_index"]

MAX_LINES = 1_000  # of one record; line ends within quotes are legal

# A quoted cell may be long, but a megabyte of it is damage, not chemistry.
csv.field_size_limit(1_000_000)


def read_table(
    lines: Iterator[str],
    name: str,
    layout: Layout,
    smiles_column: str | None,
    columns: Sequence[str],
) -> tuple[list[str], Iterator[Row]]:
    """(header, records) of a table; an error names the columns that are there.

    Without a header line the header is empty, and the name is the first column but the SMILES.
    """
    text = itertools.islice(lines, layout.skip, None)
    if not layout.header:
        if columns:
            raise NoColumnError(
                f"'{name}': has no header line, so no column '{columns[0]}'; add a header line"
            )
        first = list(itertools.islice(text, 1))
        width = len(next(csv.reader(first, delimiter=layout.delimiter)))
        records = _records_of_table(_Lines(itertools.chain(first, text)), layout.delimiter)
        name_at = next((i for i in range(width) if i != layout.smiles_at), None)
        return [], _table_rows(records, name, width, layout.smiles_at, name_at, [])
    peek = list(itertools.islice(text, 20))
    if not any(line.strip() for line in peek):
        raise FileError(f"'{name}': the file is empty, expected a header line")
    records = _records_of_table(_Lines(itertools.chain(peek, text)), layout.delimiter)
    head = next(records)
    if isinstance(head, str):
        raise FileError(f"'{name}': malformed header line: {head[:200].strip()}")
    header = [cell.strip() for cell in head]
    hint = smiles_hint(header, peek[1:], layout.delimiter)
    smiles_at = smiles_index(name, header, smiles_column, hint)
    label_at = [(column, column_index(name, header, column)) for column in columns]
    return header, _table_rows(records, name, len(header), smiles_at, id_cell(header), label_at)


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


def smiles_index(name: str, header: list[str], wanted: str | None, hint: str = "") -> int:
    """Place of the SMILES column: the wanted one, or one with a usual name.

    ``hint`` is a column that looks like it, for the error.
    """
    if wanted is not None:
        return column_index(name, header, wanted)
    try:
        cell = smiles_cell(header)
    except FileError as error:
        raise FileError(f"'{name}': {error}") from None
    if cell is not None:
        return column_index(name, header, cell)
    advice = (
        f"--smiles-column {shlex.quote(hint)}, which looks like it" if hint else "--smiles-column"
    )
    raise FileError(
        f"'{name}': no SMILES column among {header[:12]}; expected one named smiles, "
        f"canonical_smiles, isomeric_smiles, smi or structure, or name it with {advice}"
    )


def column_index(name: str, header: list[str], column: str) -> int:
    """Place of a column that must be there, and once."""
    count = header.count(column)
    if count == 1:
        return header.index(column)
    if not count and harmless(column) in header:  # as molvae writes such names
        return header.index(harmless(column))
    if count:
        raise FileError(f"'{name}': {count} columns are named '{column}'; rename all but one")
    raise NoColumnError(f"'{name}': no column '{column}': {suggest(column, header)}")
