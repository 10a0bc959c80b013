"""Molecule files and pictures out, written whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import Literal

from molvae import chem
from molvae.data.formats import Format, file_format
from molvae.errors import FileError
from molvae.runtime.files import atomic_binary, atomic_text

__all__ = [
    "FORMULA",
    "format_cell",
    "harmless",
    "picture_format",
    "require_writer",
    "write_picture",
    "write_rows",
]

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # may begin a formula

GROUP = 1 << 15  # rows of a parquet file that are written at once


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
            writer.writerow(map(harmless, columns))
        for count, row in enumerate(rows, start=1):
            cells = [format_cell(value) for value in row]
            if kind == "smi":
                text.write(f"{cells[0]} molvae-{count}\n")
            elif kind == "sdf":
                values = dict(zip(columns[1:], cells[1:], strict=True))
                text.write(chem.sdf_block(cells[0], f"molvae-{count}", values))
            else:
                writer.writerow(map(harmless, cells))
    return count


def harmless(text: str) -> str:
    """A cell that no spreadsheet evaluates: text that would be a formula begins with ``'``.

    Numbers, and a single character such as a dash, remain as they are.
    """
    if len(text) < 2 or not text.startswith(FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


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
    """The picture format of a file name; an unknown suffix is an error."""
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


def format_cell(value: object) -> str:
    """A value as text: six significant digits for numbers, empty for missing."""
    if _missing(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's floats too
        return f"{float(value):.6g}"
    return str(value)
