"""One record of a molecule file, and the stream of all of them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from molvae.errors import FileError

__all__ = ["DAMAGE", "NO_LABELS", "Row", "Rows"]

NO_LABELS: Mapping[str, str] = MappingProxyType({})
DAMAGE = (gzip.BadGzipFile, EOFError, zlib.error)  # what reading a broken gzip file raises


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
    labels: Mapping[str, str] = NO_LABELS
    block: str = ""
    fault: str = ""

    @property
    def text(self) -> str:
        """The SMILES, or the name of an SDF record, to show to the user."""
        return self.smiles or self.name if self.block else self.smiles

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only view cannot be pickled, and an empty one need not be.
        return (_row, (*self[:4], dict(self.labels) if self.labels else None, *self[5:]))


def _row(
    file: str,
    number: int,
    smiles: str,
    name: str,
    labels: dict[str, str] | None,
    block: str,
    fault: str,
) -> Row:
    return Row(file, number, smiles, name, labels or NO_LABELS, block, fault)


class Rows(Iterator[Row]):
    """The records of one open file, one after the other; closes it at the end.

    ``header``: the columns of a table.
    """

    def __init__(
        self,
        path: Path,
        rows: Iterator[Row],
        position: Callable[[], int],
        close: Callable[[], None],
        header: Sequence[str] = (),
    ) -> None:
        self.header = tuple(header)
        self.size = path.stat().st_size  # bytes as stored
        self._path, self._rows, self._position, self._close = path, rows, position, close
        self._closed = False

    def __next__(self) -> Row:
        try:
            return next(self._rows)
        except StopIteration:
            self.close()
            raise
        except DAMAGE as error:
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
