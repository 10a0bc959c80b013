"""Reference sets; everything computed from them is stored in the cache folder.

```
references/KEY/          named by the hash of the files' content and of the versions it depends on
  rows.json              how many rows, how many valid
  smiles.txt fingerprints.bin values.bin     one entry per valid molecule
  keys.bin               of the distinct molecules, ascending
  fragments.json scaffolds.json                       counts
  *.npz                  of ChemNet; of GuacaMol's reference molecules; properties of a sample
  *.crc                  size and checksum of each of them
```
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import io
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.hashing import keys_of
from molvae.chem.properties import PROPERTIES, property_versions
from molvae.evaluate.metrics import FINGERPRINT_BYTES, MoleculeSet, Wanted, frechet, guacamol
from molvae.evaluate.metrics.frechet import Moments
from molvae.evaluate.metrics.guacamol import Described
from molvae.evaluate.realism import SAMPLE as FACT_SAMPLE
from molvae.evaluate.realism import fact_arrays, fact_table, from_arrays, table_arrays
from molvae.evaluate.sample import description
from molvae.evaluate.sources import Source
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import TOGETHER, Plausibility
from molvae.runtime.cache import ResultCache
from molvae.runtime.pool import WorkerPool
from molvae.runtime.randomness import Draws

__all__ = ["KINDS", "Reference", "flat_keys_of"]

SCHEMA = 3  # of the cache; to be increased when the same file would give other contents
SAMPLE = (
    30_000  # molecules of a training set whose properties are computed, if there is no test set
)
PATIENCE = 3  # times that the cache may be cleared before its files are read
KINDS = "plausibility.npz"  # ring systems and environments
SAMPLE_SEED = 42  # fixed, so that the sample of a set can be cached

_Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


class Reference:
    """One reference set; its parts are computed on first use."""

    def __init__(
        self, role: str, source: Source, workers: WorkerPool, *, device: str = "cpu"
    ) -> None:
        """``role``: train, test or test_scaffolds, as errors and progress name the set."""
        self.role, self.source = role, source
        self._workers, self._device = workers, device
        # Lists are not cached: they may never be used again.
        self._cache = ResultCache(self._key() if source.files else None)

    def close(self) -> None:
        """Remove temporary files."""
        self._cache.close()

    def _key(self) -> str:
        plugins = property_versions(PROPERTIES).values()
        rdkit = importlib.metadata.version("rdkit")
        parts = (SCHEMA, rdkit, *PROPERTIES, *plugins, self.source.key)
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]

    # Parts

    @property
    def rows(self) -> int:
        """Number of texts, valid or not."""
        return self._counted["rows"]

    def __len__(self) -> int:
        """Number of valid molecules."""
        return self._counted["valid"]

    @functools.cached_property
    def _counted(self) -> dict[str, int]:
        counts = self._json("rows.json")
        return {"rows": int(counts["rows"]), "valid": int(counts["valid"])}

    @functools.cached_property
    def smiles(self) -> list[str]:
        """Canonical SMILES of the valid molecules, in order."""
        return self._bytes("smiles.txt").decode().split("\n")[:-1]

    @functools.cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The keys of the distinct molecules, in ascending order."""
        return np.frombuffer(self._bytes("keys.bin"), dtype=np.uint64)

    @functools.cached_property
    def fingerprints(self) -> NDArray[np.uint8]:
        """Packed, shape (N, 128), mapped from the file."""
        if not len(self):
            return np.empty((0, FINGERPRINT_BYTES), dtype=np.uint8)
        return self._read(
            "fingerprints.bin",
            lambda path: np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, FINGERPRINT_BYTES),
        )

    @functools.cached_property
    def fragments(self) -> Counter[str]:
        """Counts of BRICS fragments."""
        return Counter(self._json("fragments.json"))

    @functools.cached_property
    def scaffolds(self) -> Counter[str]:
        """Counts of ring scaffolds."""
        return Counter(self._json("scaffolds.json"))

    @functools.cached_property
    def values(self) -> NDArray[np.float64]:
        """Properties (N, P) of all molecules; NaN where there is none."""
        return np.frombuffer(self._bytes("values.bin")).reshape(-1, len(PROPERTIES))

    @functools.cached_property
    def sample_values(self) -> NDArray[np.float64]:
        """Properties of up to 30,000 rows, for sets that are too large to compute all."""
        if self.rows <= SAMPLE:
            return self.values

        def compute() -> _Arrays:
            order = Draws(SAMPLE_SEED).permutation("reference", self.rows)
            wanted = Wanted(False, False, False, properties=tuple(PROPERTIES))
            parts = self._workers.map_texts(
                f"{self.role} properties",
                description(wanted),
                self._rows_at(order[:SAMPLE]),
                SAMPLE,
            )
            return {"values": np.concatenate([part.values for _, part in parts])}

        return self._arrays("sample.npz", compute)["values"]

    @functools.cached_property
    def plausibility(self) -> Plausibility:
        """Ring systems and atom environments of all molecules."""
        return from_arrays(self._read(KINDS, _load_arrays))

    @functools.cached_property
    def facts(self) -> FactTable:
        """The realism critic's facts of up to 10,000 rows, drawn at random."""

        def compute() -> _Arrays:
            chosen = Draws(SAMPLE_SEED).permutation("facts", self.rows)[:FACT_SAMPLE]
            texts, role = self._rows_at(chosen), f"{self.role} facts"
            parts = self._workers.map_texts(role, fact_table, texts, len(chosen))
            return fact_arrays(FactTable.joined(part for _, part in parts))

        return FactTable(**self._arrays("facts.npz", compute))

    @functools.cached_property
    def moments(self) -> Moments:
        """Of the ChemNet activations of all molecules."""
        return self._moments("moments", lambda: self.smiles)

    @functools.cached_property
    def flat_keys(self) -> NDArray[np.uint64]:
        """Keys of the SMILES without stereochemistry, ascending, for GuacaMol's novelty."""

        def compute() -> _Arrays:
            role = f"{self.role} without stereo"
            parts = self._workers.map_texts(role, flat_keys_of, self.source, self.rows)
            return {"keys": np.unique(np.concatenate([part for _, part in parts]))}

        return self._arrays("flat-keys.npz", compute)["keys"]

    @functools.cached_property
    def guacamol(self) -> Described:
        """Descriptors of GuacaMol's reference molecules."""

        def compute() -> _Arrays:
            described = guacamol.describe(guacamol.flat_smiles(self._guacamol_texts()))
            return {"values": described.values, "similarity": described.similarity}

        parts = self._arrays("guacamol.npz", compute)
        return Described(parts["values"], parts["similarity"])

    @functools.cached_property
    def guacamol_moments(self) -> Moments:
        """ChemNet moments of GuacaMol's reference molecules, repeats and stereochemistry kept."""
        return self._moments("guacamol-moments", lambda: _canonical(self._guacamol_texts()))

    def _guacamol_texts(self) -> list[str]:
        return list(self._rows_at(guacamol.reference_positions(self.rows)))

    def _rows_at(self, positions: NDArray[np.int64]) -> Iterator[str]:
        chosen = np.zeros(self.rows, dtype=bool)
        chosen[positions] = True
        return (text for text, keep in zip(self.source, chosen, strict=True) if keep)

    # Computing and keeping

    def require(self, *names: str) -> None:
        """Compute the missing ones of these files, in one pass over the molecules."""
        if self._missing(names):
            with self._cache.lock():
                if missing := self._missing(names):
                    self._compute(missing)

    def is_short(self) -> bool:
        """Whether the set has so few rows that no sample is needed; does not need RDKit."""
        if self._cache.find("rows.json"):
            return self.rows <= SAMPLE
        return sum(1 for _ in itertools.islice(iter(self.source), SAMPLE + 1)) <= SAMPLE

    def _missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in ("rows.json", *names) if self._cache.find(name) is None]

    def _compute(self, missing: Sequence[str]) -> None:
        wanted = Wanted(
            "fingerprints.bin" in missing,
            "scaffolds.json" in missing,
            "fragments.json" in missing,
            properties=tuple(PROPERTIES) if "values.bin" in missing else (),
            kinds=KINDS in missing,
        )
        fragments: Counter[str] = Counter()
        scaffolds: Counter[str] = Counter()
        keys = [np.empty(0, np.uint64)]
        tables: list[Plausibility] = []
        rows = valid = 0
        with self._cache.writing(*dict.fromkeys(("rows.json", *missing))) as files:
            for _, part in self._workers.map_texts(self.role, description(wanted), self.source):
                rows, valid = rows + part.total, valid + len(part)
                fragments.update(part.fragments.counts)
                scaffolds.update(part.scaffolds.counts)
                if "keys.bin" in files:
                    keys.append(keys_of(part.smiles))
                if KINDS in files:
                    tables.append(part.kinds)
                    if len(tables) == TOGETHER:
                        tables = [Plausibility.joined(tables)]
                for name, file in files.items():
                    file.write(_entries(name, part))
            if "keys.bin" in files:
                files["keys.bin"].write(np.unique(np.concatenate(keys)).tobytes())
            if KINDS in files:
                files[KINDS].write(_npz(table_arrays(Plausibility.joined(tables))))
            about = {"rows": rows, "valid": valid, "role": self.role, "source": self.source.name}
            whole = {
                "rows.json": about,
                "fragments.json": fragments,
                "scaffolds.json": scaffolds,
            }
            for name, content in whole.items():
                if name in files:
                    files[name].write(json.dumps(content).encode())

    def _read(self, name: str, read: Callable[[Path], T]) -> T:
        """What a file holds; it is computed again if the cache is cleared before it is read."""
        cleared = 0
        while True:
            self.require(name)
            content = self._cache.read(name, read)
            if content is not None:
                return content
            cleared += 1
            if cleared == PATIENCE:
                self._cache.detach()

    def _bytes(self, name: str) -> bytes:
        return self._read(name, Path.read_bytes)

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._bytes(name))
        return content

    def _arrays(self, name: str, compute: Callable[[], _Arrays]) -> _Arrays:
        stored = self._stored(name)
        if stored is None:
            self.require()  # the number of rows; the lock cannot be taken twice
            with self._cache.lock():
                stored = self._stored(name)
                if stored is None:
                    stored = compute()
                    with self._cache.writing(name) as files:
                        files[name].write(_npz(stored))
        return stored

    def _stored(self, name: str) -> _Arrays | None:
        return self._cache.read(name, _load_arrays)

    def _moments(self, name: str, smiles: Callable[[], Sequence[str]]) -> Moments:
        file = f"fcd-{importlib.metadata.version('fcd')}-{name}.npz"
        # Before the lock is taken, as reading the SMILES may need it too.
        texts = [] if self._cache.find(file) else smiles()

        def compute() -> _Arrays:
            moments = frechet.moments(texts, device=self._device)
            n = np.asarray(moments.n)
            return {"n": n, "mean": moments.mean, "covariance": moments.covariance}

        parts = self._arrays(file, compute)
        return Moments(int(parts["n"]), parts["mean"], parts["covariance"])


def _entries(name: str, part: MoleculeSet) -> bytes:
    """Bytes that a chunk of molecules adds to a file; none for files written at the end."""
    if name == "smiles.txt":
        return "".join(f"{text}\n" for text in part.smiles).encode()
    arrays: dict[str, Callable[[], NDArray[Any]]] = {
        "fingerprints.bin": lambda: part.fingerprints,
        "values.bin": lambda: part.values,
    }
    return arrays[name]().tobytes() if name in arrays else b""


def _npz(arrays: _Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _load_arrays(path: Path) -> _Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def flat_keys_of(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Keys of the SMILES without stereochemistry, ascending, each once."""
    return np.unique(keys_of(guacamol.flat_smiles(texts)))


def _canonical(texts: Sequence[str]) -> list[str]:
    return [text for text in map(chem.canonical_smiles, texts) if text is not None]
