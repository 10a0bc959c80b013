"""Property values, targets and ranges ⇄ the standardized condition vector and its mask.

A *condition* is a property the model was trained with: a built-in one or a column of the user's
file. Missing values are masked, never imputed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molvae.chem.properties import PROPERTIES, property_versions, require_no_property
from molvae.data.columns import is_name
from molvae.errors import ModelFolderError, PropertyError, suggest
from molvae.runtime.randomness import Draws, normal_cdf, normal_quantile
from molvae.targets import Target

__all__ = ["QUANTILES", "Condition", "ConditionSet", "head_error", "install_advice"]

QUANTILES = 129  # of a condition that are kept
MOST_QUANTILES = 10_000
SWEEPS = 12


@dataclass(frozen=True, repr=False)
class Condition:
    """One property the model knows, with the statistics of its training values."""

    name: str
    kind: Literal["number", "yesno"]
    unit: str
    builtin: bool
    integer: bool
    known: int  # training molecules whose value is known
    mean: float
    std: float  # never 0: a constant column has std 1
    quantiles: tuple[float, ...]  # at evenly spaced probabilities from 0 to 1: seen minimum first
    package: str = ""  # name and version of the package of a plugin property

    def __repr__(self) -> str:
        """Without the quantiles."""
        low, high = self.seen
        unit = f" in {self.unit}" if self.unit else ""
        return (
            f"Condition({self.name}: {self.kind}{unit}, {self.known:,} known, "
            f"mean {self.mean:.4g}, sd {self.std:.4g}, seen {low:.4g} to {high:.4g})"
        )

    @property
    def seen(self) -> tuple[float, float]:
        """The smallest and greatest training value."""
        return self.quantiles[0], self.quantiles[-1]


class ConditionSet:
    """The conditions of a model, in the order of its vector, and their rank correlations."""

    def __init__(
        self, conditions: Sequence[Condition], correlations: NDArray[np.float64] | None = None
    ) -> None:
        """``correlations``: of the normal scores, shape (C, C); identity if not given."""
        self.conditions = tuple(conditions)
        self.names = tuple(c.name for c in conditions)
        if len(set(self.names)) != len(self.names):
            raise PropertyError(f"a condition name appears twice in {list(self.names)}")
        size = len(self.conditions)
        self.correlations = np.eye(size) if correlations is None else correlations
        if self.correlations.shape != (size, size):
            raise ModelFolderError(
                f"conditions: correlations have shape {self.correlations.shape}, "
                f"expected {(size, size)}"
            )
        self.mean = np.asarray([c.mean for c in self.conditions], dtype=np.float64)
        self.std = np.asarray([c.std for c in self.conditions], dtype=np.float64)
        self.yesno = np.asarray([c.kind == "yesno" for c in self.conditions], dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.conditions)

    def __repr__(self) -> str:
        return f"ConditionSet({', '.join(self.names)})"

    def __getitem__(self, name: str) -> Condition:
        if name not in self.names:
            raise PropertyError(f"unknown condition '{name}': {suggest(name, self.names)}")
        return self.conditions[self.names.index(name)]

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        values: NDArray[np.float32],
        kinds: Mapping[str, str],
        units: Mapping[str, str] | None = None,
    ) -> ConditionSet:
        """Statistics of training values, shape (N, C) with NaN for missing.

        ``units`` are those of the user's columns that have one.
        """
        conditions = []
        for i, name in enumerate(names):
            column = values[:, i].astype(np.float64)
            column = column[~np.isnan(column)]
            if not len(column):
                raise PropertyError(f"column '{name}': no molecule has a value")
            std = float(column.std())
            builtin = PROPERTIES.get(name)
            probabilities = np.linspace(0, 1, QUANTILES)
            yesno = kinds.get(name) == "yesno"
            integer = bool((column == np.round(column)).all())
            conditions.append(
                Condition(
                    name=name,
                    kind="yesno" if yesno else "number",
                    unit=builtin.unit if builtin else (units or {}).get(name, ""),
                    builtin=builtin is not None,
                    integer=builtin.integer if builtin else integer,
                    known=len(column),
                    # Yes and no are +1 and -1, also where only one of them was seen.
                    mean=0.5 if yesno else float(column.mean()),
                    std=0.5 if yesno else (std if std > 1e-12 else 1.0),
                    quantiles=tuple(float(q) for q in np.quantile(column, probabilities)),
                    package=property_versions([name]).get(name, ""),
                )
            )
        return cls(conditions, _score_correlations(values))

    def standardize(
        self, values: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(standardized values with 0 where missing, mask of the known), each shape (N, C)."""
        known = ~np.isnan(values)
        scaled = np.where(known, (values - self.mean) / self.std, 0.0)
        return scaled.astype(np.float32), known.astype(np.float32)

    def restore(self, scaled: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Values in their own units from standardized ones, shape (N, C)."""
        result: NDArray[np.float64] = scaled * self.std + self.mean
        return result

    def from_head(self, outputs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Values in their own units, or probabilities of yes, from the head's output, (N, C)."""
        share = 1.0 / (1.0 + np.exp(-outputs))
        return np.where(self.yesno, share, self.restore(outputs))

    def _in_units(self, name: str) -> str:
        """The unit of a user's column, as the end of a phrase; empty if it has none."""
        condition = self[name]
        return "" if condition.builtin or not condition.unit else f", in {condition.unit}"

    def warnings(self, targets: Sequence[Target]) -> list[str]:
        """One sentence for every target outside the range the model saw."""
        notes = []
        for target in targets:
            if target.name not in self.names:
                continue
            low, high = self[target.name].seen
            if target.low > high or target.high < low:
                notes.append(
                    f"target {target.text} lies outside what the model saw "
                    f"({target.name} from {low:g} to {high:g}{self._in_units(target.name)}); "
                    "expect few or poor matches"
                )
        return notes

    def draw(
        self, targets: Sequence[Target], items: NDArray[np.int64], draws: Draws
    ) -> NDArray[np.float64]:
        """Condition values for the numbered items, shape (len(items), C), NaN where not requested.

        Points are set as they are. Ranges are drawn jointly, given the points, from a Gaussian
        copula with the training quantiles as margins (Gibbs sampling of the truncated normal), so
        that a range is honored as a distribution. Other conditions stay missing: the model was
        trained on every subset.
        """
        requested = [t for t in targets if t.name in self.names]
        values = np.full((len(items), len(self)), np.nan)
        if not requested:
            return values
        columns = [self.names.index(t.name) for t in requested]
        bounds = np.asarray([self._score_bounds(t) for t in requested])  # (A, 2) probabilities
        ranged = [k for k, t in enumerate(requested) if not t.is_point]
        # Every condition starts at the middle of its range on the normal scale, points for good.
        scores = np.tile(normal_quantile(bounds.mean(axis=1)), (len(items), 1))  # (N, A)
        # Of a Gaussian, the conditional distributions are read off the precision matrix: given the
        # others, score k has variance 1/P_kk and mean −Σ_{j≠k} P_kj s_j / P_kk.
        precision = np.linalg.inv(self.correlations[np.ix_(columns, columns)])
        uniform = draws.uniform("ranges", items, SWEEPS * max(len(ranged), 1))
        step = 0
        # A single range depends on nothing, and one sweep draws it exactly.
        for _ in range(SWEEPS if len(requested) > 1 and ranged else 1):
            for k in ranged:
                sd = precision[k, k] ** -0.5
                center = scores[:, k] - scores @ precision[k] / precision[k, k]
                # Inverse distribution within the range: u goes from its low to its high end.
                low, high = (normal_cdf((normal_quantile(b) - center) / sd) for b in bounds[k])
                u = np.clip(low + (high - low) * uniform[:, step], 1e-12, 1 - 1e-12)
                # In the far tails the rounding of u could leave the range.
                limits = normal_quantile(bounds[k])
                scores[:, k] = np.clip(center + sd * normal_quantile(u), *limits)
                step += 1
        for k, target in enumerate(requested):
            values[:, columns[k]] = target.low
            if not target.is_point:
                values[:, columns[k]] = self._from_scores(target, scores[:, k])
        return values

    def typical(self, items: NDArray[np.int64], draws: Draws) -> NDArray[np.float64]:
        """Values like those of training molecules for the numbered items, (len(items), C).

        Drawn from the Gaussian copula without limits: the stored margins and rank correlations.
        """
        normal = normal_quantile(draws.uniform("typical", items, len(self)))
        scores = normal @ np.linalg.cholesky(self.correlations).T
        whole = [Target(name, -math.inf, math.inf) for name in self.names]
        columns = [self._from_scores(t, scores[:, k]) for k, t in enumerate(whole)]
        return np.stack(columns, axis=1) if columns else np.empty((len(items), 0))

    def _score_bounds(self, target: Target) -> tuple[float, float]:
        """The target's bounds as probabilities under the training distribution."""
        condition = self[target.name]
        half = 0.5 if condition.integer else 0.0
        lowest, highest = _target_bounds(condition, target)
        # A bound that many molecules share, such as tpsa=0:, includes all of them.
        low, _ = _probability(condition, lowest - half)
        _, high = _probability(condition, highest + half)
        tiny = 1e-6
        low, high = min(low, 1 - 2 * tiny), max(high, 2 * tiny)
        if high - low < tiny:
            middle = min(max((low + high) / 2, 2 * tiny), 1 - 2 * tiny)
            low, high = middle - tiny / 2, middle + tiny / 2
        return max(low, tiny), min(high, 1 - tiny)

    def _from_scores(self, target: Target, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        condition = self[target.name]
        grid = np.linspace(0, 1, len(condition.quantiles))
        values = np.interp(normal_cdf(scores), grid, condition.quantiles)
        if condition.integer:
            values = np.round(values)
        return np.clip(values, *_target_bounds(condition, target))

    def to_json(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_json` rebuilds the set."""
        return {
            "conditions": [_entry(condition) for condition in self.conditions],
            "correlations": self.correlations.round(6).tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ConditionSet:
        """The set that :meth:`to_json` described; anything malformed is a named error."""
        try:
            conditions = [
                Condition(**{**entry, "quantiles": tuple(entry["quantiles"])})
                for entry in data["conditions"]
            ]
            size = len(conditions)
            correlations = np.asarray(data["correlations"], dtype=np.float64).reshape(size, size)
            names = [c.name for c in conditions]
            unnamed = [name for name in names if names.count(name) > 1 or not is_name(name)]
            faulty = [c.name for c in conditions if not _sound(c)]
            absent = [c for c in conditions if c.builtin and c.name not in PROPERTIES]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFolderError(f"conditions.json: malformed ({error})") from None
        if unnamed:
            raise ModelFolderError(f"conditions.json: {unnamed[0]!r} is no name, or appears twice")
        if faulty:
            raise ModelFolderError(f"conditions.json: bad statistics of '{faulty[0]}'")
        if absent:
            raise ModelFolderError(
                f"conditions.json: property '{absent[0].name}' is neither built in nor of an "
                f"installed package; {install_advice(absent[0].name, absent[0].package)}"
            )
        for condition in conditions:
            if not condition.builtin:
                require_no_property(condition.name, "conditions.json")
        symmetric = np.allclose(correlations, correlations.T)  # False where one is not a number
        if not symmetric or (np.linalg.eigvalsh(correlations) <= 0).any():
            raise ModelFolderError("conditions.json: the correlations are not positive definite")
        return cls(conditions, correlations)


def _sound(condition: Condition) -> bool:
    """Whether a stored condition can be used."""
    numbers = (condition.mean, condition.std, *condition.quantiles)
    flags = (condition.builtin, condition.integer)
    return (
        all(isinstance(v, (int, float)) and math.isfinite(v) for v in numbers)
        and condition.std > 0
        and 1 < len(condition.quantiles) <= MOST_QUANTILES
        and all(a <= b for a, b in itertools.pairwise(condition.quantiles))
        and condition.kind in ("number", "yesno")
        and all(isinstance(flag, bool) for flag in flags)
        and isinstance(condition.known, int)
        and isinstance(condition.unit, str)
        and condition.unit.isprintable()
        and isinstance(condition.package, str)
        and condition.package.isprintable()
    )


def _entry(condition: Condition) -> dict[str, Any]:
    """A condition as plain data."""
    entry = {**asdict(condition), "quantiles": list(condition.quantiles)}
    if not condition.package:
        del entry["package"]
    return entry


def install_advice(name: str, package: str = "") -> str:
    """What to do where the package of a plugin property is missing."""
    what = f"the package {package[:100]}" if package else "the package"
    return f"install {what} that offers it as entry point '{name}' of molvae.properties"


def _target_bounds(condition: Condition, target: Target) -> tuple[float, float]:
    """The target's bounds; for a count, rounded inward to whole numbers if there are any."""
    if condition.integer:
        low = math.ceil(target.low) if math.isfinite(target.low) else target.low
        high = math.floor(target.high) if math.isfinite(target.high) else target.high
        if low <= high:
            return low, high
    return target.low, target.high


def _probability(condition: Condition, value: float) -> tuple[float, float]:
    """Shares of training values below and up to ``value``, interpolated between the quantiles."""
    grid = np.linspace(0, 1, len(condition.quantiles))
    below = int(np.searchsorted(condition.quantiles, value, side="left"))
    above = int(np.searchsorted(condition.quantiles, value, side="right"))
    if above > below:  # the value is itself a quantile, perhaps a tie of many
        return float(grid[below]), float(grid[above - 1])
    share = float(np.interp(value, condition.quantiles, grid))
    return share, share


def head_error(figures: Mapping[str, Any] | None, name: str) -> str:
    """The property head's error for a condition, out of a model's figures; empty if unknown."""
    error = ((figures or {}).get("head") or {}).get(name) or {}
    return ", ".join(
        f"{kind} {value:.3g}" for kind, value in error.items() if kind != "n" and value is not None
    )


def _score_correlations(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Correlations of normal scores over the pairs known in both, made positive definite."""
    size = values.shape[1]
    scores = np.full(values.shape, np.nan)
    for i in range(size):
        known = np.flatnonzero(~np.isnan(values[:, i]))
        # Ties share their mean rank, so that counts are not ordered by file position.
        _, inverse, counts = np.unique(values[known, i], return_inverse=True, return_counts=True)
        ranks = np.cumsum(counts) - (counts - 1) / 2
        scores[known, i] = normal_quantile((ranks[inverse] - 0.5) / max(len(known), 1))
    result = np.eye(size)
    for i in range(size):
        for j in range(i):
            shared = ~np.isnan(scores[:, i]) & ~np.isnan(scores[:, j])
            a, b = scores[shared, i], scores[shared, j]
            if len(a) > 2 and a.std() > 0 and b.std() > 0:
                result[i, j] = result[j, i] = np.corrcoef(a, b)[0, 1]
    eigenvalues, vectors = np.linalg.eigh(result)
    repaired = vectors @ np.diag(np.maximum(eigenvalues, 1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(repaired))
    # As many digits as conditions.json holds: a stored model draws what this one draws.
    return np.asarray((repaired / np.outer(scale, scale)).round(6))
