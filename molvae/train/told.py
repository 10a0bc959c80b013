"""What a training says: of a validation, of its own columns, and when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from molvae.conditions import ConditionSet, head_error

__all__ = ["TrainSummary", "column_lines", "validation_line"]


@dataclass
class TrainSummary:
    """What a training run did."""

    run: str
    finished: bool
    reason: str
    steps: int
    molecules: int
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def validation_line(found: dict[str, Any], latent_size: int) -> str:
    """The figures of a validation on one line."""
    d, information = found["D"], found["information"]
    return (
        f"D(0) {d['0']:.2f}  D(1) {d['1']:.2f}  R(0) {found['R']['0']:.1f} nats, "
        f"gap {found['gap']:.1f}, exact {found['exact']['value']:.1%}, "
        f"active {found['active_units']}/{latent_size}, "
        f"I {information['value']:.1f} of at most {information['cap']:.1f}"
    )


def column_lines(found: dict[str, Any], conditions: ConditionSet) -> Iterator[str]:
    """How well each own column is foretold for held-out molecules."""
    for one in conditions.conditions:
        known = head_error(found, one.name)
        if one.builtin or not known:
            continue
        unit = f" {one.unit}" if one.unit else ""
        spread = f"; its standard deviation is {one.std:.3g}{unit}" if one.kind == "number" else ""
        count = found["head"][one.name]["n"]
        yield f"{one.name} as foretold for {count:,} held-out molecules: {known}{spread}"
