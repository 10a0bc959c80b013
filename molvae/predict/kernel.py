"""How alike molecules are to a predictor: the min-max kernel on counts, and descriptors.

``minmax(a, b) = sum_i min(a_i, b_i) / sum_i max(a_i, b_i)`` of two rows of counts is a positive
definite kernel (Ralaivola et al. 2005) and equals RDKit's Tanimoto similarity of counts. Writing a
count ``c`` of a feature as ``c`` columns of ones turns the sum of minima into a matrix product. The
columns many molecules have go through that product; the rare ones, which are most, are counted one
by one.

Shapes: ``N`` reference molecules, ``M`` queries, ``U`` unary columns, ``P = 3`` parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.counts import DESCRIPTORS, Counts, count_features, descriptors

__all__ = [
    "PARTS",
    "Features",
    "Kernel",
    "MinMax",
    "hashed_bits",
    "molecule_features",
    "read_features",
]

PARTS = ("circular", "pharmacophore", "descriptors")
LENGTH = 1.0  # of the descriptor kernel, in standard deviations
EXTREME = 5.0  # standard deviations at which a descriptor is clipped
FOLDED = 2048  # bits of a folded row
_COMMON = 1 / 250  # of the reference molecules have a column: it goes through the matrix product
_MOST_COMMON = 4096  # columns in the matrix product
_ROWS = 4096  # reference molecules whose columns are unpacked at a time

_Floats = NDArray[np.float32]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """What a predictor sees of N molecules."""

    circular: Counts
    pharmacophore: Counts
    descriptors: _Floats  # (N, D)

    def __len__(self) -> int:
        return len(self.descriptors)

    def take(self, items: _Ints) -> Features:
        """The molecules of these numbers, in this order."""
        return Features(
            self.circular.take(items), self.pharmacophore.take(items), self.descriptors[items]
        )

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """All molecules of several parts, in order; what worker processes return is joined so."""
        return cls(
            Counts.join([part.circular for part in parts]),
            Counts.join([part.pharmacophore for part in parts]),
            np.concatenate([part.descriptors for part in parts]),
        )


def read_features(smiles: Sequence[str]) -> tuple[Features, NDArray[np.bool_]]:
    """(features of the molecules, which of the SMILES are valid), both of N rows.

    The row of a SMILES that is not valid holds that of methane, so that numbers stay numbers.
    """
    mols = [chem.parse(text) for text in smiles]
    valid = np.asarray([mol is not None for mol in mols], dtype=np.bool_)
    return molecule_features(mols), valid


def molecule_features(mols: Sequence[chem.Mol | None]) -> Features:
    """Features of N molecules; None gives the row of methane."""
    methane = chem.parse("C")
    assert methane is not None
    present = [methane if mol is None else mol for mol in mols]
    described = np.nan_to_num(descriptors(present), nan=0.0, posinf=0.0, neginf=0.0)
    return Features(count_features(present), count_features(present, "pharmacophore"), described)


class MinMax:
    """Min-max kernel of any molecules with N reference molecules."""

    def __init__(self, reference: Counts) -> None:
        rows, keys = _unary(reference)
        # Sorted, so that a query's columns are found by bisection.
        self._keys, column, often = np.unique(keys, return_inverse=True, return_counts=True)
        n = len(reference)
        self._sizes = np.bincount(rows, minlength=n).astype(np.float32)  # (N,)
        limit = max(_COMMON * n, np.partition(often, -_MOST_COMMON)[-_MOST_COMMON]
                    if len(often) > _MOST_COMMON else 0.0, 2.0)  # fmt: skip
        common = often > limit
        self._place = np.where(common, np.cumsum(common) - 1, -1)  # (U,) in the product, or -1
        width = int(common.sum())
        dense = np.zeros((n, -(-width // 8)), dtype=np.uint8)
        for block in _blocks(n, _ROWS):
            first, last = np.searchsorted(rows, [block.start, block.stop])
            inside = first + np.flatnonzero(common[column[first:last]])
            bits = np.zeros((block.stop - block.start, width), dtype=np.bool_)
            bits[rows[inside] - block.start, self._place[column[inside]]] = True
            dense[block] = np.packbits(bits, axis=1)
        self._dense, self._width = dense, width  # (N, width / 8)
        # Of each column the molecules that have it, one after the other.
        order = np.argsort(column, kind="stable")
        self._rows = rows[order].astype(np.int32)
        self._starts = np.concatenate([[0], np.cumsum(often)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._sizes)

    def __call__(self, queries: Counts) -> _Floats:
        """Kernel of each query with each reference molecule, shape (M, N). Call it on blocks."""
        m, n = len(queries), len(self)
        rows, keys = _unary(queries)
        sizes = np.bincount(rows, minlength=m).astype(np.float32)
        at = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        known = self._keys[at] == keys if len(self._keys) else np.zeros(len(keys), dtype=np.bool_)
        rows, at = rows[known], at[known]
        shared = self._common(rows, at, m)
        rare = self._place[at] < 0
        self._add_rare(shared, rows[rare], at[rare])
        union = sizes[:, None] + self._sizes[None] - shared
        empty = union == 0
        if empty.any():  # two molecules without any feature are alike
            shared[empty] = union[empty] = 1
        shared /= union
        return shared.reshape(m, n)

    def _common(self, rows: _Ints, columns: _Ints, count: int) -> _Floats:
        """Common columns shared by each query and reference molecule, shape (M, N)."""
        place = self._place[columns]
        query = np.zeros((count, self._width), dtype=np.float32)
        query[rows[place >= 0], place[place >= 0]] = 1
        shared = np.empty((count, len(self)), dtype=np.float32)
        for block in _blocks(len(self), _ROWS):
            bits = np.unpackbits(self._dense[block], axis=1, count=self._width)
            shared[:, block] = query @ bits.astype(np.float32).T
        return shared

    def _add_rare(self, shared: _Floats, rows: _Ints, columns: _Ints) -> None:
        """Add the rare columns: each query that has one meets all molecules that have it."""
        times = self._starts[columns + 1] - self._starts[columns]
        ends = np.cumsum(times)
        first = np.repeat(self._starts[columns] - (ends - times), times)
        meets = self._rows[np.arange(len(first)) + first].astype(np.int64)
        np.add.at(shared.reshape(-1), meets + np.repeat(rows * len(self), times), np.float32(1))


def _unary(counts: Counts) -> tuple[_Ints, NDArray[np.uint64]]:
    """(molecule, key) of every unary column that is set: a count of three sets three of them."""
    times = counts.counts.astype(np.int64)
    ends = np.cumsum(times)
    level = np.arange(int(times.sum())) - np.repeat(ends - times, times)
    feature = np.repeat(counts.features.astype(np.uint64), times)
    return np.repeat(counts.rows, times), (feature << np.uint64(8)) | level.astype(np.uint64)


def hashed_bits(counts: Counts) -> NDArray[np.uint8]:
    """Unary columns folded into :data:`FOLDED` bits, packed, shape (N, FOLDED / 8).

    For a kernel among a few neighbors, where collisions cost less than a search would.
    """
    rows, keys = _unary(counts)
    # Multiplicative hashing (Knuth 1998, section 6.4) with the golden ratio of 64 bits.
    place = (keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - FOLDED.bit_length() + 1)
    packed = np.zeros((len(counts), FOLDED // 8), dtype=np.uint8)
    for block in _blocks(len(counts), _ROWS):
        first, last = np.searchsorted(rows, [block.start, block.stop])
        bits = np.zeros((block.stop - block.start, FOLDED), dtype=np.bool_)
        bits[rows[first:last] - block.start, place[first:last].astype(np.int64)] = True
        packed[block] = np.packbits(bits, axis=1)
    return packed


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(low, min(low + size, n)) for low in range(0, n, size)]


class Kernel:
    """The parts of the kernel of any molecules with N reference molecules.

    ``circular`` and ``pharmacophore``: min-max kernels; ``descriptors``: a Gaussian of the mean
    squared difference of standardized descriptors. A predictor weighs them.
    """

    def __init__(self, reference: Features) -> None:
        self.reference = reference
        self._circular = MinMax(reference.circular)
        self._pharmacophore = MinMax(reference.pharmacophore)
        self._middle = reference.descriptors.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = reference.descriptors.std(axis=0, dtype=np.float64)
        self._spread = np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
        self._points = self._scaled(reference.descriptors)

    def __len__(self) -> int:
        return len(self._points)

    def parts(self, queries: Features) -> tuple[_Floats, _Floats, _Floats]:
        """The three parts for M queries, each shape (M, N), each from 0 to 1."""
        points = self._scaled(queries.descriptors)
        squares = (points**2).sum(axis=1)[:, None] + (self._points**2).sum(axis=1)[None]
        distance = np.maximum(squares - 2 * points @ self._points.T, 0.0) / len(DESCRIPTORS)
        return (
            self._circular(queries.circular),
            self._pharmacophore(queries.pharmacophore),
            np.exp(-distance / (2 * LENGTH**2)),
        )

    def blend(self, queries: Features, weights: Sequence[float]) -> tuple[_Floats, _Floats]:
        """(weighted sum of the parts, the circular part alone), each shape (M, N)."""
        parts = self.parts(queries)
        total = np.float32(weights[0]) * parts[0]
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            total += np.float32(weight) * part
        return total, parts[0]

    def _scaled(self, given: _Floats) -> _Floats:
        scaled = (given - self._middle) / self._spread
        clipped: _Floats = np.clip(scaled, -EXTREME, EXTREME).astype(np.float32)
        return clipped
