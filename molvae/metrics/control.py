"""How well molecules meet what was asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.conditions import Target, hit
from molvae.metrics.base import Metric, ratio

__all__ = ["Control", "control"]


@dataclass(frozen=True)
class Control:
    """How well molecules meet one target.

    ``metric`` is the mean absolute distance (MAD) for a point and the hit rate for a range.
    ``mean``, ``sd`` and, for a point, ``bias`` (mean obtained minus requested) say how the obtained
    values lie; their unit is the property's.
    """

    target: str
    kind: str  # "MAD" or "hit rate"
    metric: Metric
    mean: float | None
    sd: float | None
    bias: float | None
    missing: int  # valid molecules without a value, left out
    source: str  # where the values come from

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the metric under the name of its kind."""
        data = asdict(self)
        kind, _ = data.pop("kind"), data.pop("metric")
        return {"target": data.pop("target"), kind: self.metric.to_json(), **data}


def control(target: Target, values: NDArray[np.floating[Any]], *, source: str = "RDKit") -> Control:
    """Compare obtained values, NaN where unknown, with a target."""
    obtained = np.asarray(values, dtype=np.float64)
    known = obtained[~np.isnan(obtained)]
    n, missing = len(known), len(values) - len(known)
    note = f"{missing:,} valid molecules have no value" if missing else ""
    nothing = "no valid molecule has a value"
    if target.is_point:
        kind = "MAD"
        value = float(np.abs(known - target.low).mean()) if n else None
        metric = Metric(value, n, note=note if n else nothing)
    else:
        kind = "hit rate"
        metric = ratio(int(hit(target, known).sum()), n, nothing, note)
    mean = float(known.mean()) if n else None
    return Control(
        target=target.text,
        kind=kind,
        metric=metric,
        mean=mean,
        sd=float(known.std()) if n else None,
        bias=mean - target.low if mean is not None and target.is_point else None,
        missing=missing,
        source=source,
    )
