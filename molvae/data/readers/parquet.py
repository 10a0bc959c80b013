"""Parquet files, a few thousand rows at a time; needs the extra of that name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molvae.data.readers.layout import id_cell
from molvae.data.readers.rows import NO_LABELS, Row, Rows
from molvae.data.readers.tables import column_index, smiles_index
from molvae.errors import FileError

__all__ = ["cell_text", "read_parquet"]


def read_parquet(path: Path, name: str, smiles_column: str | None, columns: Sequence[str]) -> Rows:
    """Records of a parquet file, cells as a CSV file would hold them."""
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
        smiles = header[smiles_index(name, header, smiles_column)]
        id_at = id_cell(header)
        title = None if id_at is None else header[id_at]
        for column in columns:
            column_index(name, header, column)
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
                    labels = {c: cells[c][i] for c in columns} if columns else NO_LABELS
                    yield Row(name, done[0] + 1, cells[smiles][i], names[i], labels)
                    done[0] += 1
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise FileError(f"'{name}': damaged parquet file ({error})") from None

    size, total = path.stat().st_size, max(file.metadata.num_rows, 1)
    return Rows(path, rows(), lambda: size * done[0] // total, file.close, header)


def _texts(column: Any) -> list[str]:
    """Cells as a CSV file would hold them."""
    return [cell_text(value) for value in column.to_pylist()]


def cell_text(value: object) -> str:
    """A typed cell as a CSV file would hold it."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.strip() if isinstance(value, str) else str(value)
