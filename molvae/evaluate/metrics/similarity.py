"""Tanimoto similarity of packed fingerprints, within a set and to another.

The costly part is to count the bits that each of many pairs shares. A matrix product does it at the
full speed of the processor, so all that is clever here keeps columns out of that product: rare bits
are counted pair by pair
(:func:`molvae.chem.fingerprints.tanimoto`), and where only the best of many pairs is wanted, bits
are folded together into an upper bound (:func:`nearest`). Neither changes any result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.chem.fingerprints import count_bits, set_bits, tanimoto, unpack_bits
from molvae.evaluate.metrics.base import NO_VALID, Metric
from molvae.evaluate.metrics.molecules import Molecules, Wanted, as_set

__all__ = ["internal_diversity", "nearest", "nearest_similarity", "similarity_sums"]

_Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]
_Ints = NDArray[np.int64]

_ROWS, _COLUMNS = 512, 2048  # pairs compared at a time: 4 MB of float32, about a CPU's cache


def _blocks(n: int, size: int, start: int = 0) -> Iterator[slice]:
    for low in range(start, n, size):
        yield slice(low, min(low + size, n))


def similarity_sums(fingerprints: _Bytes, powers: Sequence[int] = (1, 2)) -> NDArray[np.float64]:
    """``sum_j T_ij^p`` of each molecule ``i`` over all ``j``, itself too; shape (len(powers), N).

    ``fingerprints``: packed bits, shape (N, bytes). Exact, in blocks: no N × N matrix is held.
    """
    n = len(fingerprints)
    sums = np.zeros((len(powers), n))
    for rows in _blocks(n, _ROWS):
        for columns in _blocks(n, _COLUMNS, rows.start):
            similarity = tanimoto(fingerprints[rows], fingerprints[columns])
            # The matrix is symmetric: what lies right of the diagonal block counts for both.
            beyond = slice(max(columns.start, rows.stop), max(columns.stop, rows.stop))
            for total, power in zip(sums, powers, strict=True):
                raised = similarity if power == 1 else similarity**power
                total[rows] += raised.sum(axis=1, dtype=np.float64)
                inside = raised[:, beyond.start - columns.start :]
                total[beyond] += inside.sum(axis=0, dtype=np.float64)
    return sums


def internal_diversity(
    molecules: Molecules | _Bytes, powers: Sequence[int] = (1, 2)
) -> tuple[Metric, ...]:
    """``1 - mean_i (mean_j T_ij^p)^(1/p)`` over all pairs, one metric per power ``p``.

    Of SMILES or packed fingerprints (N, bytes). Each molecule meets itself too, as in MOSES.
    """
    fingerprints = _prints(molecules)
    n = len(fingerprints)
    if n < 2:
        return tuple(Metric(None, n, note="needs at least 2 valid molecules") for _ in powers)
    return tuple(
        Metric(float(1 - np.mean((total / n) ** (1 / power))), n)
        for total, power in zip(similarity_sums(fingerprints, powers), powers, strict=True)
    )


# The best of many pairs --------------------------------------------------------------------------

_FEW = 512  # with fewer queries or reference molecules, to prepare the bound does not pay
_SAMPLE = 4096  # reference molecules by which bits are put into groups
_SLAB = 32_768  # reference molecules whose folded bits are held at a time, about 18 MB
_MANY = 1 / 16  # of the pairs of a block: if more may be better, to compare all is cheaper


def nearest(queries: _Bytes, reference: _Bytes) -> tuple[_Floats, _Ints]:
    """Tanimoto similarity to, and index of, the most similar reference fingerprint of each query.

    Of several equally similar the first is taken. An empty reference gives -1 and -1.
    """
    reference = np.asarray(reference)  # slices of a mapped file take longer
    search = _Search(queries, reference)
    if min(len(queries), len(reference)) < _FEW:
        for columns in _blocks(len(reference), _COLUMNS):
            for rows in _blocks(len(queries), _ROWS):
                search.compare_all(rows, columns)
        return search.best, search.where
    fold = _Fold(reference[:: -(-len(reference) // _SAMPLE)])
    for rows in _blocks(len(queries), _ROWS):  # something to beat
        search.compare_all(rows, slice(0, _FEW))
    for slab in _blocks(len(reference), _SLAB, _FEW):
        folded = fold.reference(reference[slab])
        for rows in _blocks(len(queries), _ROWS):
            query = fold.query(queries[rows])
            for block in _blocks(len(reference[slab]), _COLUMNS):
                columns = slice(slab.start + block.start, slab.start + block.stop)
                may = query.may_beat(search.best[rows], folded[:, block])
                if np.count_nonzero(may) > _MANY * may.size:
                    search.compare_all(rows, columns)
                else:
                    i, j = set_bits(may)
                    search.compare(i + rows.start, j + columns.start)
    return search.best, search.where


class _Search:
    """The best pair of each query so far; pairs must come in the order of the reference."""

    def __init__(self, queries: _Bytes, reference: _Bytes) -> None:
        self._queries, self._reference = queries, reference
        self._query_sizes, self._reference_sizes = count_bits(queries), count_bits(reference)
        self.best = np.full(len(queries), -1, dtype=np.float32)
        self.where = np.full(len(queries), -1, dtype=np.int64)

    def compare_all(self, rows: slice, columns: slice) -> None:
        similarity = tanimoto(self._queries[rows], self._reference[columns])
        at = similarity.argmax(axis=1)
        highest = similarity[np.arange(len(at)), at]
        better = highest > self.best[rows]
        self.best[rows][better] = highest[better]
        self.where[rows][better] = at[better] + columns.start

    def compare(self, i: _Ints, j: _Ints) -> None:
        """Compare query ``i[k]`` with reference ``j[k]`` only; sorted by both."""
        common = count_bits(self._queries[i] & self._reference[j])
        union = self._query_sizes[i] + self._reference_sizes[j] - common
        empty = union == 0
        common[empty] = union[empty] = 1
        similarity = common / union
        better = similarity > self.best[i]
        i, j, similarity = i[better], j[better], similarity[better]
        np.maximum.at(self.best, i, similarity)
        top = similarity == self.best[i]
        i, first = np.unique(i[top], return_index=True)
        self.where[i] = j[top][first]


class _Fold:
    """Few columns whose product is an upper bound of the bits that two molecules share.

    Each bit belongs to a group, and a molecule has the groups of its bits. It loses a bit for each
    that is not the only one of its group: two molecules share no more bits than they share groups,
    plus the smaller number of bits lost. That number is the product of further columns, "lost at
    least k": what a query loses beyond the last of them is added as it is.
    """

    GROUPS, LEVELS = 144, 6

    def __init__(self, sample: _Bytes) -> None:
        # The next commonest bit to the least loaded group: common bits stay alone. A bit that is
        # not in the sample may be elsewhere, so that it counts a little.
        often = unpack_bits(sample).mean(axis=1) + 1 / len(sample)
        load = np.zeros(self.GROUPS)
        self._groups = np.zeros(len(often), dtype=np.int64)
        for bit in np.argsort(-often, kind="stable"):
            self._groups[bit] = group = load.argmin()
            load[group] += often[bit]

    def reference(self, fingerprints: _Bytes) -> _Floats:
        """Shape (columns, N); the last two are for the threshold of the query."""
        folded, sizes, _ = self._fold(fingerprints)
        folded[-2:] = sizes, np.ones_like(sizes)
        return folded

    def query(self, fingerprints: _Bytes) -> _Query:
        return _Query(*self._fold(fingerprints), bits=len(self._groups))

    def _fold(self, fingerprints: _Bytes) -> tuple[_Floats, _Floats, _Floats]:
        bits = unpack_bits(fingerprints)
        folded = np.zeros((self.GROUPS + self.LEVELS + 2, bits.shape[1]), dtype=np.uint8)
        for group, bit in zip(self._groups, bits, strict=True):
            folded[group] |= bit
        sizes = count_bits(fingerprints)
        lost = sizes - folded.sum(axis=0, dtype=np.float32)
        folded[self.GROUPS : -2] = lost > np.arange(self.LEVELS)[:, None]
        return folded.astype(np.float32), sizes, np.maximum(lost - self.LEVELS, 0)


class _Query:
    """Folded queries, and which pairs may be better than the best that is known.

    ``c`` shared bits mean a similarity above ``s`` if ``c > w (|a| + |b|)``, ``w = s / (1 + s)``.
    So ``-w`` times the sizes are two more columns, and the sign of the product tells. ``w`` is cut
    to a multiple of ``step``, which makes all terms and sums exact in float32, and below what
    rounding could have added: no pair is lost.
    """

    def __init__(self, folded: _Floats, sizes: _Floats, beyond: _Floats, *, bits: int) -> None:
        self._folded, self._sizes, self._beyond = folded, sizes, beyond
        self._step = 2.0 ** (np.ceil(np.log2(bits)) + 1 - 24)

    def may_beat(self, best: _Floats, reference: _Floats) -> NDArray[np.bool_]:
        """Shape (queries, N)."""
        w = best / (1 + best.astype(np.float64))
        w = np.maximum(np.floor(w / self._step) - 1, 0) * self._step
        # What shares nothing is not better than anything, unless both are empty.
        least = np.minimum(self._sizes, self._step)
        self._folded[-2] = -w
        self._folded[-1] = self._beyond - np.maximum(w * self._sizes, least)
        product: _Floats = self._folded.T @ reference
        return product >= 0


def nearest_similarity(molecules: Molecules | _Bytes, reference: Molecules | _Bytes) -> Metric:
    """SNN: mean Tanimoto similarity of each molecule to its nearest reference molecule.

    Of SMILES or packed fingerprints (N, bytes).
    """
    queries, known = _prints(molecules), _prints(reference)
    if not len(queries):
        return Metric(None, 0, note=NO_VALID)
    if not len(known):
        return Metric(None, len(queries), note="no valid molecule in the reference")
    similarity, _ = nearest(queries, known)
    return Metric(float(similarity.mean(dtype=np.float64)), len(queries))


def _prints(given: Molecules | _Bytes) -> _Bytes:
    if isinstance(given, np.ndarray):
        return given
    return as_set(given, Wanted(True, False, False)).fingerprints
