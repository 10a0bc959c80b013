"""Molecules to judge and the sets to judge them by, as texts, before anything is parsed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.conditions import YES_NO
from molvae.errors import FileError, TargetError, suggest
from molvae.files import fingerprint
from molvae.properties import PROPERTIES
from molvae.readers import read_rows, read_smiles, smiles_of

__all__ = ["Inputs", "Paths", "read_inputs"]

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Inputs:
    """What is compared: SMILES texts as they were given, before anything is parsed."""

    generated: Sequence[str]
    train: Sequence[str] | None = None
    test: Sequence[str] | None = None
    test_scaffolds: Sequence[str] | None = None
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    # user columns of the generated rows, NaN where missing, each as long as ``generated``
    sources: Mapping[str, Any] = field(default_factory=dict)  # where they came from, for the record

    def check(self) -> None:
        """Refuse an empty list and columns of another length."""
        if not len(self.generated):
            raise FileError("no molecule to evaluate, expected at least one")
        for name, values in self.columns.items():
            if len(values) != len(self.generated):
                raise FileError(
                    f"column '{name}' has {len(values):,} values for {len(self.generated):,} "
                    "molecules; expected one each"
                )


def read_inputs(
    paths: Paths,
    *,
    train: Paths | None = None,
    test: Paths | None = None,
    test_scaffolds: Paths | None = None,
    columns: Sequence[str] = (),
    smiles_column: str | None = None,
) -> Inputs:
    """Read generated files, with the given columns of theirs, and the sets to compare with."""
    texts, cells = _read_generated(_listed(paths), smiles_column, columns)
    sources: dict[str, Any] = {"generated": _sources(_listed(paths))}
    others: dict[str, list[str] | None] = {}
    for role, given in (("train", train), ("test", test), ("test_scaffolds", test_scaffolds)):
        others[role] = None if given is None else _read_reference(role, _listed(given))
        if given is not None:
            sources[role] = _sources(_listed(given))
    return Inputs(texts, **others, columns=cells, sources=sources)


def _listed(paths: Paths) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise FileError("no file was given; name at least one file of molecules")
    # A dataset folder stands for the cleaned molecules that a model was trained on.
    prepared = [Path(path) / "molecules.csv.gz" for path in given]
    return [p if p.is_file() else Path(path) for p, path in zip(prepared, given, strict=True)]


def _read_generated(
    paths: Sequence[Path], smiles_column: str | None, wanted: Sequence[str]
) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    texts: list[str] = []
    cells: dict[str, list[float]] = {name: [] for name in wanted}
    for path in paths:
        _check_columns(path, smiles_column, wanted)
        for row in read_rows(path, smiles_column=smiles_column, columns=wanted):
            # A broken record counts as an invalid molecule.
            texts.append(smiles_of(row) or "")
            for name in wanted:
                cells[name].append(_number(row.labels.get(name, "")))
    if not texts:
        raise FileError(f"{_quoted(paths)}: no molecule to evaluate, expected at least one row")
    return texts, {name: np.asarray(values) for name, values in cells.items()}


def _check_columns(path: Path, smiles_column: str | None, wanted: Sequence[str]) -> None:
    """Open the file, so that a misspelt property gets an answer that names the properties too."""
    read_rows(path, smiles_column=smiles_column).close()
    for name in wanted:
        try:
            read_rows(path, smiles_column=smiles_column, columns=[name]).close()
        except FileError as error:
            raise TargetError(
                f"target '{name}' is neither a built-in property nor a column of the file: "
                f"{suggest(name, PROPERTIES)} {error}"
            ) from None


def _read_reference(role: str, paths: Sequence[Path]) -> list[str]:
    texts = read_smiles(paths)
    if not texts:
        raise FileError(f"{_quoted(paths)}: the {role} set has no molecule, expected at least one")
    return texts


def _quoted(paths: Sequence[Path]) -> str:
    return ", ".join(f"'{path}'" for path in paths)


def _number(cell: str) -> float:
    """A cell as a number, yes/no as 1/0; anything else is missing, and counted as such later."""
    word = cell.strip().lower()
    try:
        value = YES_NO[word] if word in YES_NO else float(word)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _sources(paths: Sequence[Path]) -> list[dict[str, str]]:
    return [{"file": str(path), "sha256": fingerprint(path)["sha256"]} for path in paths]
