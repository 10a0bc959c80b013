"""Structural filters: the "Filters" of MOSES, and the catalogs of alerts inside RDKit.

A filter has ``passes(mol)``, whether a molecule passes, and ``refusal(mol)``, why it does not. It
can be pickled for worker processes. :func:`load_filters` reads the pattern files
of MOSES (Polykovskiy et al. 2020), which are the user's; :func:`alerts` needs no file.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from rdkit import Chem, rdBase
from rdkit.Chem import FilterCatalog

from molvae.chem.molecules import Mol, parse, to_smiles
from molvae.chem.pattern_screen import PatternScreen
from molvae.errors import FileError, InputError, suggest

__all__ = ["Alerts", "Filter", "Filters", "alerts", "load_filters"]

ELEMENTS = frozenset({"Br", "C", "Cl", "F", "H", "N", "O", "S"})
LARGEST_RING = 7

_Pattern = tuple[str, str]  # name, SMARTS


class Filter(Protocol):
    """What :class:`Filters` and :class:`Alerts` have in common."""

    def passes(self, mol: Mol) -> bool:
        """Whether the molecule is not refused."""

    def refusal(self, mol: Mol) -> str | None:
        """Why the molecule is refused; None if it passes."""


class Filters:
    """The filters of MOSES, with patterns given as pairs of name and SMARTS.

    Refused, in this order, are molecules with a ring of eight or more atoms; with a charged atom;
    with an element other than C, N, S, O, F, Cl, Br, H; that match a pattern, hydrogens written
    out; and those whose SMILES without stereochemistry RDKit cannot read again.
    """

    def __init__(self, patterns: Iterable[_Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._queries = [_compile(smarts) for _, smarts in self.patterns]
        self._screen = PatternScreen(self._queries)

    def __reduce__(self) -> tuple[Callable[[tuple[_Pattern, ...]], Filters], tuple[Any, ...]]:
        return _made_once, (self.patterns,)

    def passes(self, mol: Mol) -> bool:
        """Whether the molecule meets all conditions."""
        return self.refusal(mol) is None

    def refusal(self, mol: Mol) -> str | None:
        """The first condition the molecule does not meet; None if it meets all."""
        largest = max(map(len, mol.GetRingInfo().AtomRings()), default=0)
        if largest > LARGEST_RING:
            return f"ring of {largest} atoms"
        atoms = [(atom.GetFormalCharge(), atom.GetSymbol()) for atom in mol.GetAtoms()]
        if any(charge for charge, _ in atoms):
            return "charged atom"
        for _, symbol in atoms:
            if symbol not in ELEMENTS:
                return f"element {symbol}"
        full = Chem.AddHs(mol)
        for i in self._screen.possible(mol):
            if full.HasSubstructMatch(self._queries[i]):
                return f"pattern {self.patterns[i][0]}"
        if parse(to_smiles(mol, isomeric=False)) is None:
            return "SMILES without stereochemistry is not valid"
        return None


@functools.lru_cache(maxsize=4)
def _made_once(patterns: tuple[_Pattern, ...]) -> Filters:
    """Filters, compiled once per process: a worker unpickles them with every task."""
    return Filters(patterns)


def _compile(smarts: str) -> Mol:
    with rdBase.BlockLogs():
        query = Chem.MolFromSmarts(smarts)
    if query is None or query.GetNumAtoms() == 0:
        raise InputError(f"'{smarts}' is not a SMARTS pattern")
    return query


# Pattern files -----------------------------------------------------------------------------------


def load_filters(folder: str | Path) -> Filters:
    """The filters of MOSES from its pattern files in a folder.

    ``mcf.csv`` has a header with the columns ``names`` and ``smarts``; ``wehi_pains.csv`` has none,
    and the SMARTS come first. Either name may be prefixed with ``moses_``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError(f"'{folder}' is not a folder; expected one with MOSES' pattern files")
    mcf, pains = _find(folder, "mcf.csv"), _find(folder, "wehi_pains.csv")
    return Filters([*_read(mcf, _rows_with_header), *_read(pains, _rows_without_header)])


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"moses_{name}"):
        if path.is_file():
            return path
    raise FileError(f"'{folder}' has no '{name}' (nor 'moses_{name}'), a pattern file of MOSES")


_Rows = Iterator[tuple[int, _Pattern]]


def _rows_with_header(path: Path, reader: Any) -> _Rows:
    header = [cell.strip().lower() for cell in next(reader, [])]
    if not {"names", "smarts"} <= set(header):
        raise FileError(f"'{path}': the first line lacks 'names' or 'smarts'; got {header}")
    name, smarts = header.index("names"), header.index("smarts")
    for row in reader:
        if any(row):
            cells = [*row, *[""] * len(header)]
            yield reader.line_num, (cells[name], cells[smarts])


def _rows_without_header(path: Path, reader: Any) -> _Rows:
    for row in reader:
        if any(row):
            yield reader.line_num, ([*row, ""][1], row[0])


def _read(path: Path, rows: Callable[[Path, Any], _Rows]) -> list[_Pattern]:
    patterns: list[_Pattern] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            for line, (name, smarts) in rows(path, csv.reader(handle)):
                try:
                    _compile(smarts.strip())
                except InputError as error:
                    raise FileError(f"'{path}', line {line}: {error}") from None
                tidy = name.strip().removeprefix("<regId=").removesuffix(">")
                patterns.append((tidy or f"{path.name}:{line}", smarts.strip()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"'{path}': cannot be read as CSV: {error}") from None
    if not patterns:
        raise FileError(f"'{path}' has no pattern, expected at least one")
    return patterns


# Catalogs inside RDKit -------------------------------------------------------------------------

CATALOGS = {
    "brenk": "BRENK",
    "chembl": "CHEMBL",
    "nih": "NIH",
    "pains": "PAINS",
    "zinc": "ZINC",
}


class Alerts:
    """A catalog of structural alerts that comes with RDKit; a molecule with any is refused."""

    def __init__(self, name: str) -> None:
        if name not in CATALOGS:
            raise InputError(f"unknown alerts '{name}': {suggest(name, CATALOGS)}")
        self.name = name
        kind = getattr(FilterCatalog.FilterCatalogParams.FilterCatalogs, CATALOGS[name])
        self._catalog = FilterCatalog.FilterCatalog(kind)

    def __reduce__(self) -> tuple[Callable[[str], Alerts], tuple[str]]:
        return alerts, (self.name,)

    def __len__(self) -> int:
        return int(self._catalog.GetNumEntries())

    def passes(self, mol: Mol) -> bool:
        """Whether the molecule has none of the alerts."""
        return not self._catalog.HasMatch(mol)

    def refusal(self, mol: Mol) -> str | None:
        """The first alert the molecule has; None if it has none."""
        entry = self._catalog.GetFirstMatch(mol)
        return None if entry is None else f"{self.name} {entry.GetDescription()}"


@functools.cache
def alerts(name: str) -> Alerts:
    """RDKit's alerts named ``brenk``, ``chembl``, ``nih``, ``pains`` or ``zinc``; made once."""
    return Alerts(name)
