"""Sets that molecules are compared with; what is computed of them is kept in the cache folder.

```
references/KEY/          named by the hash of the files' content and of the versions it depends on
  rows.json              how many rows, how many valid
  smiles.txt keys.bin fingerprints.bin values.bin     one entry per valid molecule
  fragments.json scaffolds.json                       counts
  moments.npz guacamol.npz guacamol-moments.npz       of ChemNet; of GuacaMol's reference molecules
```

Every file is written whole or not at all; what is missing or damaged is computed again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from molvae.cache import REFERENCES, cache_folder
from molvae.errors import FileError
from molvae.evaluate.sources import Source
from molvae.evaluate.work import Workers, description, key_of
from molvae.files import atomic_binary, write_json
from molvae.metrics import FINGERPRINT_BYTES, Wanted, frechet, guacamol
from molvae.metrics.frechet import Moments
from molvae.metrics.guacamol import Described
from molvae.progress import say
from molvae.properties import PROPERTIES
from molvae.runtime import Draws

__all__ = ["Reference"]

SCHEMA = 1
STREAMED = ("smiles.txt", "keys.bin", "fingerprints.bin", "values.bin")
COUNTED = ("fragments.json", "scaffolds.json")
SAMPLE = (
    30_000  # molecules of a training set whose properties are computed, if there is no test set
)
SAMPLE_SEED = 42  # not the user's: the same set gives the same sample, which is cached

T = TypeVar("T")


class Reference:
    """One set, its parts computed when they are first asked for."""

    def __init__(self, role: str, source: Source, workers: Workers, *, device: str = "cpu") -> None:
        """``role`` is train, test or test_scaffolds, and what errors and progress call it."""
        self.role, self.source = role, source
        self._workers, self._device = workers, device
        self._stack = ExitStack()
        self.folder = self._kept_folder() or Path(
            self._stack.enter_context(TemporaryDirectory(prefix="molvae-"))
        )

    def _kept_folder(self) -> Path | None:
        if not self.source.files:
            return None  # a list may never come again
        folder = cache_folder() / REFERENCES / self._key()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            say(f"'{folder}' cannot be written ({error}); the next run will compute all again")
            return None
        return folder if os.access(folder, os.W_OK) else None

    def close(self) -> None:
        """Remove what is not kept."""
        self._stack.close()

    def _key(self) -> str:
        parts = (SCHEMA, importlib.metadata.version("rdkit"), *PROPERTIES, self.source.key)
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]

    # Parts

    @functools.cached_property
    def rows(self) -> int:
        """Number of texts, valid or not."""
        return int(self._counted()["rows"])

    def __len__(self) -> int:
        """Number of valid molecules."""
        return int(self._counted()["valid"])

    @functools.cached_property
    def smiles(self) -> list[str]:
        """Canonical SMILES of the valid molecules, in order."""
        self.require("smiles.txt")
        return self._path("smiles.txt").read_text(encoding="utf-8").split("\n")[:-1]

    @functools.cached_property
    def keys(self) -> NDArray[np.uint64]:
        """The keys of the distinct molecules, in ascending order."""
        self.require("keys.bin")
        return np.unique(np.fromfile(self._path("keys.bin"), dtype=np.uint64))

    @functools.cached_property
    def fingerprints(self) -> NDArray[np.uint8]:
        """Packed, shape (N, 128), mapped from the file."""
        self.require("fingerprints.bin")
        if not len(self):
            return np.empty((0, FINGERPRINT_BYTES), dtype=np.uint8)
        shape = (len(self), FINGERPRINT_BYTES)
        return np.memmap(self._path("fingerprints.bin"), dtype=np.uint8, mode="r", shape=shape)

    @functools.cached_property
    def fragments(self) -> Counter[str]:
        """Counts of BRICS fragments."""
        return self._counter("fragments.json")

    @functools.cached_property
    def scaffolds(self) -> Counter[str]:
        """Counts of ring scaffolds."""
        return self._counter("scaffolds.json")

    @functools.cached_property
    def values(self) -> NDArray[np.float64]:
        """Properties (N, 13) of all molecules; NaN where RDKit failed."""
        self.require("values.bin")
        return np.fromfile(self._path("values.bin")).reshape(-1, len(PROPERTIES))

    @functools.cached_property
    def sample_values(self) -> NDArray[np.float64]:
        """Properties of up to 30,000 rows, for sets that are too long to compute all."""
        if self.rows <= SAMPLE:
            return self.values

        def compute() -> dict[str, NDArray[Any]]:
            order = Draws(SAMPLE_SEED).permutation("reference", self.rows)
            chosen = np.zeros(self.rows, dtype=bool)
            chosen[order[:SAMPLE]] = True
            texts = (text for text, keep in zip(self.source, chosen, strict=True) if keep)
            wanted = Wanted(False, False, False, properties=tuple(PROPERTIES))
            role = f"{self.role} properties"
            parts = self._workers.map(role, description(wanted), texts, SAMPLE)
            return {"values": np.concatenate([part.values for _, part in parts])}

        return self._kept("sample.npz", compute)["values"]

    @functools.cached_property
    def moments(self) -> Moments:
        """Of the ChemNet activations of all molecules."""
        return self._moments("moments.npz", lambda: self.smiles)

    @functools.cached_property
    def flat_keys(self) -> NDArray[np.uint64]:
        """Keys of the SMILES without stereochemistry, ascending, for GuacaMol's novelty."""

        def compute() -> dict[str, NDArray[Any]]:
            role = f"{self.role} without stereo"
            parts = self._workers.map(role, _flat_keys, self.source, self.rows)
            found = [part for _, part in parts]
            return {"keys": np.unique(np.concatenate(found))}

        return self._kept("flat-keys.npz", compute)["keys"]

    @functools.cached_property
    def guacamol(self) -> Described:
        """What GuacaMol compares: descriptors of its reference molecules."""

        def compute() -> dict[str, NDArray[Any]]:
            found = guacamol.describe(self._guacamol_smiles)
            return {"values": found.values, "similarity": found.similarity}

        parts = self._kept("guacamol.npz", compute)
        return Described(parts["values"], parts["similarity"])

    @functools.cached_property
    def guacamol_moments(self) -> Moments:
        """ChemNet moments of GuacaMol's reference molecules."""
        return self._moments("guacamol-moments.npz", lambda: self._guacamol_smiles)

    @functools.cached_property
    def _guacamol_smiles(self) -> list[str]:
        chosen = np.zeros(self.rows, dtype=bool)
        chosen[guacamol.reference_positions(self.rows)] = True
        pairs = zip(self.source, chosen, strict=True)
        return guacamol.flat_smiles(text for text, keep in pairs if keep)

    # Computing and keeping

    def require(self, *names: str) -> None:
        """Compute what is missing of these files, in one pass over RDKit."""
        missing = [name for name in ("rows.json", *names) if not self._is_whole(name)]
        if not missing:
            return
        wanted = Wanted(
            "fingerprints.bin" in missing,
            "scaffolds.json" in missing,
            "fragments.json" in missing,
            properties=tuple(PROPERTIES) if "values.bin" in missing else (),
        )
        counters: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        rows = valid = 0
        with ExitStack() as stack:
            files: dict[str, Any] = {
                name: stack.enter_context(atomic_binary(self._path(name)))
                for name in STREAMED
                if name in missing
            }
            for _, part in self._workers.map(self.role, description(wanted), self.source):
                rows, valid = rows + part.total, valid + len(part)
                counters["fragments.json"].update(part.fragments.counts)
                counters["scaffolds.json"].update(part.scaffolds.counts)
                for name, file in files.items():
                    file.write(_bytes(name, part))
        for name in COUNTED:
            if name in missing:
                write_json(self._path(name), dict(counters[name]))
        about = {"rows": rows, "valid": valid, "role": self.role, "source": self.source.name}
        write_json(self._path("rows.json"), about)

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _is_whole(self, name: str) -> bool:
        path = self._path(name)
        if not path.is_file():
            return False
        width = {"keys.bin": 8, "fingerprints.bin": FINGERPRINT_BYTES,
                 "values.bin": 8 * len(PROPERTIES)}.get(name)  # fmt: skip
        if width is None:
            return True
        return self._is_whole("rows.json") and path.stat().st_size == width * len(self)

    def _counted(self) -> dict[str, Any]:
        self.require()
        try:
            found = json.loads(self._path("rows.json").read_text(encoding="utf-8"))
            return {"rows": int(found["rows"]), "valid": int(found["valid"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            return self._again("rows.json", error, self._counted)

    def _counter(self, name: str) -> Counter[str]:
        self.require(name)
        try:
            found = json.loads(self._path(name).read_text(encoding="utf-8"))
            return Counter({str(key): int(count) for key, count in found.items()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            return self._again(name, error, lambda: self._counter(name))

    def _again(self, name: str, error: Exception, then: Callable[[], T]) -> T:
        say(f"'{self._path(name)}' is damaged ({error}); computing it again")
        self._path(name).unlink(missing_ok=True)
        return then()

    def _kept(
        self, name: str, compute: Callable[[], dict[str, NDArray[Any]]]
    ) -> dict[str, NDArray[Any]]:
        path = self._path(name)
        if path.is_file():
            try:
                with np.load(path, allow_pickle=False) as found:
                    return {key: found[key] for key in found.files}
            except frechet.DAMAGE as error:
                say(f"'{path}' is damaged ({error}); computing it again")
        arrays = compute()
        with atomic_binary(path) as handle:
            np.savez(handle, **arrays)  # type: ignore[arg-type]
        return arrays

    def _moments(self, name: str, smiles: Callable[[], Sequence[str]]) -> Moments:
        path = self._path(f"{importlib.metadata.version('fcd')}-{name}")
        if path.is_file():
            try:
                return Moments.load(path)
            except FileError as error:
                say(f"{error}; computing it again")
        found = frechet.moments(smiles(), device=self._device)
        found.save(path)
        return found


def _bytes(name: str, part: Any) -> bytes:
    if name == "smiles.txt":
        return "".join(f"{text}\n" for text in part.smiles).encode()
    if name == "keys.bin":
        return np.asarray([key_of(text) for text in part.smiles], dtype=np.uint64).tobytes()
    array = part.fingerprints if name == "fingerprints.bin" else part.values
    return bytes(np.ascontiguousarray(array).tobytes())


def _flat_keys(texts: Sequence[str]) -> NDArray[np.uint64]:
    keys: Iterator[int] = map(key_of, guacamol.flat_smiles(texts))
    return np.unique(np.fromiter(keys, dtype=np.uint64))
