"""Error of the property head on held-out molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.evaluate.metrics import Metric
from molvae.model.conditions import Condition, ConditionSet

__all__ = ["HeadError", "head_errors"]


@dataclass(frozen=True)
class HeadError:
    """The head's error for one condition over the molecules that have a value.

    ``error`` is the mean absolute error in the condition's unit, or, for yes/no, the accuracy.
    ``baseline`` is the same measure for always predicting the mean of these molecules, or the
    majority class. ``r2`` = 1 − Σ(y − ŷ)² / Σ(y − ȳ)² has no meaning for yes/no or equal values.
    """

    name: str
    kind: str  # "number" or "yesno"
    unit: str
    error: Metric
    baseline: float | None = None
    r2: float | None = None

    @property
    def key(self) -> str:
        """What ``error`` is: ``mae`` or ``accuracy``."""
        return "accuracy" if self.kind == "yesno" else "mae"

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the error under the name of its kind."""
        return {
            "unit": self.unit,
            self.key: self.error.to_json(),
            "baseline": self.baseline,
            "r2": self.r2,
        }


def head_errors(
    conditions: ConditionSet, heads: NDArray[np.float64], values: NDArray[np.float32]
) -> list[HeadError]:
    """One entry per condition from the head's standardized predictions and true values (N, C).

    A missing value (NaN) is left out; a yes/no answer is yes where the logit is positive.
    """
    restored = conditions.restore(heads)
    errors = []
    for k, condition in enumerate(conditions.conditions):
        known = ~np.isnan(values[:, k])
        truth = values[known, k].astype(np.float64)
        if not len(truth):
            nothing = Metric(None, 0, note="no molecule has a value")
            errors.append(HeadError(condition.name, condition.kind, condition.unit, nothing))
        elif condition.kind == "yesno":
            errors.append(_accuracy(condition, heads[known, k] > 0, truth > 0.5))
        else:
            errors.append(_distance(condition, restored[known, k], truth))
    return errors


def _accuracy(
    condition: Condition, answers: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> HeadError:
    right, n, yes = int((answers == truth).sum()), len(truth), int(truth.sum())
    error = Metric(right / n, n, right, n)
    return HeadError(condition.name, condition.kind, condition.unit, error, max(yes, n - yes) / n)


def _distance(
    condition: Condition, answers: NDArray[np.float64], truth: NDArray[np.float64]
) -> HeadError:
    error = Metric(float(np.abs(answers - truth).mean()), len(truth))
    around = truth - truth.mean()
    spread = float((around**2).sum())
    # Equal float32 values may differ from their mean by a rounding error.
    alike = float(np.ptp(truth)) == 0
    r2 = None if alike else 1 - float(((answers - truth) ** 2).sum()) / spread
    baseline = float(np.abs(around).mean())
    return HeadError(condition.name, condition.kind, condition.unit, error, baseline, r2)
