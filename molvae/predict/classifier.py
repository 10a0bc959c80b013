"""From decision values to probabilities of yes: Platt scaling on left-out molecules.

A yes/no column is regressed as 0 and 1 with the same process as a number, so that the same label
written either way ranks alike. A logistic curve through the left-out predictions makes them
probabilities (Platt 1999, with the corrections of Lin, Lin & Weng 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Logistic"]

_Floats = NDArray[np.float64]

_STEPS = 100
_PRIOR = 3.0  # standard deviation of the slope, in logits per standard deviation of the decisions


@dataclass(frozen=True)
class Logistic:
    """``probability = 1 / (1 + exp(-(slope * decision + offset)))``; the slope is never negative.

    With slope 0 every molecule gets the share of yes.
    """

    slope: float
    offset: float

    @classmethod
    def fit(cls, decisions: _Floats, labels: _Floats) -> Logistic:
        """From decision values (N,) of left-out molecules and their labels, 0 or 1."""
        positive, count = float(labels.sum()), len(labels)
        share = (positive + 1) / (count + 2)
        flat = cls(0.0, float(np.log(share / (1 - share))))
        spread = float(decisions.std()) if count else 0.0
        if positive in (0, count) or not spread > 0:
            return flat
        # Platt's targets: one more of each kind may yet come.
        target = np.where(labels > 0.5, (positive + 1) / (positive + 2), 1 / (count - positive + 2))
        middle = float(decisions.mean())
        scaled = (decisions - middle) / spread
        slope, offset = _newton(scaled, target, flat.offset)
        if slope <= 0:
            return flat  # left-out molecules are ranked no better than by chance
        return cls(slope / spread, offset - slope * middle / spread)

    def __call__(self, decisions: _Floats) -> _Floats:
        """Probability of yes, elementwise."""
        probability: _Floats = _sigmoid(self.slope * decisions + self.offset)
        return probability


def _sigmoid(x: _Floats) -> _Floats:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def _newton(x: _Floats, target: _Floats, offset: float) -> tuple[float, float]:
    """(slope, offset) of least cross entropy plus a weak prior, by damped Newton steps."""
    inputs = np.stack([x, np.ones_like(x)], axis=1)
    place = np.asarray([1.0, offset])
    prior = np.asarray([1 / _PRIOR**2, 0.0])

    def cost(at: _Floats) -> float:
        logit = inputs @ at
        entropy = np.logaddexp(0, logit) - target * logit
        return float(entropy.sum() + 0.5 * prior @ at**2)

    for _ in range(_STEPS):
        share = _sigmoid(inputs @ place)
        gradient = inputs.T @ (share - target) + prior * place
        curvature = (inputs.T * (share * (1 - share))) @ inputs + np.diag(prior + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while cost(place - size * step) > cost(place) and size > 1e-6:
            size /= 2
        place = place - size * step
        if float(np.abs(size * step).max()) < 1e-8:
            break
    return float(place[0]), float(place[1])
