"""How a text file of molecules is laid out, from its first lines: separator, header, SMILES column.

The name of a file promises little: exports have tabs in a .csv or commas in a .smi. What is in the
first lines decides, without RDKit: a text counts as SMILES by its characters.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

from molvae.errors import FileError

__all__ = ["HEAD_LINES", "Layout", "id_cell", "layout_of", "smiles_cell", "smiles_hint"]

HEAD_LINES = 50  # by which a layout is recognized
DELIMITERS = (",", ";", "\t", "|")
# Usual names, compared by their letters and digits in lower case.
SMILES_NAMES = (
    "smiles", "canonicalsmiles", "isomericsmiles", "smi", "structure", "ligandsmiles",
    "cxsmiles", "absolutesmiles", "connectivitysmiles", "smilesstring", "cansmiles", "isosmiles",
    "compoundsmiles", "moleculesmiles", "drugsmiles", "parentsmiles", "rdkitsmiles",
    "openeyesmiles", "openeyecansmiles", "openeyeisosmiles", "molsmiles", "stdsmiles",
    "pubchemextdatasourcesmiles",
)  # fmt: skip
ID_NAMES = frozenset({
    "id", "name", "compoundid", "moleculeid", "title", "compoundname", "moleculename",
    "moleculechemblid", "chemblid", "cid", "pubchemcid", "compoundcid", "bindingdbmonomerid",
})  # fmt: skip
# Of these the first in the file is taken, before all others.
_OLDEST = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "structure")
_SMILES = re.compile(r"(?:Cl|Br|[BCNOPSFIbcnops*]|\[[^\[\]\s]+\]|[-=#$:/\\.()]|%\d\d|\d)+")
_RING = re.compile(r"%\d\d|\d")


class Layout(NamedTuple):
    """``smi``: SMILES, then a name after white space; else a table with this ``delimiter``.

    ``skip`` lines stand above the header, or above the first record if there is no ``header``: the
    SMILES of such a table are in column ``smiles_at``.
    """

    smi: bool
    delimiter: str = ","
    skip: int = 0
    header: bool = True
    smiles_at: int = 0


def layout_of(
    lines: Sequence[str], kind: str, smiles_column: str | None = None, columns: Sequence[str] = ()
) -> Layout:
    """The layout of a file of format ``kind`` (smi, csv or tsv) with these first lines."""
    order = ("\t", *DELIMITERS) if kind == "tsv" else DELIMITERS
    skip = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    if kind != "smi":
        skip = _after_comments(lines, skip, order, smiles_column)
    stated = re.fullmatch(r'"?sep=(.)"?', lines[skip].strip("\r\n")) if skip < len(lines) else None
    if stated is not None:
        return Layout(False, stated[1], skip + 1)
    if kind == "smi":
        return _of_smi(lines, smiles_column, columns)
    head = lines[skip:]  # a quoted name may have line ends
    by_width = sorted(order, key=lambda d: -len(_cells(head, d)))
    for loose, choice in ((False, order), (True, by_width)):
        for delimiter in choice:
            cells = _cells(head, delimiter)
            if _names_smiles(cells, smiles_column, loose=loose and len(cells) > 1):
                return Layout(False, delimiter, skip)
    if smiles_column is None:
        for delimiter in order:
            at = _smiles_place(lines[skip:], delimiter)
            if at is not None:
                return Layout(False, delimiter, skip, header=False, smiles_at=at)
    return Layout(False, max(order, key=lambda d: len(_cells(head, d))), skip)


def _after_comments(
    lines: Sequence[str], skip: int, order: Sequence[str], smiles_column: str | None
) -> int:
    """The first line from ``skip`` on that is no comment; ``#smiles,id`` is a header."""
    for place in range(skip, len(lines)):
        line = lines[place]
        if line.strip() and not (
            line.lstrip().startswith("#")
            and not any(_names_smiles(_cells([line], d), smiles_column) for d in order)
        ):
            return place
    return skip


def _of_smi(lines: Sequence[str], smiles_column: str | None, columns: Sequence[str]) -> Layout:
    """A plain list, unless a header names columns to use, or other separators part the SMILES."""
    skip = next(
        (i for i, text in enumerate(lines) if text.strip() and not text.lstrip().startswith("#")),
        len(lines),
    )
    plain = [line.split(None, 1)[0] for line in lines[skip:] if line.strip()]
    listed = 2 * sum(map(_looks_like_smiles, plain)) >= len(plain) > 0
    for delimiter in ("\t", ",", ";", "|"):
        cells = _cells(lines[skip : skip + 1], delimiter)
        if len(cells) < 2 or not _names_smiles(cells, smiles_column):
            continue
        if columns or smiles_column or not listed:
            return Layout(False, delimiter, skip)
    for delimiter in () if listed else DELIMITERS:
        at = _smiles_place(lines[skip:], delimiter)
        if at is not None:
            return Layout(False, delimiter, skip, header=False, smiles_at=at)
    return Layout(True, skip=skip)


def _cells(lines: Sequence[str], delimiter: str) -> list[str]:
    """The cells of the first line, without quotes and white space."""
    try:
        return [cell.strip() for cell in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return []


def _names_smiles(cells: Sequence[str], smiles_column: str | None, *, loose: bool = False) -> bool:
    if smiles_column is not None:
        return smiles_column in cells
    return any(_normal(c) in SMILES_NAMES or (loose and "smiles" in _normal(c)) for c in cells)


def _smiles_place(lines: Sequence[str], delimiter: str) -> int | None:
    """The column whose cells look like SMILES, the first and four of five of the others."""
    rows = [_cells([line], delimiter) for line in lines[:HEAD_LINES] if line.strip()]
    rows = [row for row in rows if len(row) == len(rows[0])]
    if not rows or (len(rows[0]) < 2 and delimiter != ","):
        return None
    candidates = [
        (-sum(map(len, column)), place)
        for place, column in enumerate(zip(*rows, strict=True))
        if sum(map(_looks_like_smiles, column)) > 0.8 * len(column)
        and _looks_like_smiles(column[0])
    ]
    return min(candidates)[1] if candidates else None


def _looks_like_smiles(text: str) -> bool:
    """Whether a text is written as SMILES are: their symbols, pairs of brackets and ring digits.

    >>> [_looks_like_smiles(text) for text in ("CCO", "c1ccccc1", "C1", "Name", "1.5")]
    [True, True, False, False, False]
    """
    if not _SMILES.fullmatch(text) or not re.search("[A-Za-z]", text):
        return False
    bare = re.sub(r"\[[^\]]*\]", "C", text)
    rings = _RING.findall(bare)
    odd = any(rings.count(ring) % 2 for ring in set(rings))
    return not odd and bare.count("(") == bare.count(")") and not bare[0].isdigit()


def smiles_hint(header: Sequence[str], lines: Sequence[str], delimiter: str) -> str:
    """The name of the column whose cells look like SMILES below a header; empty if none does."""
    at = _smiles_place(lines, delimiter)
    return header[at] if at is not None and at < len(header) else ""


def _normal(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def smiles_cell(header: Sequence[str]) -> str | None:
    """The name in a header by which the SMILES are found: a usual one, or one with "smiles" in it.

    Of PubChem's two, isomeric SMILES come before those without stereo. None if there is none;
    several other names are an error.
    """
    oldest = [cell for cell in header if cell.lower() in _OLDEST[:-1]]
    usual = [cell for cell in header if _normal(cell) in SMILES_NAMES]
    usual.sort(key=lambda cell: _normal(cell) == "structure")  # often a picture
    isomeric = [cell for cell in usual if "iso" in _normal(cell)]
    if candidates := oldest or isomeric or usual:
        return candidates[0]
    others = [cell for cell in header if len(header) > 1 and "smiles" in _normal(cell)]
    if len(others) > 1:
        raise FileError(
            f"several columns may hold the SMILES: {', '.join(map(repr, others[:5]))}; name one "
            "with --smiles-column"
        )
    return others[0] if others else None


def id_cell(header: Sequence[str]) -> int | None:
    """The place of the first column with a usual name of an identifier."""
    return next((i for i, cell in enumerate(header) if _normal(cell) in ID_NAMES), None)
