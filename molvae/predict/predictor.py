"""The predictor of one measured column: fitted to molecules and values, asked of any molecules.

Shapes: ``N`` molecules with a value, ``M`` queries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molvae.errors import PropertyError
from molvae.predict.calibration import Calibration
from molvae.predict.classifier import Logistic
from molvae.predict.domain import domain_threshold
from molvae.predict.kernel import Features, read_features
from molvae.predict.regression import (
    EXACT,
    ExactRegression,
    LeftOut,
    Regression,
    SparseRegression,
)

__all__ = [
    "EVIDENCE",
    "FEWEST",
    "INTERVAL",
    "LEVEL",
    "MOST",
    "ColumnPredictor",
    "Kind",
    "Predictions",
]

_Floats = NDArray[np.float64]
Kind = Literal["number", "yesno"]

LEVEL = 0.9  # of the intervals
FEWEST = 10  # molecules with a value; below there are no intervals
INTERVAL = ("_low", "_high")  # endings of output columns
EVIDENCE = ("_nearest", "_similarity", "_nearest_value", "_inside")
MOST = 200_000  # molecules that a predictor is fitted to; of more, a random sample


@dataclass(frozen=True)
class Predictions:
    """Of M molecules; NaN, empty and False in the rows of SMILES that are not valid.

    For a yes/no column ``mean`` and ``probability`` are both the probability of yes, and ``sd``,
    ``low`` and ``high`` are NaN.
    """

    mean: _Floats  # (M,) in the column's unit
    sd: _Floats  # (M,) of a new measurement
    low: _Floats  # (M,) ends of the calibrated interval
    high: _Floats  # (M,)
    probability: _Floats  # (M,) of yes; NaN for a number
    nearest: tuple[str, ...]  # SMILES of the most similar training molecule
    similarity: _Floats  # (M,) to it: Tanimoto, counted ECFP4
    nearest_value: _Floats  # (M,) measured of it
    inside: NDArray[np.bool_]  # (M,) whether it is similar enough for the error bars to hold

    def __len__(self) -> int:
        return len(self.mean)

    def blanked(self, valid: NDArray[np.bool_]) -> Predictions:
        """The same, with nothing in the rows that are not valid."""
        numbers = (self.mean, self.sd, self.low, self.high, self.probability)
        mean, sd, low, high, probability = (np.where(valid, array, np.nan) for array in numbers)
        return Predictions(
            mean, sd, low, high, probability,
            tuple(text if ok else "" for text, ok in zip(self.nearest, valid, strict=True)),
            np.where(valid, self.similarity, np.nan), np.where(valid, self.nearest_value, np.nan),
            self.inside & valid,
        )  # fmt: skip

    def pessimistic(self, deviations: float = 1.0) -> _Floats:
        """``mean - deviations * sd``, for a search that must not flee the data; (M,).

        Negative ``deviations`` are for a search for low values. Of a yes/no column the probability
        of what is searched for, times the similarity outside the domain unless ``deviations`` is 0.
        """
        if np.isnan(self.probability).all():
            return self.mean - deviations * np.nan_to_num(self.sd, nan=0.0)
        trust = np.where(self.inside | (deviations == 0), 1.0, self.similarity)
        return self.mean * trust if deviations >= 0 else 1 - (1 - self.mean) * trust


@dataclass(frozen=True)
class ColumnPredictor:
    """What a measured column is expected to be for any molecule, and how sure that is.

    ``smiles`` and ``features`` are of the N molecules with a value, ``values`` these. Make one with
    :meth:`fit`.
    """

    kind: Kind
    smiles: tuple[str, ...]
    features: Features
    values: _Floats
    regression: Regression
    calibration: Calibration
    logistic: Logistic | None  # of yes/no columns
    threshold: float  # similarity from which on a molecule is inside the domain

    @classmethod
    def fit(
        cls,
        smiles: Sequence[str],
        values: NDArray[np.floating[Any]],
        kind: Kind = "number",
        *,
        features: Features | None = None,
        name: str = "column",
    ) -> ColumnPredictor:
        """Fit to measured molecules; NaN is a gap, and a SMILES that is not valid another.

        ``features`` of the molecules, if they are known already. The same molecule may stand there
        more than once: repeats are measurements that disagree by the noise. Exact up to
        :data:`molvae.predict.regression.EXACT` molecules.

        Raises:
            PropertyError: no molecule has a value, or a yes/no column holds something else.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.shape != (len(smiles),):
            raise PropertyError(
                f"'{name}': got {len(smiles)} molecules and values of shape {given.shape}; "
                "expected one value per molecule"
            )
        if features is None:
            features, valid = read_features(smiles)
            given = np.where(valid, given, np.nan)
        items = _usable(given, kind, name)
        chosen = tuple(smiles[i] for i in items.tolist())
        return cls._fitted(chosen, features.take(items), given[items], kind)

    @classmethod
    def _fitted(
        cls, smiles: tuple[str, ...], features: Features, values: _Floats, kind: Kind
    ) -> ColumnPredictor:
        regression: Regression
        lefts: tuple[LeftOut, ...]
        if len(values) <= EXACT:
            regression, lefts = ExactRegression.fit(features, values)
        else:
            regression, lefts = SparseRegression.fit(features, values)
        if len(values) < 2:  # nothing is left when the only molecule is left out
            calibration, threshold = Calibration.fit(np.zeros(0)), domain_threshold(np.zeros(0))
        else:
            calibration, threshold = (
                _calibrated(lefts, values),
                domain_threshold(lefts[0].similarity),
            )
        logistic = _logistic(lefts, values) if kind == "yesno" else None
        return cls(kind, smiles, features, values, regression, calibration, logistic, threshold)

    def predict(
        self,
        smiles: Sequence[str],
        *,
        level: float = LEVEL,
        features: Features | None = None,
    ) -> Predictions:
        """Of M molecules; ``level`` is the probability that a value lies in its interval.

        ``features`` of the molecules, if they are known; then all SMILES count as valid.
        """
        valid = np.ones(len(smiles), dtype=np.bool_)
        if features is None:
            features, valid = read_features(smiles)
        mean, sd, near, similarity = self.regression.predict(features)
        sd = sd * self.calibration.scale(similarity)
        missing = np.full(len(mean), np.nan)
        probability, low, high = missing, missing, missing
        if self.logistic is not None:
            mean = probability = self.logistic(mean)
            sd = missing
        elif len(self.values) >= FEWEST:
            low = mean + sd * self.calibration.quantile((1 - level) / 2)
            high = mean + sd * self.calibration.quantile((1 + level) / 2)
        else:
            sd = missing
        nearest = tuple(self.smiles[i] for i in near.tolist())
        inside = similarity >= self.threshold
        predictions = Predictions(
            mean, sd, low, high, probability, nearest, similarity, self.values[near], inside
        )
        return predictions if valid.all() else predictions.blanked(valid)

    def endings(self) -> list[str]:
        """Endings of the columns that :meth:`cells` fills, after the name of the measured column.

        The prediction itself has none; a yes/no column has no interval.
        """
        return ["", *(INTERVAL if self.kind == "number" else ()), *EVIDENCE]

    def cells(self, predictions: Predictions, i: int) -> list[object]:
        """Of molecule ``i``: prediction, interval, nearest training molecule, inside the domain."""
        of = predictions
        ends = [float(of.low[i]), float(of.high[i])] if self.kind == "number" else []
        if not of.nearest[i]:
            return [None] * len(self.endings())
        near: list[object] = [
            of.nearest[i],
            float(of.similarity[i]),
            float(f"{of.nearest_value[i]:.7g}"),
        ]
        return [float(of.mean[i]), *ends, *near, "yes" if of.inside[i] else "no"]

    def between(self, predictions: Predictions, low: float, high: float) -> _Floats:
        """Probability that the true value lies from ``low`` to ``high``, ends included; (M,).

        Of a yes/no column, yes is 1 and no is 0. NaN for fewer than :data:`FEWEST` molecules.
        """
        if self.logistic is not None:
            yes = predictions.probability
            return yes * (low <= 1 <= high) + (1 - yes) * (low <= 0 <= high)
        sd = np.where(predictions.sd > 0, predictions.sd, 1e-12)
        ends = [(end - predictions.mean) / sd for end in (low, high)]
        share = self.calibration.cdf(ends[1]) - self.calibration.cdf(ends[0])
        return np.where(np.isnan(predictions.sd), np.nan, np.clip(share, 0.0, 1.0))

    def meets(self, predictions: Predictions, low: float, high: float) -> _Floats:
        """:meth:`between`, and less outside the domain, by the similarity over the threshold."""
        share = self.between(predictions, low, high)
        trust = np.where(predictions.inside, 1.0, predictions.similarity / self.threshold)
        return share * trust

    def attainable(self, predictions: Predictions, low: float, high: float) -> _Floats:
        """:meth:`between` if each prediction were the middle of a bounded range; (M,)."""
        if self.logistic is not None or not math.isfinite(low + high):
            return np.ones(len(predictions))
        middle = np.full(len(predictions), (low + high) / 2)
        return self.between(replace(predictions, mean=middle), low, high)


def _usable(values: _Floats, kind: Kind, name: str) -> NDArray[np.int64]:
    """Numbers of the molecules to fit to."""
    items = np.flatnonzero(np.isfinite(values)).astype(np.int64)
    if not len(items):
        raise PropertyError(f"'{name}': no molecule has a value; expected at least one")
    if kind == "yesno" and not np.isin(values[items], (0.0, 1.0)).all():
        strange = next(v for v in values[items].tolist() if v not in (0.0, 1.0))
        raise PropertyError(f"'{name}': got {strange:g} in a yes/no column; expected 0, 1 or a gap")
    if len(items) > MOST:
        items = np.sort(np.random.default_rng(0).permutation(items)[:MOST])
    return items


def _calibrated(lefts: tuple[LeftOut, ...], values: _Floats) -> Calibration:
    """From all left-out predictions, whether one molecule or its cluster was left out."""
    errors = [
        (values[left.items] - left.mean) / np.where(left.sd > 0, left.sd, 1.0) for left in lefts
    ]
    similarity = np.concatenate([left.similarity for left in lefts])
    return Calibration.fit(np.concatenate(errors), similarity)


def _logistic(lefts: tuple[LeftOut, ...], values: _Floats) -> Logistic:
    if len(values) < 2:
        share = (float(values.sum()) + 1) / (len(values) + 2)
        return Logistic(0.0, math.log(share / (1 - share)))
    means = np.concatenate([left.mean for left in lefts])
    return Logistic.fit(means, np.concatenate([values[left.items] for left in lefts]))
