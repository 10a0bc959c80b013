"""Excel workbooks, the first sheet row by row; needs the extra ``excel``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from molvae.data.readers.layout import id_cell
from molvae.data.readers.parquet import cell_text
from molvae.data.readers.rows import NO_LABELS, Row, Rows
from molvae.data.readers.tables import column_index, smiles_index
from molvae.errors import FileError

__all__ = ["read_excel"]


LARGEST = 256 << 20  # bytes of a part that is read at once; a sheet is read row by row


def _require_moderate(path: Path, name: str) -> None:
    """Refuse a small workbook that unpacks to more than memory holds."""
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as parts:
        for part in parts.infolist():
            if part.file_size > LARGEST and not part.filename.startswith("xl/worksheets/"):
                raise FileError(
                    f"'{name}': its {part.filename[:80]} unpacks to {part.file_size / 1e6:,.0f} "
                    f"MB, expected at most {LARGEST / 1e6:,.0f}; save the sheet as .csv"
                )


def read_excel(path: Path, name: str, smiles_column: str | None, columns: Sequence[str]) -> Rows:
    """Records of the first sheet of a workbook, cells as a CSV file would hold them."""
    _require_moderate(path, name)
    try:
        import openpyxl
    except ImportError:
        raise FileError(
            f"'{name}': .xlsx files need the extra: pip install 'molvae[excel]'; or save the sheet "
            "as .csv"
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except PermissionError:
        raise FileError(f"'{name}': permission denied") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise FileError(f"'{name}': damaged .xlsx file ({error})") from None
    try:
        sheet = book.worksheets[0]
        cells = ([cell_text(value) for value in row] for row in sheet.iter_rows(values_only=True))
        header = next((row for row in cells if any(row)), [])
        smiles_at = smiles_index(name, header, smiles_column)
        label_at = [(column, column_index(name, header, column)) for column in columns]
        name_at = id_cell(header)
    except BaseException:
        book.close()
        raise
    done = [0]

    def rows() -> Iterator[Row]:
        for row in cells:
            done[0] += 1
            if not any(row):  # formatted, but empty
                continue
            row += [""] * (len(header) - len(row))
            labels = {column: row[i] for column, i in label_at} if label_at else NO_LABELS
            title = "" if name_at is None else row[name_at]
            yield Row(name, done[0], row[smiles_at], title, labels)

    size, total = path.stat().st_size, max(sheet.max_row or 1, 1)
    return Rows(path, rows(), lambda: min(size, size * done[0] // total), book.close, header)
