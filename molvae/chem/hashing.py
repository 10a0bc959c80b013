"""Sets of molecules as 64-bit hashes: those already written, those to exclude."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeySet", "among", "keys_of"]


def keys_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64 bits of the BLAKE2 hash of each text.

    Two of 10 million texts share a key with a probability of 3 in a million.
    """
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def among(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each key is among known ones, which are sorted."""
    if not len(known):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.searchsorted(known, keys)
    np.minimum(places, len(known) - 1, out=places)
    present: NDArray[np.bool_] = known[places] == keys
    return present


class KeySet:
    """A set of 64-bit keys as sorted arrays, merged as it grows.

    It takes 8 bytes per key, and 24 while the largest arrays are merged.
    """

    def __init__(self, keys: NDArray[np.uint64] | None = None) -> None:
        self._runs: list[NDArray[np.uint64]] = []  # each at least twice as long as the next
        if keys is not None:
            self.add(keys)

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def keys(self) -> NDArray[np.uint64]:
        """All keys, ascending."""
        return np.sort(np.concatenate(self._runs or [np.empty(0, np.uint64)]))

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the keys are in the set, shape as given."""
        present = np.zeros(len(keys), dtype=np.bool_)
        for run in self._runs:
            present |= among(keys, run)
        return present

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Add keys; those already present change nothing."""
        new = np.unique(keys)
        new = new[~self.holds(new)]
        if not len(new):
            return
        self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            joined = np.concatenate([self._runs[-2], self._runs[-1]])
            del self._runs[-2:]  # before sorting: they are large
            joined.sort(kind="quicksort")  # in place
            self._runs.append(joined)
