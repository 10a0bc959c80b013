"""Results of an evaluation, in a stable JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import report
from molvae.evaluate.bootstrap import Replicates, difference
from molvae.evaluate.metrics import Control, Metric

__all__ = ["Comparison", "Curves", "PropertySummary", "Report"]

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class PropertySummary:
    """One property of the valid generated molecules; ``w1`` against the reference."""

    generated: NDArray[np.float64]
    reference: NDArray[np.float64] | None
    w1: Metric

    def to_json(self) -> dict[str, Any]:
        """Plain data: figures of the generated values, and of the reference where there is one."""
        data = {**_figures(self.generated), "W1": self.w1.to_json()}
        if self.reference is not None:
            data["reference"] = _figures(self.reference)
        return data


def _figures(values: NDArray[np.float64]) -> dict[str, float | int | None]:
    if not len(values):
        return {"n": 0, "mean": None, "sd": None, "min": None, "max": None}
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


@dataclass(frozen=True)
class Curves:
    """Metrics of the first ``n`` of the valid molecules in a random order."""

    n: Sequence[int]
    metrics: Mapping[str, Sequence[float | None]]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"n": list(self.n), "metrics": {k: list(v) for k, v in self.metrics.items()}}


@dataclass(frozen=True, eq=False)
class Report:
    """All results of one set of molecules; the JSON form is stable."""

    name: str
    n: int  # generated rows, valid or not
    described: int  # valid molecules behind all metrics but valid, unique and novelty
    metrics: dict[str, Metric]
    properties: dict[str, PropertySummary]
    targets: dict[str, Control]
    curves: Curves
    reference: str | None  # "test", "train" or None: what properties are compared with
    versions: dict[str, str]
    seed: int
    inputs: dict[str, Any]
    notes: list[str]
    replicates: dict[str, Replicates] = field(default_factory=dict)  # of the bootstrap
    cards: list[report.Card] = field(default_factory=list)  # only where drawings were asked for

    def to_json(self) -> dict[str, Any]:
        """Plain data with a schema number."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "n": self.n,
            "described": self.described,
            "metrics": {name: metric.to_json() for name, metric in self.metrics.items()},
            "properties": {name: p.to_json() for name, p in self.properties.items()},
            "targets": {name: target.to_json() for name, target in self.targets.items()},
            "curves": self.curves.to_json(),
            "reference": self.reference,
            "notes": self.notes,
            "inputs": self.inputs,
            "seed": self.seed,
            "versions": self.versions,
        }

    def figures(self) -> dict[str, Metric]:
        """Every metric by the name of its replicates."""
        return {
            **self.metrics,
            **{f"{name} W1": summary.w1 for name, summary in self.properties.items()},
            **{f"{t.target} {t.kind}": t.metric for t in self.targets.values()},
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several sets evaluated with the same options; differences are to the first."""

    reports: Sequence[Report]

    def notes(self) -> list[str]:
        """Warnings that the sets are hard to compare."""
        counts = {result.name: result.described for result in self.reports}
        if len(set(counts.values())) == 1:
            return []
        least = min((count for count in counts.values() if count > 1), default=0)
        if least == max(counts.values()):
            return []  # only one set has more than one molecule
        listing = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return [
            f"described molecules: {listing}. FCD, Scaf, unique and others depend on the number; "
            f"to compare equal numbers, take --sample {least}"
        ]

    def differences(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Per set but the first, per metric: value minus that of the first, with its interval."""
        first, *compared = self.reports
        base, replicates = first.figures(), first.replicates
        return {
            result.name: {
                name: difference(
                    base[name], metric, replicates.get(name), result.replicates.get(name)
                )
                for name, metric in result.figures().items()
                if name in base
            }
            for result in compared
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data with a schema number."""
        return {
            "schema": SCHEMA,
            "sets": [result.to_json() for result in self.reports],
            "differences": self.differences(),
            "notes": self.notes(),
        }
