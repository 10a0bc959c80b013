"""The beginning of a molecule file: its columns, what their cells look like, a few rows.

For a page that lets the user choose columns: nothing is cleaned, and no more is unpacked than
:data:`BYTES`, whatever the file claims to hold.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from molvae.data.columns import Transform, read_label, unit_exponent, unquoted
from molvae.data.readers import field_names, read_rows
from molvae.targets import YES_NO

__all__ = ["BYTES", "ROWS", "ColumnPreview", "Content", "Preview", "preview"]

BYTES = 16 << 20  # of text that are unpacked
ROWS = 2000  # that are looked at
SHOWN = 8  # rows
CELL = 120  # characters of a cell that are shown
VALUES = 30  # different texts of a column that are counted
CLEAR = 0.8  # share of the cells that decides what a column holds
RELATIONS = frozenset({"=", "<", ">", "<=", ">=", "<<", ">>", "~", "≤", "≥", "≈"})

Content = Literal["number", "yesno", "relation", "unit", "text", "empty"]


@dataclass(frozen=True)
class ColumnPreview:
    """What the cells of a column look like, in the rows that were read."""

    name: str
    content: Content
    known: int  # cells that are no gap
    missing: int
    censored: int  # such as >10000
    values: dict[str, int] = field(default_factory=dict)  # how often a text occurs, if few do


@dataclass(frozen=True)
class Preview:
    """The beginning of a file."""

    rows: int  # that were read
    complete: bool  # whether these seem to be all
    columns: list[ColumnPreview]
    head: list[dict[str, str]]  # the first rows: SMILES or name, and the columns

    def having(self, *contents: Content) -> list[str]:
        """Names of the columns with such cells."""
        return [column.name for column in self.columns if column.content in contents]


def preview(path: str | Path, *, smiles_column: str | None = None) -> Preview:
    """Look at the first rows of a file of any format that is read.

    Raises:
        FileError: the file is of no known format, damaged, or has no molecules.
    """
    path = Path(path)
    counted = Counter(field_names(path, smiles_column=smiles_column, most=BYTES))
    names = [name for name, count in counted.items() if name and count == 1]
    with read_rows(path, smiles_column=smiles_column, columns=names, most=BYTES) as rows:
        read = list(itertools.islice(rows, ROWS))
    names = [name for name in names if any(row.labels.get(name) != row.smiles for row in read)]
    complete = len(read) < ROWS and path.stat().st_size < BYTES // 8
    cells = {name: [row.labels.get(name, "") for row in read if not row.fault] for name in names}
    head = [
        {"molecule": row.text[:CELL]} | {name: row.labels.get(name, "")[:CELL] for name in names}
        for row in read[:SHOWN]
    ]
    return Preview(len(read), complete, [_column(n, texts) for n, texts in cells.items()], head)


def _column(name: str, texts: list[str]) -> ColumnPreview:
    kinds = Counter[str](read_label(text, Transform()).kind for text in texts)
    counts = Counter(texts)
    few = dict(counts.most_common()) if len(counts) <= VALUES else {}
    known = len(texts) - kinds["missing"]
    return ColumnPreview(
        name,
        _content(kinds, counts),
        known,
        kinds["missing"],
        kinds["censored"],
        {text[:CELL]: count for text, count in few.items()},
    )


def _content(kinds: Counter[str], counts: Counter[str]) -> Content:
    """What most of the known cells of a column are."""
    known = Counter({unquoted(text): count for text, count in counts.items() if text.strip()})
    total = kinds.total() - kinds["missing"]
    if known and all(text in RELATIONS for text in known):
        return "relation"
    if not total:
        return "empty"
    if kinds["word"] >= CLEAR * total or all(text.lower() in (*YES_NO, "0", "1") for text in known):
        return "yesno"
    if kinds["number"] + kinds["censored"] >= CLEAR * total:
        return "number"
    units = sum(count for text, count in known.items() if unit_exponent(text) is not None)
    return "unit" if units >= CLEAR * total else "text"
