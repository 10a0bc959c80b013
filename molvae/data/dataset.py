"""A prepared dataset on disk, memory-mapped, and the batches cut from it.

Folder: ``tokens.bin`` (ids, concatenated), ``offsets.npy`` (n + 1), ``properties.npy`` (n × C,
NaN = missing), ``split.npy`` (0 train, 1 valid, 2 test), ``vocab.json``, ``manifest.json``,
``molecules.csv.gz``, ``rejects.csv``.
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.chem.vocabulary import BOS, EOS, PAD, Vocabulary, read_vocabulary
from molvae.errors import ConfigError, FileError
from molvae.runtime.randomness import Draws

__all__ = [
    "SPLITS",
    "Batch",
    "Dataset",
    "batch_plan",
    "check_shares",
    "pad_tokens",
    "steps_per_epoch",
]

SPLITS = ("train", "valid", "test")
SCHEMA = 1
MOLECULES = "molecules.csv.gz"
WINDOW = 64  # batches whose molecules are sorted by length together
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


# What every manifest.json must say.
FIELDS = ("properties", "content_sha256", "sources", "longest", "split", "rows_read", "kept")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"'{path}': damaged dataset ({error})") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        schema = data.get("schema") if isinstance(data, dict) else None
        raise FileError(f"'{path}': dataset schema is {schema!r}, expected {SCHEMA}")
    missing = [name for name in FIELDS if name not in data]
    if missing:
        raise FileError(f"'{path}': damaged dataset (no field '{missing[0]}')")
    return data


class Dataset:
    """A dataset folder opened for reading; arrays are memory-mapped."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            raise FileError(
                f"'{self.folder}': not a dataset folder (no manifest.json); "
                "make one with molvae prepare"
            )
        self.manifest = _read_manifest(manifest)
        self.names: list[str] = list(self.manifest["properties"])
        self.kinds = {n: str(p["kind"]) for n, p in self.manifest["properties"].items()}
        self.vocabulary, self.constraints = read_vocabulary(self.folder / "vocab.json")
        try:
            self.offsets: NDArray[np.int64] = np.load(self.folder / "offsets.npy", mmap_mode="r")
            self.values: NDArray[np.float32] = np.load(
                self.folder / "properties.npy", mmap_mode="r"
            )
            self.split: NDArray[np.uint8] = np.load(self.folder / "split.npy")
            self.tokens = np.memmap(
                self.folder / "tokens.bin", dtype=self.vocabulary.dtype, mode="r"
            )
        except (OSError, ValueError) as error:
            raise FileError(f"'{self.folder}': damaged dataset ({error})") from None
        self._ids: NDArray[np.int64] | None = None  # of another vocabulary, see translate
        sizes = {len(self.offsets) - 1, len(self.values), len(self.split)}
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise FileError(f"'{self.folder}': damaged dataset (columns and names disagree)")
        if len(sizes) != 1 or self.offsets[-1] != len(self.tokens):
            raise FileError(f"'{self.folder}': damaged dataset (array lengths disagree)")

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
        path = self.folder / MOLECULES
        wanted = np.zeros(len(self), dtype=np.bool_)
        wanted[items] = True
        try:
            with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
                rows = csv.reader(handle)
                place = next(rows).index("smiles")
                chosen = [row[place] for row, use in zip(rows, wanted, strict=True) if use]
        except (OSError, EOFError, ValueError, IndexError, StopIteration, csv.Error) as error:
            raise FileError(f"'{path}': cannot be read ({error}); prepare the data again") from None
        return chosen

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
