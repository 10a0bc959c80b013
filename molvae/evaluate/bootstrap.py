"""Bootstrap intervals of the metrics (Efron 1979): how much they vary with the sample.

Each replicate draws as many molecules as there are, with replacement, and computes the metric.
Repeated molecules bias some metrics (Scaf and Frag down, W1 up), so the replicates are shifted to
have the metric as their mean; their middle 95 % is the interval. Three metrics are approximated:

- IntDiv and FCD move by the mean of the *influences* of the drawn molecules, the derivatives of
  the metric with respect to their weights. Computed exactly, a molecule drawn twice would count as
  a near duplicate of itself, and 500 covariances of 512 dimensions would take minutes.
- W1 is corrected by its change on a grid of 2,000 values.

Uniqueness is not defined for repeated draws either. Each row of a molecule that occurs c times
counts 1/c; the mean of these is the uniqueness, and the bootstrap draws that mean.
Novelty likewise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.evaluate.metrics import Metric, Occurrences
from molvae.runtime.randomness import Draws

__all__ = ["Bootstrap", "Replicates", "difference", "interval", "with_interval"]

SHARE = 0.95
BLOCK = 50  # draws made at a time
GRID = 2_000

Replicates = NDArray[np.float64]  # (B,) values of one metric


def interval(replicates: Replicates, value: float) -> tuple[float, float]:
    """The middle 95 % of the replicates, shifted so that ``value`` is their mean."""
    tail = (1 - SHARE) / 2
    low, high = np.quantile(replicates - replicates.mean() + value, (tail, 1 - tail))
    return float(low), float(high)


def with_interval(metric: Metric, replicates: Replicates | None, *, most: float = np.inf) -> Metric:
    """The metric, from 0 to ``most``, with its interval; unchanged if there are no replicates."""
    if metric.value is None or replicates is None:
        return metric
    low, high = interval(replicates, metric.value)
    return replace(metric, interval=(max(low, 0.0), min(high, most)))


def difference(
    a: Metric, b: Metric, of_a: Replicates | None, of_b: Replicates | None
) -> dict[str, Any]:
    """``b - a`` with its interval, the draws of both being independent; value None if unknown."""
    if a.value is None or b.value is None:
        return {"value": None}
    result: dict[str, Any] = {"value": b.value - a.value}
    if of_a is not None and of_b is not None:
        result["interval"] = list(interval(of_b - of_a, result["value"]))
    return result


@dataclass
class Bootstrap:
    """Collects metrics by name, each in a form that can be resampled; :meth:`run` draws all.

    ``n`` molecules; draws are addressed by the seed and ``purpose``.
    """

    n: int
    draws: Draws
    purpose: str
    count: int
    _means: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _cosines: dict[str, tuple[Occurrences, NDArray[np.float64], float]] = field(
        default_factory=dict
    )
    _grids: dict[str, _Grid] = field(default_factory=dict)
    _found: dict[str, Replicates] = field(default_factory=dict)

    def ratio(
        self, name: str, parts: NDArray[np.floating[Any]], wholes: NDArray[np.floating[Any]]
    ) -> None:
        """``sum(parts) / sum(wholes)`` over any number of rows with few distinct values."""
        if not self.count or not len(parts):
            return
        kinds, counts = np.unique(np.stack([parts, wholes], axis=1), axis=0, return_counts=True)
        seed = self.draws.uniform(f"{self.purpose} {name}", np.zeros(1, np.int64), 1)[0, 0]
        generator = np.random.Generator(np.random.PCG64(int(seed * 2**52)))
        drawn = generator.multinomial(len(parts), counts / len(parts), size=self.count)
        top, bottom = drawn @ kinds[:, 0], drawn @ kinds[:, 1]
        if (bottom > 0).all():
            self._found[name] = top / bottom

    def mean(self, name: str, values: NDArray[np.floating[Any]]) -> None:
        """Mean over the molecules (N,), NaN where a molecule has no value."""
        if self.count and np.isfinite(values).any():
            self._means[name] = np.asarray(values, dtype=np.float64)

    def cosine(self, name: str, generated: Occurrences, reference: Mapping[str, int]) -> None:
        """Cosine between the counts of the drawn molecules and those of the reference."""
        reference_counts = np.asarray(
            [reference.get(text, 0) for text in generated.names], dtype=np.float64
        )
        norm = np.sqrt(sum(float(count) ** 2 for count in reference.values()))
        if self.count and len(generated.ids) and norm:
            self._cosines[name] = generated, reference_counts, norm

    def wasserstein(
        self,
        name: str,
        values: NDArray[np.float64],
        reference: NDArray[np.float64],
        exact: float | None,
    ) -> None:
        """W1 between values (N,), NaN where unknown, and those of the reference, without NaN."""
        if self.count and exact is not None:
            self._grids[name] = _Grid(values, reference, exact)

    def run(self) -> dict[str, Replicates]:
        """The replicates of every metric."""
        rows: dict[str, list[NDArray[np.float64]]] = {}
        if self._means or self._cosines or self._grids:
            for weights in self._weights():
                for name, block in self._of_block(weights):
                    rows.setdefault(name, []).append(block)
        joined = {name: np.concatenate(parts) for name, parts in rows.items()}
        whole = {name: values for name, values in joined.items() if np.isfinite(values).all()}
        return {**self._found, **whole}

    def _weights(self) -> Iterator[NDArray[np.float32]]:
        """How often each molecule is drawn, (BLOCK, N) at a time."""
        block = max(1, min(BLOCK, 2_000_000 // max(self.n, 1)))
        for first in range(0, self.count, block):
            items = np.arange(first, min(first + block, self.count))
            chosen = (self.draws.uniform(self.purpose, items, self.n) * self.n).astype(np.int64)
            weights = np.empty((len(items), self.n), dtype=np.float32)
            for row, drawn in zip(weights, chosen, strict=True):
                row[:] = np.bincount(drawn, minlength=self.n)
            yield weights

    def _of_block(self, weights: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.float64]]]:
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN, and has no interval
            for name, values in self._means.items():
                known = np.isfinite(values)
                total = weights @ np.where(known, values, 0.0)
                yield name, np.asarray(total / (weights @ known.astype(np.float64)))
            for name, (generated, reference_counts, norm) in self._cosines.items():
                cosines = np.empty(len(weights))
                for i, row in enumerate(weights):
                    counts = np.bincount(
                        generated.ids, row[generated.molecules], minlength=len(reference_counts)
                    )
                    cosines[i] = counts @ reference_counts / (np.sqrt(counts @ counts) * norm)
                yield name, cosines
            for name, grid in self._grids.items():
                yield name, np.asarray([grid.moved(row) for row in weights])


class _Grid:
    """W1 on a grid of values of both sets, to compute its change between draws."""

    def __init__(
        self, values: NDArray[np.float64], reference: NDArray[np.float64], exact: float
    ) -> None:
        known = np.isfinite(values)
        places = np.unique(np.concatenate([values[known], reference]))
        if len(places) > GRID:
            joined = np.sort(np.concatenate([values[known], reference]))
            places = np.unique(joined[np.linspace(0, len(joined) - 1, GRID).astype(np.int64)])
        self._places = places
        self._theirs = np.searchsorted(np.sort(reference), places, side="right") / len(reference)
        # A molecule counts from the first grid value not below its value.
        self._cells = np.where(known, np.searchsorted(places, np.where(known, values, 0.0)), 0)
        self._known = known.astype(np.float32)
        self._exact = exact
        self._plain = self._distance(np.ones(len(values), dtype=np.float32))

    def _distance(self, weights: NDArray[np.float32]) -> float:
        counts = np.bincount(self._cells, weights * self._known, minlength=len(self._places))
        total = counts.sum()
        if total == 0:
            return float("nan")
        gaps = np.abs(np.cumsum(counts) / total - self._theirs)
        return float(gaps[:-1] @ np.diff(self._places))

    def moved(self, weights: NDArray[np.float32]) -> float:
        """The exact distance plus the change of the draw on the grid."""
        return max(0.0, self._exact + self._distance(weights) - self._plain)
