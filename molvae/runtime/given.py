"""What a Python caller gives: one text or file, several, or a table of pandas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from molvae.errors import InputError

__all__ = ["paths", "texts"]


def texts(given: Any, name: str, *, kind: str = "text") -> list[str]:
    """The texts of a list, a column of pandas or one text; of a table, those of ``smiles``.

    ``name`` is what one of them is called in an error, and ``kind`` what it should be.

    Raises:
        InputError: ``given`` has no texts, or something among them is no text.
    """
    if isinstance(given, str):
        return [given]
    if hasattr(given, "columns"):
        if "smiles" not in given:
            raise InputError(
                f"{name}: the table has no column 'smiles', only "
                f"{', '.join(map(str, given.columns))}; rename the column with the SMILES"
            )
        given = given["smiles"]
    items = _items(given, name, f"a {kind} or a list of them")
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise InputError(f"{name} {i} is {item!r:.40}, expected a {kind}")
    return items


def paths(given: Any, name: str) -> list[str | Path]:
    """The names of one file or several.

    Raises:
        InputError: ``given`` is a table or something else that is no name.
    """
    if isinstance(given, str | Path):
        return [given]
    if hasattr(given, "columns"):
        raise InputError(
            f"{name}: got a table, expected a file or a list of files; write it with "
            "table.to_csv(FILE, index=False) and give the name"
        )
    items = _items(given, name, "a file or a list of files")
    for item in items:
        if not isinstance(item, str | os.PathLike):
            raise InputError(f"{name}: got {item!r:.40}, expected the name of a file")
    return items


def _items(given: Any, name: str, expected: str) -> list[Any]:
    try:
        return list(given)
    except TypeError:
        raise InputError(f"{name}: got {given!r:.40}, expected {expected}") from None
