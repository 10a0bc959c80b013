"""Molecules that must not be generated again: files → keys of their canonical SMILES."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.errors import FileError
from molvae.keys import KeySet, keys_of
from molvae.parallel import map_ordered
from molvae.progress import Progress, say
from molvae.readers import read_rows, smiles_of

__all__ = ["known_molecules"]

CHUNK = 2000  # molecules looked at together
MOLECULES = "molecules.csv.gz"  # of a dataset folder


def known_molecules(
    paths: Sequence[str | Path], *, workers: int = 1, executor: Executor | None = None
) -> KeySet:
    """Keys of all molecules in files or dataset folders, as written and as training sees them.

    A salt in a file thus excludes its parent too. What RDKit cannot read excludes nothing; it is
    counted and said.
    """
    known = KeySet()
    for path in map(Path, paths):
        file = path / MOLECULES if path.is_dir() else path
        if not file.is_file():
            raise FileError(
                f"'{path}': no such file or dataset folder; expected molecules to be avoided"
            )
        bad = 0
        with Progress("novel", total=None) as progress:
            work = functools.partial(_keys, clean=not path.is_dir())
            for keys, failed, rows in map_ordered(
                work, _chunks(file), workers=workers, executor=executor
            ):
                known.add(keys)
                bad += failed
                progress.advance(rows)
        if bad:
            say(f"note: {bad:,} rows of '{path}' hold no molecule RDKit can read")
    return known


def _chunks(file: Path) -> Iterator[list[str]]:
    with read_rows(file) as rows:
        texts = (smiles_of(row) or "" for row in rows)
        while chunk := list(islice(texts, CHUNK)):
            yield chunk


def _keys(texts: Sequence[str], *, clean: bool) -> tuple[NDArray[np.uint64], int, int]:
    """(keys of the molecules, number of texts that are none, number of texts)."""
    found: set[str] = set()
    bad = 0
    for text in texts:
        if not clean:
            found.add(text)
            continue
        mol = chem.parse(text)
        if mol is None:
            bad += 1
            continue
        smiles = chem.to_smiles(mol)
        found.add(smiles)
        if any(sign in smiles for sign in ".+-"):  # fragments, charges, bonds to metals
            with suppress(ValueError, RuntimeError):
                found.add(chem.to_smiles(chem.standardize(mol)))
    return keys_of(sorted(found)), bad, len(texts)
