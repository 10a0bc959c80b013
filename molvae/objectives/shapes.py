"""Desirability functions: a measured number → how good it is, from 0 to 1.

Harrington 1965, Derringer & Suich 1980; the Gaussian ones as GuacaMol has them (Brown et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

__all__ = ["AtLeast", "AtMost", "Gaussian", "Ramp", "Shape", "Window"]


class Shape(Protocol):
    """A desirability function; NaN gives NaN."""

    def __call__(self, value: float) -> float:
        """The desirability of a value."""


@dataclass(frozen=True)
class Window:
    """1 from ``low`` to ``high``, and outside a Gaussian of the distance with spread ``sigma``."""

    low: float
    high: float
    sigma: float

    def __call__(self, value: float) -> float:
        """The desirability of a value."""
        distance = max(self.low - value, value - self.high, 0.0) if value == value else math.nan
        return math.exp(-0.5 * (distance / self.sigma) ** 2)


class Gaussian(Window):
    """1 at ``mu``, a Gaussian of spread ``sigma`` around it."""

    def __init__(self, mu: float, sigma: float) -> None:
        super().__init__(mu, mu, sigma)


class AtLeast(Window):
    """1 from ``mu`` upwards, half a Gaussian of spread ``sigma`` below."""

    def __init__(self, mu: float, sigma: float) -> None:
        super().__init__(mu, math.inf, sigma)


class AtMost(Window):
    """1 up to ``mu``, half a Gaussian of spread ``sigma`` above."""

    def __init__(self, mu: float, sigma: float) -> None:
        super().__init__(-math.inf, mu, sigma)


@dataclass(frozen=True)
class Ramp:
    """0 at ``zero``, 1 at ``one``, linear in between, constant outside; either may be greater."""

    zero: float
    one: float

    def __call__(self, value: float) -> float:
        """The desirability of a value."""
        share = (value - self.zero) / (self.one - self.zero)
        return min(max(share, 0.0), 1.0) if share == share else math.nan
