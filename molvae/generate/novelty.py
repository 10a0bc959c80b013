"""Molecules to exclude: keys of the canonical SMILES in files."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.hashing import KeySet, keys_of
from molvae.data.formats import file_format
from molvae.data.readers import read_rows, smiles_of
from molvae.errors import no_such_file
from molvae.runtime.cache import ResultCache
from molvae.runtime.files import fingerprint
from molvae.runtime.processes import map_ordered
from molvae.runtime.progress import Progress, say

__all__ = ["known_molecules"]

CHUNK = 2000  # molecules per task of a worker
MOLECULES = "molecules.csv.gz"  # of a dataset folder
KEEP = 200_000  # bytes of a file from which its keys are cached; smaller ones are read in seconds
SCHEMA = 2  # of cached keys; increase it when the same file would give other keys

_FileKeys = tuple[NDArray[np.uint64], int, int]


def known_molecules(
    paths: Sequence[str | Path], *, workers: int = 1, executor: Executor | None = None
) -> KeySet:
    """Keys of all molecules in files or dataset folders, both as written and standardized.

    A salt thus excludes its parent too. A note counts the rows that RDKit cannot read. The keys of
    a large file are cached under the hash of its content.
    """
    known = KeySet()
    for path in map(Path, paths):
        file = path / MOLECULES if path.is_dir() else path
        if not file.is_file():
            raise no_such_file(path, "no such file or dataset folder of molecules to exclude")
        read = functools.partial(_read, file, workers=workers, executor=executor)
        if path.is_dir():  # its SMILES are canonical already
            keys, bad, _ = read(clean=False)
        elif file.stat().st_size < KEEP:
            keys, bad, _ = read(clean=True)
        else:
            keys, bad = _cached(file, read)
        known.add(keys)
        if bad:
            say(f"note: {bad:,} rows of '{path}' have no molecule that RDKit can read")
    return known


def _cached(file: Path, read: functools.partial[_FileKeys]) -> tuple[NDArray[np.uint64], int]:
    """(keys, number of rows without a molecule) of a file, from the cache if they are there."""
    with closing(ResultCache(_key(file))) as cache, cache.lock():
        about, array = cache.find("rows.json"), cache.find("keys.bin")
        if about is not None and array is not None:
            counted = json.loads(about.read_bytes())
            say(f"novel: {counted['rows']:,} molecules of '{file}', kept in the cache")
            return np.frombuffer(array.read_bytes(), dtype="<u8"), int(counted["bad"])
        keys, bad, rows = read(clean=True)
        record = {"rows": rows, "bad": bad, "role": "novel", "source": file.name}
        with cache.writing("rows.json", "keys.bin") as files:
            files["rows.json"].write(json.dumps(record).encode())
            files["keys.bin"].write(keys.astype("<u8").tobytes())
        return keys, bad


def _key(file: Path) -> str:
    versions = (importlib.metadata.version("rdkit"), file_format(file, reading=True))
    parts = ("novel", SCHEMA, *versions, fingerprint(file)["sha256"])
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _read(file: Path, *, clean: bool, workers: int, executor: Executor | None) -> _FileKeys:
    """(keys in ascending order, number of rows without a molecule, number of rows)."""
    all_keys = KeySet()
    bad = count = 0
    with Progress("novel", total=None) as progress:
        work = functools.partial(_keys, clean=clean)
        for keys, failed, rows in map_ordered(
            work, _chunks(file), workers=workers, executor=executor
        ):
            all_keys.add(keys)
            bad, count = bad + failed, count + rows
            progress.advance(rows)
    return all_keys.keys(), bad, count


def _chunks(file: Path) -> Iterator[list[str]]:
    with read_rows(file) as rows:
        texts = (smiles_of(row) or "" for row in rows)
        while chunk := list(islice(texts, CHUNK)):
            yield chunk


def _keys(texts: Sequence[str], *, clean: bool) -> _FileKeys:
    """(keys of the molecules, number of texts that are not molecules, number of texts)."""
    molecules: set[str] = set()
    bad = 0
    for text in texts:
        if not clean:
            molecules.add(text)
            continue
        mol = chem.parse(text)
        if mol is None:
            bad += 1
            continue
        smiles = chem.to_smiles(mol)
        molecules.add(smiles)
        if any(sign in smiles for sign in ".+-"):  # fragments, charges, bonds to metals
            with suppress(ValueError, RuntimeError):
                molecules.add(chem.to_smiles(chem.standardize(mol)))
    return keys_of(sorted(molecules)), bad, len(texts)
