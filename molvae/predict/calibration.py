"""From standardized errors on left-out molecules to intervals and probabilities that hold.

A predicted distribution is ``mean + sd * scale(similarity) * Z``. The quantiles of Z are those of
``(value - mean) / (sd * scale)`` of left-out molecules, as in the jackknife+ and conformal
prediction (Barber et al. 2021), pulled towards the standard normal where there are few molecules.
The scale is log-linear in the similarity to the nearest molecule that was not left out: errors far
from the data exceed what a process states, which only molecules left out with their whole cluster
can show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ModelFolderError
from molvae.predict.gaussian_process import log_ratio
from molvae.runtime.randomness import normal_cdf, normal_quantile

__all__ = ["Calibration"]

_Floats = NDArray[np.float64]

SCORES = np.linspace(-3.0, 3.0, 61)  # normal scores at which quantiles are kept
SHRINKAGE = 20  # left-out molecules that count as much as the assumption of a normal distribution
_STEEPEST = 3.0  # slope of the scale: an error 20 times as large at similarity 0 as at 1
_LEAST_STEP = 1e-3  # between neighboring quantiles, so that the map can be inverted


@dataclass(frozen=True)
class Calibration:
    """Quantiles of Z at the normal scores :data:`SCORES`; linear with slope 1 beyond them."""

    quantiles: tuple[float, ...]
    slope: float = 0.0  # of the logarithm of the scale on the similarity; never positive
    middle: float = 0.0  # similarity at which the scale is 1

    @classmethod
    def fit(cls, errors: _Floats, similarity: _Floats | None = None) -> Calibration:
        """From standardized errors (N,) of left-out molecules; none of them gives the normal.

        ``similarity`` (N,) to the nearest molecule that was not left out; without it the scale
        is 1.
        """
        known = np.isfinite(errors)
        errors, slope, middle = errors[known], 0.0, 0.0
        if not len(errors):
            return cls(tuple(SCORES.tolist()))
        if similarity is not None:
            slope, middle = _trend(log_ratio(errors, np.ones(len(errors))), similarity[known])
            errors = errors / np.exp(slope * (similarity[known] - middle))
        count = len(errors)
        # One more than there are, as a new molecule is one of N + 1 (conformal prediction).
        levels = np.clip(normal_cdf(SCORES), 0.5 / (count + 1), 1 - 0.5 / (count + 1))
        ranks = (np.arange(count) + 1) / (count + 1)
        measured = np.interp(levels, ranks, np.sort(errors))
        share = count / (count + SHRINKAGE)
        mixed = share * measured + (1 - share) * SCORES
        rising = np.maximum.accumulate(mixed) + _LEAST_STEP * np.arange(len(mixed))
        return cls(tuple(rising.tolist()), slope, middle)

    def scale(self, similarity: _Floats) -> _Floats:
        """Factor of the standard deviation, elementwise."""
        factor: _Floats = np.exp(self.slope * (similarity - self.middle))
        return factor

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

    def to_json(self) -> dict[str, object]:
        """What :meth:`from_json` reads."""
        return {"quantiles": list(self.quantiles), "slope": self.slope, "middle": self.middle}

    @classmethod
    def from_json(cls, data: object) -> Calibration:
        """What was stored; anything else is an error."""
        if not isinstance(data, dict) or set(data) != {"quantiles", "slope", "middle"}:
            raise ModelFolderError(
                f"predictors.json: calibration: got {str(data)[:80]}, expected quantiles, slope "
                "and middle"
            )
        quantiles = data["quantiles"]
        if (
            not isinstance(quantiles, list)
            or len(quantiles) != len(SCORES)
            or not all(_is_finite(number) for number in quantiles)
            or not (np.diff(quantiles) > 0).all()
        ):
            raise ModelFolderError(
                f"predictors.json: calibration: expected {len(SCORES)} rising numbers"
            )
        slope, middle = data["slope"], data["middle"]
        if not (_is_finite(slope) and -_STEEPEST <= slope <= 0 and _is_finite(middle)):
            raise ModelFolderError(
                f"predictors.json: calibration: got slope {slope!r} and middle {middle!r}, "
                f"expected a slope from -{_STEEPEST:g} to 0 and a number"
            )
        return cls(tuple(float(q) for q in quantiles), float(slope), float(middle))


def _is_finite(number: object) -> bool:
    return (
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    )


def _trend(logs: _Floats, similarity: _Floats) -> tuple[float, float]:
    """(slope, mean similarity) of a least squares line, its slope at most 0.

    A slope of 0 counts as much as :data:`SHRINKAGE` molecules whose similarity varies as here.
    """
    middle = float(similarity.mean())
    away = similarity - middle
    squares = float(away @ away) * (1 + SHRINKAGE / len(logs))
    slope = float(away @ logs) / squares if squares > 0 else 0.0
    return float(np.clip(slope, -_STEEPEST, 0.0)), middle
