"""Tanimoto similarity of packed fingerprints, within a set and to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.metrics.base import NO_VALID, Metric

__all__ = ["internal_diversity", "nearest", "nearest_similarity", "tanimoto"]

_ROWS, _COLUMNS = 512, 2048  # pairs compared at a time: 4 MB of float32, about a CPU's cache


def tanimoto(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tanimoto similarity of every packed fingerprint in ``a`` to every one in ``b``.

    Shape (len(a), len(b)): for long lists call it on blocks. Two empty fingerprints are alike.
    """
    # float32 products of 0/1 rows count shared bits exactly, at the speed of a matrix product.
    rows = np.unpackbits(a, axis=1).astype(np.float32)
    columns = np.unpackbits(b, axis=1).astype(np.float32)
    size_a, size_b = rows.sum(axis=1), columns.sum(axis=1)
    common: NDArray[np.float32] = rows @ columns.T
    union = np.add.outer(size_a, size_b)
    union -= common
    if not size_a.all() and not size_b.all():
        empty = union == 0
        common[empty] = union[empty] = 1
    common /= union
    return common


def nearest(
    queries: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tanimoto similarity to, and index of, the most similar reference fingerprint of each query.

    Of several equally similar the first is taken. An empty reference gives -1 and -1.
    """
    best = np.full(len(queries), -1, dtype=np.float32)
    where = np.full(len(queries), -1, dtype=np.int64)
    for column in range(0, len(reference), 2048):
        block = reference[column : column + 2048]
        for row in range(0, len(queries), 512):
            rows = slice(row, row + 512)
            similarity = tanimoto(queries[rows], block)
            at = similarity.argmax(axis=1)
            found = similarity[np.arange(len(at)), at]
            better = found > best[rows]
            best[rows] = np.where(better, found, best[rows])
            where[rows] = np.where(better, at + column, where[rows])
    return best, where


def _blocks(n: int, size: int, start: int = 0) -> Iterator[slice]:
    for low in range(start, n, size):
        yield slice(low, min(low + size, n))


def internal_diversity(
    fingerprints: NDArray[np.uint8], powers: Sequence[int] = (1, 2)
) -> tuple[Metric, ...]:
    """``1 - mean_i (mean_j T_ij^p)^(1/p)`` over all pairs, one metric per power ``p``.

    ``fingerprints``: packed bits, shape (N, bytes). Each molecule meets itself too, as in MOSES.
    Exact, in blocks: no N × N matrix is held.
    """
    n = len(fingerprints)
    if n < 2:
        return tuple(Metric(None, n, note="needs at least 2 valid molecules") for _ in powers)
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
    return tuple(
        Metric(float(1 - np.mean((total / n) ** (1 / power))), n)
        for total, power in zip(sums, powers, strict=True)
    )


def nearest_similarity(queries: NDArray[np.uint8], reference: NDArray[np.uint8]) -> Metric:
    """SNN: mean Tanimoto similarity of each molecule to its nearest reference molecule."""
    if not len(queries):
        return Metric(None, 0, note=NO_VALID)
    if not len(reference):
        return Metric(None, len(queries), note="no valid molecule in the reference")
    similarity, _ = nearest(queries, reference)
    return Metric(float(similarity.mean(dtype=np.float64)), len(queries))
