"""A prepared dataset on disk, memory-mapped, and the batches cut from it.

Folder: ``tokens.bin`` (ids, concatenated), ``offsets.npy`` (n + 1), ``properties.npy`` (n × C,
NaN = missing), ``split.npy`` (0 train, 1 valid, 2 test), ``vocab.json``, ``manifest.json``,
``molecules.csv.gz``, ``rejects.csv``.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.chem.vocabulary import BOS, EOS, PAD, SPECIAL_TOKENS, Vocabulary, read_vocabulary
from molvae.data.manifest import SPLITS, read_manifest
from molvae.errors import ConfigError, FileError
from molvae.runtime.randomness import Draws

__all__ = [
    "Batch",
    "Dataset",
    "batch_plan",
    "check_shares",
    "content_hash",
    "pad_tokens",
    "steps_per_epoch",
]

MOLECULES = "molecules.csv.gz"
WINDOW = 64  # batches whose molecules are sorted by length together
CHEAP = 1 << 26  # bytes of arrays whose checksum is compared whenever they are opened
COUNTED_TOGETHER = 100_000  # molecules whose tokens are in memory at a time


class Batch(NamedTuple):
    """Molecules ready for the model, as numpy arrays; B molecules, T the longest plus one."""

    items: NDArray[np.int64]  # (B,) index of each molecule in the dataset
    inputs: NDArray[np.int64]  # (B, T) <bos> then the ids, <pad> after the end
    targets: NDArray[np.int64]  # (B, T) the ids then <eos>, <pad> after the end
    lengths: NDArray[np.int64]  # (B,) number of ids plus one for <eos>
    values: NDArray[np.float32]  # (B, C) property values in their own units, NaN = missing


def pad_tokens(
    rows: list[NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(inputs, targets, lengths) of :class:`Batch` from unpadded ids."""
    lengths = np.asarray([len(row) + 1 for row in rows], dtype=np.int64)
    inputs = np.full((len(rows), int(lengths.max(initial=1))), PAD, dtype=np.int64)
    targets = inputs.copy()
    inputs[:, 0] = BOS
    for i, row in enumerate(rows):
        inputs[i, 1 : len(row) + 1] = row
        targets[i, : len(row)] = row
        targets[i, len(row)] = EOS
    return inputs, targets, lengths


class Dataset:
    """A dataset folder opened for reading; arrays are memory-mapped."""

    def __init__(self, folder: str | Path, *, verify: bool = False) -> None:
        """Open and check a folder, which anyone may have written.

        Sizes, types, offsets, ids and values are always checked; the checksum of the contents if
        they are small, or with ``verify``.
        """
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").exists():
            raise FileError(
                f"'{self.folder}': not a dataset folder (no manifest.json); "
                "make one with molvae prepare"
            )
        self.manifest = read_manifest(self.folder / "manifest.json")
        self.names: list[str] = list(self.manifest["properties"])
        self.kinds = {n: str(p["kind"]) for n, p in self.manifest["properties"].items()}
        self.vocabulary, self.constraints = read_vocabulary(self.folder / "vocab.json")
        self._ids: NDArray[np.int64] | None = None  # of another vocabulary, see translate
        count, columns = int(self.manifest["kept"]), len(self.names)
        self.offsets: NDArray[np.int64] = self._array("offsets", np.int64, (count + 1,))
        self.values: NDArray[np.float32] = self._array("properties", np.float32, (count, columns))
        self.split: NDArray[np.uint8] = np.array(self._array("split", np.uint8, (count,)))
        self.tokens = self._tokens()
        small = self.tokens.nbytes + self.offsets.nbytes + self.values.nbytes <= CHEAP
        self._check_contents()
        if (small or verify) and content_hash(self.folder) != self.content_hash:
            raise self._damaged("the arrays do not match content_sha256 of manifest.json")

    def _damaged(self, why: str) -> FileError:
        return FileError(f"'{self.folder}': damaged dataset ({why}); prepare it again")

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():  # a pipe would block
            raise self._damaged(f"{name} is missing, or not a plain file")
        return path

    def _array(self, name: str, kind: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """An array mapped from a file, of the type and shape that the manifest implies."""
        path = self._file(f"{name}.npy")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy's parser of headers raises many kinds
            why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise self._damaged(f"{name}.npy: {why}") from None
        if not isinstance(array, np.ndarray) or array.dtype != kind or array.shape != shape:
            got = f"{getattr(array, 'dtype', type(array))} {getattr(array, 'shape', '')}"
            raise self._damaged(f"{name}.npy: got {got}, expected {kind.__name__} {shape}")
        return array

    def _tokens(self) -> NDArray[Any]:
        path, kind = self._file("tokens.bin"), np.dtype(self.vocabulary.dtype)
        expected = int(self.offsets[-1]) * kind.itemsize
        if (size := path.stat().st_size) != expected or not size:
            raise self._damaged(f"tokens.bin: got {size:,} bytes, expected {expected:,}")
        return np.memmap(path, dtype=kind, mode="r")

    def _check_contents(self) -> None:
        """Check what the arrays hold, a part at a time."""
        longest = 0
        for first in range(0, len(self), COUNTED_TOGETHER):
            offsets = np.asarray(self.offsets[first : first + COUNTED_TOGETHER + 1])
            lengths = np.diff(offsets)
            if lengths.min() < 1 or offsets[0] < 0 or (first == 0 and offsets[0] != 0):
                raise self._damaged("offsets.npy: expected numbers that rise from 0")
            longest = max(longest, int(lengths.max()))
            ids = self.tokens[offsets[0] : offsets[-1]]
            if ids.min() < len(SPECIAL_TOKENS) or ids.max() >= len(self.vocabulary):
                raise self._damaged("tokens.bin: an id that is no token of a molecule")
            if np.isinf(self.values[first : first + COUNTED_TOGETHER]).any():
                raise self._damaged("properties.npy: an infinite value")
        if longest != self.manifest["longest"]:
            raise self._damaged(
                f"longest is {self.manifest['longest']}, the longest molecule has {longest} tokens"
            )
        counts = {name: int((self.split == i).sum()) for i, name in enumerate(SPLITS)}
        if counts != self.manifest["split"]:
            raise self._damaged(f"split.npy: got {counts}, expected {self.manifest['split']}")

    def __len__(self) -> int:
        return len(self.split)

    @property
    def content_hash(self) -> str:
        """Hash of the tokens, properties and splits, independent of where the data came from."""
        return str(self.manifest["content_sha256"])

    def part(self, name: str) -> NDArray[np.int64]:
        """Indices of the molecules of a split: ``train``, ``valid`` or ``test``."""
        return np.flatnonzero(self.split == SPLITS.index(name)).astype(np.int64)

    def lengths(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of ids of the given molecules, without <eos>."""
        return np.asarray(self.offsets[items + 1] - self.offsets[items])

    def ids(self, item: int) -> NDArray[np.int64]:
        """Token ids of one molecule, without <bos> and <eos>."""
        stored = self.tokens[self.offsets[item] : self.offsets[item + 1]]
        return stored.astype(np.int64) if self._ids is None else self._ids[stored]

    def smiles(self, items: NDArray[np.int64]) -> list[str]:
        """Canonical SMILES of the molecules with these indices, which ascend.

        Raises:
            FileError: ``molecules.csv.gz`` is missing, damaged or of another dataset.
        """
        return list(self.each_smiles(items))

    def each_smiles(self, items: NDArray[np.int64]) -> Iterator[str]:
        """As :meth:`smiles`, one after the other, without keeping them in memory."""
        path = self._file(MOLECULES)
        wanted = np.zeros(len(self), dtype=np.bool_)
        wanted[items] = True
        try:
            with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
                rows = csv.reader(handle)
                place = next(rows).index("smiles")
                yield from (row[place] for row, use in zip(rows, wanted, strict=True) if use)
        except (OSError, EOFError, ValueError, IndexError, StopIteration, csv.Error) as error:
            raise FileError(f"'{path}': cannot be read ({error}); prepare the data again") from None

    def token_counts(self, part: str, *, molecules: bool = False) -> NDArray[np.int64]:
        """How often each token occurs in the molecules of a split, (V,) by id.

        With ``molecules``, in how many of them.
        """
        counts = np.zeros(len(self.vocabulary), dtype=np.int64)
        inside = self.split == SPLITS.index(part)
        for first in range(0, len(self), COUNTED_TOGETHER):
            offsets = np.asarray(self.offsets[first : first + COUNTED_TOGETHER + 1])
            chosen = np.repeat(inside[first : first + COUNTED_TOGETHER], np.diff(offsets))
            stored = np.asarray(self.tokens[offsets[0] : offsets[-1]])[chosen]
            ids = stored.astype(np.int64) if self._ids is None else self._ids[stored]
            if molecules:
                rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[chosen]
                ids = np.unique(rows * len(counts) + ids) % len(counts)
            counts += np.bincount(ids, minlength=len(counts))
        return counts

    def translate(self, vocabulary: Vocabulary) -> None:
        """Switch to the ids of another vocabulary, which has all tokens of this one."""
        if vocabulary.tokens == self.vocabulary.tokens:
            return
        place = {token: i for i, token in enumerate(vocabulary.tokens)}
        self._ids = np.asarray([place[token] for token in self.vocabulary.tokens], dtype=np.int64)
        self.vocabulary = vocabulary

    def batch(self, items: NDArray[np.int64]) -> Batch:
        """The given molecules, padded together."""
        inputs, targets, lengths = pad_tokens([self.ids(int(i)) for i in items])
        return Batch(items, inputs, targets, lengths, np.asarray(self.values[items]))


def content_hash(folder: Path) -> str:
    """SHA-256 of the arrays' contents in a folder: tokens, offsets, properties, split."""
    content = hashlib.sha256()
    for name in ("tokens.bin", "offsets.npy", "properties.npy", "split.npy"):
        with open(folder / name, "rb") as handle:
            if name.endswith(".npy"):
                np.lib.format.read_magic(handle)
                np.lib.format.read_array_header_1_0(handle)
            while data := handle.read(1 << 24):
                content.update(data)
    return content.hexdigest()


def steps_per_epoch(molecules: int, batch_size: int) -> int:
    """Batches of one pass: a last one below a quarter of the size joins the one before it."""
    full, rest = divmod(molecules, batch_size)
    return max(full + (rest >= max(batch_size // 4, 1)), 1)


def check_shares(molecules: int, batch_size: int, processes: int) -> None:
    """Refuse more processes than there are molecules for in the smallest batch."""
    if processes > 1 and min(molecules, max(batch_size // 4, 1)) < processes:
        raise ConfigError(
            f"{processes} processes share {molecules} molecules in batches of {batch_size}; "
            "use fewer processes or larger batches, of at least four molecules per process"
        )


def batch_plan(
    items: NDArray[np.int64],
    lengths: NDArray[np.int64],
    batch_size: int,
    draws: Draws,
    *,
    epoch: int,
) -> list[NDArray[np.int64]]:
    """The batches of one epoch: shuffled, each of molecules of similar length.

    A pure function of its arguments, so a run resumes in the middle of an epoch by index alone.
    Every molecule appears once; see :func:`steps_per_epoch` for the last batch.
    """
    order = draws.permutation("order", len(items), epoch=epoch)
    batches: list[NDArray[np.int64]] = []
    window = WINDOW * batch_size
    for start in range(0, len(order), window):
        block = order[start : start + window]
        block = block[np.argsort(lengths[block], kind="stable")]
        batches += [items[block[i : i + batch_size]] for i in range(0, len(block), batch_size)]
    if len(batches) > steps_per_epoch(len(items), batch_size):
        batches[-2:] = [np.concatenate(batches[-2:])]
    shuffled = draws.permutation("batches", len(batches), epoch=epoch)
    return [batches[i] for i in shuffled]
