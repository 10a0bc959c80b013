"""How well molecules meet the requested values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.errors import InputError
from molvae.evaluate.metrics.base import Metric, ratio
from molvae.targets import Target, hit

__all__ = [
    "Bin",
    "Calibration",
    "Control",
    "calibrate",
    "control",
    "control_by_row",
    "is_yes_no",
]

BINS = 10
NOTHING = "no valid molecule has a value"

_Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Bin:
    """Means over molecules with similar requested values; ``sd`` is of the obtained values."""

    requested: float
    obtained: float
    sd: float
    n: int


@dataclass(frozen=True)
class Calibration:
    """Obtained values against requested ones: ``obtained = intercept + slope * requested``.

    By least squares; 1 and 0 are perfect. ``r2`` is the share of the variance of the obtained
    values that the line explains. All are None where only one value was requested.
    """

    slope: float | None
    intercept: float | None
    r2: float | None
    bins: Sequence[Bin]


@dataclass(frozen=True)
class Control:
    """How well molecules meet one target.

    ``metric`` is the mean absolute distance (MAD) for a point and the hit rate for a range.
    ``mean``, ``sd`` and, for a point, ``bias`` (mean obtained minus requested) say how the obtained
    values lie; their unit is the property's. ``scores`` are the terms whose mean is the metric, NaN
    for molecules without a value.
    """

    target: str
    kind: str  # "MAD" or "hit rate"
    metric: Metric
    mean: float | None
    sd: float | None
    bias: float | None
    missing: int  # valid molecules without a value, left out
    source: str  # where the values come from
    scores: NDArray[np.float64]
    calibration: Calibration | None = None  # if each molecule has another requested value

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the metric under the name of its kind."""
        names = ("mean", "sd", "bias", "missing", "source")
        data = {"target": self.target, self.kind: self.metric.to_json()}
        data |= {name: getattr(self, name) for name in names}
        return data if self.calibration is None else {**data, "calibration": self._calibration()}

    def _calibration(self) -> dict[str, Any]:
        return asdict(self.calibration) if self.calibration is not None else {}


def is_yes_no(target: Target, values: _Floats) -> bool:
    """Whether one of yes (1) and no (0) was asked for, and nothing else obtained."""
    return target.is_point and bool(np.isin([*values[~np.isnan(values)], target.low], (0, 1)).all())


def control(
    target: Target, values: _Floats, *, source: str = "RDKit", yes_no: bool = False
) -> Control:
    """Compare obtained values, NaN where unknown, with a target; ``yes_no`` ones are hit or not."""
    obtained = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(obtained)
    scores = np.full(len(obtained), np.nan)
    if target.is_point and not yes_no:
        scores[known] = np.abs(obtained[known] - target.low)
        kind, metric = "MAD", _mean(scores)
    else:
        scores[known] = hit(target, obtained[known])
        kind = "hit rate"
        metric = ratio(int(scores[known].sum()), int(known.sum()), NOTHING, _missing(scores))
    bias = obtained - target.low if target.is_point else None
    return _control(target.text, kind, metric, obtained, bias, scores, source)


def control_by_row(
    target: str, requested: _Floats, values: _Floats, *, source: str = "RDKit"
) -> Control:
    """Compare obtained values with what was requested for each, NaN where either is unknown.

    ``target`` is the text to call it by.
    """
    if len(requested) != len(values):
        raise InputError(f"{target}: {len(requested):,} requests for {len(values):,} values")
    gap = np.asarray(values, dtype=np.float64) - requested
    obtained = np.where(np.isnan(gap), np.nan, values)
    known = ~np.isnan(gap)
    metric = _mean(np.abs(gap))
    calibration = calibrate(np.asarray(requested)[known], obtained[known])
    return _control(target, "MAD", metric, obtained, gap, np.abs(gap), source, calibration)


def _mean(scores: NDArray[np.float64]) -> Metric:
    known = scores[~np.isnan(scores)]
    if not len(known):
        return Metric(None, 0, note=NOTHING)
    return Metric(float(known.mean()), len(known), note=_missing(scores))


def _missing(scores: NDArray[np.float64]) -> str:
    missing = int(np.isnan(scores).sum())
    return f"{missing:,} valid molecules have no value" if missing else ""


def _control(
    target: str,
    kind: str,
    metric: Metric,
    obtained: NDArray[np.float64],
    gap: NDArray[np.float64] | None,
    scores: NDArray[np.float64],
    source: str,
    calibration: Calibration | None = None,
) -> Control:
    known = obtained[~np.isnan(obtained)]
    bias = None if gap is None or not len(known) else float(np.nanmean(gap))
    return Control(
        target=target,
        kind=kind,
        metric=metric,
        mean=float(known.mean()) if len(known) else None,
        sd=float(known.std()) if len(known) else None,
        bias=bias,
        missing=len(obtained) - len(known),
        source=source,
        scores=scores,
        calibration=calibration,
    )


def calibrate(requested: _Floats, obtained: _Floats) -> Calibration:
    """The line through (requested, obtained), and means in up to ten bins of equal numbers.

    >>> result = calibrate(np.array([1.0, 1.0, 3.0, 3.0]), np.array([1.0, 2.0, 2.0, 3.0]))
    >>> result.slope, result.intercept, [b.obtained for b in result.bins]
    (0.5, 1.0, [1.5, 2.5])
    """
    x, y = np.asarray(requested, dtype=np.float64), np.asarray(obtained, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    levels = np.unique(x)
    if len(levels) <= BINS:
        groups = [np.flatnonzero(x == level) for level in levels]
    else:
        groups = np.array_split(order, BINS)
    bins = [Bin(float(x[g].mean()), float(y[g].mean()), float(y[g].std()), len(g)) for g in groups]
    if len(levels) < 2:
        return Calibration(None, None, None, bins)
    spread = ((x - x.mean()) ** 2).mean()
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / spread)
    r2 = float(slope**2 * spread / y.var()) if y.var() else None
    return Calibration(slope, float(y.mean() - slope * x.mean()), r2, bins)
