"""Gaussian process regression of one column on molecules: fitted once, asked in blocks.

:class:`ExactRegression` up to :data:`EXACT` molecules, :class:`SparseRegression` above. Both give a
mean and a standard deviation that varies with what the neighbors' left-out errors were, and the
left-out predictions that intervals and probabilities are calibrated with.

Shapes: ``N`` training molecules, ``M`` queries, ``U`` inducing molecules, ``K`` neighbors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from molvae.chem.counts import Counts
from molvae.predict.gaussian_process import (
    ExactProcess,
    Hyperparameters,
    SparseProcess,
    fit_hyperparameters,
    krige,
    log_ratio,
    nearest_columns,
)
from molvae.predict.kernel import Features, Kernel, MinMax, hashed_bits

__all__ = ["EXACT", "ExactRegression", "LeftOut", "Raw", "Regression", "SparseRegression"]

_Floats = NDArray[np.float64]
_Singles = NDArray[np.float32]
_Ints = NDArray[np.int64]

EXACT = 5000  # molecules up to which the process is exact
TUNED = 1500  # molecules that weights and noise are fitted to
INDUCING = 2000
NEIGHBORS = 32
CALIBRATED = 2000  # molecules that a sparse process leaves out one by one
BLOCK = 512  # queries at a time: 10 MB per part of the kernel for 5,000 molecules
SHARPNESS = 6  # power of the similarity by which neighbors' errors are averaged
CLUSTERED = 0.5  # similarity to its first molecule from which on a molecule joins a cluster
DOUBT = 0.1  # what the assumption of an error as stated weighs among them
# What the local correction is chosen from: power of the similarity, noise relative to its variance.
LOCAL = tuple((power, noise) for power in (2, 4) for noise in (0.3, 1.0, 3.0, 10.0, 1e6))


class Raw(NamedTuple):
    """What a process says of M queries, before calibration."""

    mean: _Floats  # (M,)
    sd: _Floats  # (M,) of a new measurement
    nearest: _Ints  # (M,) number of the nearest training molecule
    similarity: _Floats  # (M,) to it


class LeftOut(NamedTuple):
    """Predictions of training molecules by the others; of all of them or of a sample."""

    items: _Ints  # (S,) which training molecules
    mean: _Floats  # (S,)
    sd: _Floats  # (S,)
    similarity: _Floats  # (S,) to the nearest one that was not left out


class Regression(Protocol):
    """A fitted process."""

    def predict(self, queries: Features) -> Raw:
        """Of M molecules."""


def _shuffled(count: int) -> _Ints:
    """The molecules in an order that is random and always the same."""
    return np.random.default_rng(0).permutation(count).astype(np.int64)


def _tuned(features: Features, values: _Floats) -> Hyperparameters:
    """Hyperparameters from a sample of the molecules."""
    chosen = np.sort(_shuffled(len(values))[:TUNED])
    sample = features.take(chosen)
    return fit_hyperparameters(Kernel(sample).parts(sample), values[chosen])


def _blocks(count: int, size: int = BLOCK) -> list[slice]:
    return [slice(low, min(low + size, count)) for low in range(0, count, size)]


def _part(features: Features, block: slice) -> Features:
    return features.take(np.arange(block.start, block.stop, dtype=np.int64))


def _joined(raws: list[Raw]) -> Raw:
    if not raws:
        return Raw(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0))
    return Raw(*(np.concatenate(arrays) for arrays in zip(*raws, strict=True)))


def _clusters(similarity: _Singles) -> _Ints:
    """The cluster of each molecule, (N,): sphere exclusion in the order given."""
    clusters = np.full(len(similarity), -1, dtype=np.int64)
    for first in range(len(similarity)):
        if clusters[first] < 0:
            clusters[(clusters < 0) & (similarity[first] >= CLUSTERED)] = first
            clusters[first] = first
    return clusters


def _error_scale(similarity: _Singles, ratios: _Singles) -> _Floats:
    """Factor by which errors near each query are larger than stated, (M,).

    A kernel average of the neighbors' log ratios (Nadaraya 1964), pulled to 0 where none is near.
    ``similarity`` (M, K); ``ratios`` of the neighbors, (K,) or (M, K).
    """
    weight = similarity**SHARPNESS
    mean = (weight * ratios).sum(axis=1) / (weight.sum(axis=1) + DOUBT)
    return np.exp(np.asarray(mean, dtype=np.float64))


# Exact -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExactRegression:
    """Up to some 5,000 molecules; time grows with the cube of their number."""

    kernel: Kernel
    hyper: Hyperparameters
    process: ExactProcess
    ratios: _Singles  # (N,) log of left-out error over what was stated, centered

    @classmethod
    def fit(
        cls, features: Features, values: _Floats
    ) -> tuple[ExactRegression, tuple[LeftOut, ...]]:
        """The regression, and all molecules predicted with one or a whole cluster left out.

        A series that is a single cluster is only left out one by one.
        """
        hyper = _tuned(features, values)
        kernel = Kernel(features)
        blended, similarity = _square(kernel, hyper)
        process = ExactProcess(blended, values, hyper.noise)
        del blended
        residuals, variance = process.left_out()
        ratios = log_ratio(residuals, np.sqrt(variance))
        ratios = (ratios - ratios.mean()).astype(np.float32)
        clusters = _clusters(similarity)
        np.fill_diagonal(similarity, 0)
        alone = _left_out(residuals, variance, values, similarity, ratios)
        fitted = cls(kernel, hyper, process, ratios)
        if not clusters.any():  # all in the cluster of the first
            return fitted, (alone,)
        for first in np.unique(clusters).tolist():
            items = np.flatnonzero(clusters == first)
            similarity[np.ix_(items, items)] = 0
        together = _left_out(*process.left_out(clusters), values, similarity, ratios)
        return fitted, (alone, together)

    @classmethod
    def rebuild(
        cls, features: Features, values: _Floats, hyper: Hyperparameters, ratios: _Singles
    ) -> ExactRegression:
        """A fitted regression from what was stored of it; factorizes once."""
        kernel = Kernel(features)
        blended, _ = _square(kernel, hyper)
        return cls(kernel, hyper, ExactProcess(blended, values, hyper.noise), ratios)

    def predict(self, queries: Features) -> Raw:
        """Of M molecules."""
        raws = []
        for block in _blocks(len(queries)):
            cross, similarity = self.kernel.blend(_part(queries, block), self.hyper.weights)
            mean, variance = self.process.predict(cross)
            sd = np.sqrt(variance) * _error_scale(similarity, self.ratios)
            nearest = similarity.argmax(axis=1)
            best = similarity[np.arange(len(nearest)), nearest].astype(np.float64)
            raws.append(Raw(mean, sd, nearest.astype(np.int64), best))
        return _joined(raws)


def _left_out(
    residuals: _Floats, variance: _Floats, values: _Floats, similarity: _Singles, ratios: _Singles
) -> LeftOut:
    """Left-out predictions of all molecules; ``similarity`` (N, N) is 0 to what was left out."""
    sd = np.sqrt(variance) * _error_scale(similarity, ratios)
    nearest = similarity.max(axis=1, initial=0.0).astype(np.float64)
    return LeftOut(np.arange(len(values)), values - residuals, sd, nearest)


def _square(kernel: Kernel, hyper: Hyperparameters) -> tuple[_Singles, _Singles]:
    """(the weighted kernel, its circular part) among the reference molecules, (N, N) each."""
    count = len(kernel)
    blended, similarity = (np.empty((count, count), dtype=np.float32) for _ in range(2))
    for block in _blocks(count):
        rows = _part(kernel.reference, block)
        blended[block], similarity[block] = kernel.blend(rows, hyper.weights)
    return blended, similarity


# Sparse ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SparseRegression:
    """Above 5,000 molecules: a trend on inducing molecules, and its residuals kriged locally."""

    hyper: Hyperparameters
    inducing: _Ints  # (U,)
    trend_kernel: Kernel  # with the inducing molecules
    process: SparseProcess
    similar: MinMax  # to all training molecules
    bits: NDArray[np.uint8]  # (N, bytes) folded features for the kernel among neighbors
    residuals: _Singles  # (N,) of the trend, left out
    ratios: _Singles  # (N,) log of these over their usual size, centered
    local: tuple[int, float]  # power and noise of the local correction

    @classmethod
    def fit(cls, features: Features, values: _Floats) -> tuple[SparseRegression, tuple[LeftOut]]:
        """The regression, and its left-out predictions of a sample, one at a time."""
        hyper = _tuned(features, values)
        order = _shuffled(len(values))
        inducing = np.sort(order[:INDUCING])
        trend_kernel, process = _empty_trend(features, inducing, hyper)
        # Half precision is enough for residuals: 400 MB for 100,000 molecules.
        points = np.empty((len(values), len(inducing)), dtype=np.float16)
        for block in _blocks(len(values), 4 * BLOCK):
            cross, _ = trend_kernel.blend(_part(features, block), hyper.weights)
            points[block] = process.add(cross, values[block])
        process.finish()
        residuals = np.empty(len(values), dtype=np.float32)
        for block in _blocks(len(values), 4 * BLOCK):
            residuals[block] = process.left_out(points[block].astype(np.float32), values[block])
        ratios = log_ratio(residuals.astype(np.float64), residuals.std(dtype=np.float64))
        fitted = cls.assemble(
            features, hyper, inducing, trend_kernel, process, residuals,
            (ratios - ratios.mean()).astype(np.float32), LOCAL[-1],
        )  # fmt: skip
        # Not the inducing molecules: the trend knows them best.
        sample = np.sort(order[::-1][:CALIBRATED])
        sampled = points[sample].astype(np.float32)
        chosen, left = fitted._with_local(features, values, sample, sampled)
        return chosen, (left,)

    @classmethod
    def assemble(
        cls, features: Features, hyper: Hyperparameters, inducing: _Ints, trend_kernel: Kernel,
        process: SparseProcess, residuals: _Singles, ratios: _Singles, local: tuple[int, float],
    ) -> SparseRegression:  # fmt: skip
        """From its fitted pieces."""
        return cls(
            hyper, inducing, trend_kernel, process, MinMax(features.circular),
            hashed_bits(features.circular), residuals, ratios, local,
        )  # fmt: skip

    @classmethod
    def rebuild(
        cls, features: Features, hyper: Hyperparameters, inducing: _Ints,
        state: dict[str, NDArray[np.floating]], scales: tuple[float, float], residuals: _Singles,
        ratios: _Singles, local: tuple[int, float],
    ) -> SparseRegression:  # fmt: skip
        """A fitted regression from what was stored of it."""
        trend_kernel, process = _empty_trend(features, inducing, hyper)
        process.restore(state, *scales)  # amplitude and noise
        return cls.assemble(
            features, hyper, inducing, trend_kernel, process, residuals, ratios, local
        )

    def _with_local(
        self, features: Features, values: _Floats, sample: _Ints, points: _Singles
    ) -> tuple[SparseRegression, LeftOut]:
        """Choose the local correction by its left-out errors on a sample of the molecules."""
        near, similarity = self._neighbors(features.take(sample).circular, sample)
        tried = self._corrections(self.bits[sample], near, LOCAL)
        errors = [float(np.square(self.residuals[sample] - mean).mean()) for mean, _ in tried]
        best = int(np.argmin(errors))
        chosen = replace(self, local=LOCAL[best])
        correction, explained = tried[best]
        trend = values[sample] - self.residuals[sample]
        _, variance, left = chosen.process.predict(points)
        sd = chosen._spread(variance, left, explained, similarity, near)
        return chosen, LeftOut(sample, trend + correction, sd, similarity[:, 0].astype(np.float64))

    def predict(self, queries: Features) -> Raw:
        """Of M molecules."""
        raws = []
        for block in _blocks(len(queries)):
            part = _part(queries, block)
            cross, _ = self.trend_kernel.blend(part, self.hyper.weights)
            points = self.process.project(cross)
            mean, trend, left = self.process.predict(points)
            near, similarity = self._neighbors(part.circular)
            ((correction, explained),) = self._corrections(
                hashed_bits(part.circular), near, [self.local]
            )
            sd = self._spread(trend, left, explained, similarity, near)
            best = similarity[:, 0].astype(np.float64)
            raws.append(Raw(mean + correction, sd, near[:, 0], best))
        return _joined(raws)

    def _neighbors(self, queries: Counts, itself: _Ints | None = None) -> tuple[_Ints, _Singles]:
        """Numbers and similarities of the nearest training molecules, (M, K) each."""
        count = len(queries)
        near = np.empty((count, min(NEIGHBORS, len(self.similar))), dtype=np.int64)
        best = np.empty(near.shape, dtype=np.float32)
        for block in _blocks(count, 128):  # 50 MB for 100,000 molecules
            items = np.arange(block.start, block.stop, dtype=np.int64)
            similarity = self.similar(queries.take(items))
            if itself is not None:
                similarity[np.arange(len(items)), itself[block]] = -1
            near[block] = nearest_columns(similarity, NEIGHBORS)
            best[block] = np.take_along_axis(similarity, near[block], axis=1)
        return near, best

    def _corrections(
        self, bits: NDArray[np.uint8], near: _Ints, settings: Sequence[tuple[int, float]]
    ) -> list[tuple[_Floats, _Floats]]:
        """For each setting (kriged residual, share of its variance explained), (M,) each."""
        collected = [[(np.zeros(0), np.zeros(0))] for _ in settings]
        for block in _blocks(len(near), 128):  # 35 MB of unpacked bits
            between, cross = _bit_kernel(bits[block], self.bits[near[block]])
            values = self.residuals[near[block]]
            for (power, noise), parts in zip(settings, collected, strict=True):
                parts.append(krige(between**power, cross**power, values, noise))
        return [
            (np.concatenate([mean for mean, _ in parts]), np.concatenate([s for _, s in parts]))
            for parts in collected
        ]

    def _spread(
        self, trend: _Floats, left: _Floats, explained: _Floats, similarity: _Singles, near: _Ints
    ) -> _Floats:
        """Standard deviation of a new measurement, (M,), from both variances of the process."""
        open_ = self.process.amplitude * (self.process.noise + left * (1 - explained))
        scale: _Floats = _error_scale(similarity, self.ratios[near])
        return np.sqrt(trend + open_) * scale


def _empty_trend(
    features: Features, inducing: _Ints, hyper: Hyperparameters
) -> tuple[Kernel, SparseProcess]:
    chosen = features.take(inducing)
    kernel = Kernel(chosen)
    return kernel, SparseProcess(_square(kernel, hyper)[0], hyper.noise)


def _bit_kernel(query: NDArray[np.uint8], near: NDArray[np.uint8]) -> tuple[_Singles, _Singles]:
    """Tanimoto similarity (among neighbors (M, K, K), of each query with its own (M, K)).

    ``query`` (M, bytes), ``near`` (M, K, bytes): packed bits.
    """
    together = np.concatenate([query[:, None], near], axis=1)
    bits = np.unpackbits(together, axis=2).astype(np.float32)
    shared = bits @ bits.transpose(0, 2, 1)  # (M, K + 1, K + 1)
    sizes = np.diagonal(shared, axis1=1, axis2=2)
    union = sizes[:, :, None] + sizes[:, None] - shared
    similarity = np.where(union > 0, shared / np.maximum(union, 1), 1.0).astype(np.float32)
    return similarity[:, 1:, 1:], similarity[:, 0, 1:]
