"""Sources of molecules, read as often as needed and never held in memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.chem.properties import PROPERTIES
from molvae.data.formats import file_format
from molvae.data.readers import read_rows, smiles_of
from molvae.errors import FileError, InputError, TargetError, suggest
from molvae.runtime.files import fingerprint
from molvae.runtime.given import texts as given_texts
from molvae.targets import YES_NO

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Paths", "Source", "bounded", "from_files", "from_list"]

Paths = str | Path | Sequence[str | Path]
HUGE = 1e150  # larger numbers overflow when squared and count as missing
LONGEST = 2_000  # characters; RDKit needs minutes for longer texts, or crashes


@dataclass(frozen=True)
class Source:
    """SMILES texts, of files or of a list, with cells of some columns; ``name`` is for messages."""

    name: str
    files: tuple[Path, ...] = ()
    texts: tuple[str, ...] = ()
    smiles_column: str | None = None

    def __iter__(self) -> Iterator[str]:
        return (bounded(text) for text, _ in self.rows())

    def rows(self, columns: Sequence[str] = ()) -> Iterator[tuple[str, list[float]]]:
        """Each text with its numbers in some columns, NaN where there is none.

        A broken record is an empty text, which is no valid molecule.
        """
        for text in self.texts:
            yield text, []
        for path in self.files:
            with read_rows(path, smiles_column=self.smiles_column, columns=columns) as rows:
                for row in rows:
                    yield smiles_of(row) or "", [_number(row.labels.get(c, "")) for c in columns]

    @cached_property
    def key(self) -> str:
        """A hash of the content, files by their bytes."""
        digest = hashlib.sha256()
        for entry in self.record:
            kind = file_format(Path(entry["file"]), reading=True)
            digest.update(f"{kind} {entry['sha256']}\n".encode())
        digest.update(f"{self.smiles_column}\n".encode())
        for text in self.texts:
            digest.update(text.encode(errors="surrogatepass") + b"\n")
        return digest.hexdigest()

    @cached_property
    def record(self) -> list[dict[str, str]]:
        """Name and SHA-256 of each file."""
        return [{"file": str(path), "sha256": fingerprint(path)["sha256"]} for path in self.files]

    def check_columns(self, names: Sequence[str], requests: Sequence[str] = ()) -> None:
        """Check that every file has the columns of these targets and those that hold requests.

        The error for a target suggests properties too, as it may be a misspelled one.
        """
        for path in self.files:
            read_rows(path, smiles_column=self.smiles_column, columns=requests).close()
            for name in names:
                try:
                    read_rows(path, smiles_column=self.smiles_column, columns=[name]).close()
                except FileError as error:
                    raise TargetError(
                        f"target '{name}' is neither a built-in property nor a column of the file: "
                        f"{suggest(name, PROPERTIES)} {error}"
                    ) from None
        if not self.files and requests:
            raise TargetError(f"'@{requests[0]}': a list has no columns")
        if not self.files and names:
            raise TargetError(
                f"target '{names[0]}' is not a built-in property, and a list has no columns: "
                f"{suggest(names[0], PROPERTIES)}"
            )

    def check(self, what: str) -> None:
        """Check that there is at least one row; ``what`` names the set in the error."""
        if next(iter(self), None) is None:
            raise FileError(f"{self.name}: {what} has no molecule, expected at least one row")


def bounded(text: str) -> str:
    """The text, or an empty one (no molecule) if it has more than 2,000 characters."""
    return text if len(text) <= LONGEST else ""


def from_files(paths: Paths, *, smiles_column: str | None = None, perhaps: bool = False) -> Source:
    """A source of one or several files; a dataset folder means its cleaned molecules.

    ``perhaps``: the column is used only if all files have it.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise FileError("no file was given; name at least one file of molecules")
    prepared = [Path(path) / "molecules.csv.gz" for path in given]
    files = [p if p.is_file() else Path(path) for p, path in zip(prepared, given, strict=True)]
    quoted = ", ".join(f"'{path}'" for path in files)
    if perhaps and smiles_column is not None and not _all_have(files, smiles_column):
        smiles_column = None
    return Source(quoted, files=tuple(files), smiles_column=smiles_column)


def _all_have(files: Sequence[Path], column: str) -> bool:
    try:
        for path in files:
            read_rows(path, smiles_column=column).close()
    except FileError:
        return False
    return True


def from_list(texts: Sequence[str] | pd.DataFrame, name: str = "the list") -> Source:
    """A source from a list of SMILES, or from the column ``smiles`` of a table."""
    if isinstance(texts, str):
        raise InputError(f"got one text, '{texts[:40]}', expected a list of SMILES")
    return Source(name, texts=tuple(given_texts(texts, f"{name}: item", kind="SMILES text")))


def _number(cell: str) -> float:
    """A cell as a number, yes/no as 1/0; anything else is missing, and counted as such later."""
    word = cell.strip().lower()
    try:
        value = YES_NO[word] if word in YES_NO else float(word)
    except ValueError:
        return math.nan
    return value if abs(value) < HUGE else math.nan  # false for NaN, too
