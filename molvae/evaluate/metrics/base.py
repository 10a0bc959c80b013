"""A number with what it was computed from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Metric", "ratio"]


NO_VALID = "no valid molecule"


@dataclass(frozen=True)
class Metric:
    """A number with what it was computed from.

    ``value`` is None where it cannot be computed and ``note`` then says why. Ratios carry
    ``numerator`` and ``denominator``; ``n`` is how many molecules went in. ``interval`` holds 95 %
    of the bootstrap's values, where it was asked for.
    """

    value: float | None
    n: int
    numerator: float | None = None
    denominator: float | None = None
    note: str = ""
    interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data; parts that do not apply are left out, ``value`` and ``n`` never."""
        data = {k: v for k, v in asdict(self).items() if k in ("value", "n") or v not in (None, "")}
        return data if self.interval is None else {**data, "interval": list(self.interval)}


def ratio(numerator: int, denominator: int, nothing: str, note: str = "") -> Metric:
    """``numerator / denominator``, or, where that is 0, no value and what ``nothing`` says."""
    if denominator == 0:
        return Metric(None, 0, numerator, denominator, nothing)
    return Metric(numerator / denominator, denominator, numerator, denominator, note)
