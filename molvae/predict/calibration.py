"""From standardized errors on left-out molecules to intervals and probabilities that hold.

A predicted distribution is ``mean + sd * Z``. What Z is, the left-out molecules tell: its quantiles
are those of their ``(value - mean) / sd``, as in the jackknife+ and conformal prediction (Barber et
al. 2021), pulled towards the standard normal where there are few molecules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ModelFolderError
from molvae.runtime.randomness import normal_cdf, normal_quantile

__all__ = ["Calibration"]

_Floats = NDArray[np.float64]

SCORES = np.linspace(-3.0, 3.0, 61)  # normal scores at which quantiles are kept
SHRINKAGE = 20  # left-out molecules that count as much as the assumption of a normal distribution
_LEAST_STEP = 1e-3  # between neighboring quantiles, so that the map can be inverted


@dataclass(frozen=True)
class Calibration:
    """Quantiles of Z at the normal scores :data:`SCORES`; linear with slope 1 beyond them."""

    quantiles: tuple[float, ...]

    @classmethod
    def fit(cls, errors: _Floats) -> Calibration:
        """From standardized errors (N,) of left-out molecules; none of them gives the normal."""
        errors = errors[np.isfinite(errors)]
        if not len(errors):
            return cls(tuple(SCORES.tolist()))
        count = len(errors)
        # One more than there are, as a new molecule is one of N + 1 (conformal prediction).
        levels = np.clip(normal_cdf(SCORES), 0.5 / (count + 1), 1 - 0.5 / (count + 1))
        ranks = (np.arange(count) + 1) / (count + 1)
        found = np.interp(levels, ranks, np.sort(errors))
        share = count / (count + SHRINKAGE)
        mixed = share * found + (1 - share) * SCORES
        rising = np.maximum.accumulate(mixed) + _LEAST_STEP * np.arange(len(mixed))
        return cls(tuple(rising.tolist()))

    def quantile(self, probability: float) -> float:
        """The value below which Z lies with this probability."""
        score = float(normal_quantile(np.asarray([probability]))[0])
        beyond = score - float(np.clip(score, SCORES[0], SCORES[-1]))
        return float(np.interp(score, SCORES, self.quantiles)) + beyond

    def cdf(self, z: _Floats) -> _Floats:
        """Probability that Z is at most ``z``, elementwise; infinities are fine."""
        low, high = self.quantiles[0], self.quantiles[-1]
        inside = np.interp(z, self.quantiles, SCORES)
        return normal_cdf(inside + np.where(z < low, z - low, 0) + np.where(z > high, z - high, 0))

    @classmethod
    def from_json(cls, data: object) -> Calibration:
        """What was stored; anything else is an error."""
        if (
            not isinstance(data, list)
            or len(data) != len(SCORES)
            or not all(isinstance(q, float | int) and np.isfinite(q) for q in data)
            or not (np.diff(data) > 0).all()
        ):
            raise ModelFolderError(
                f"predictors.json: calibration: expected {len(SCORES)} rising numbers"
            )
        return cls(tuple(float(q) for q in data))
