"""One-shot control of every condition, without the critic: requested against obtained values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.properties import PROPERTIES
from molvae.evaluate.diagnostics.base import Advance, nothing
from molvae.generate.request import Request
from molvae.generate.sampler import Sampler
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import Condition
from molvae.targets import Target

__all__ = ["Calibration", "Reply", "calibrate", "describe_replies", "requests"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PREDICTED = "predicted by the model, not measured"


@dataclass(frozen=True)
class Reply:
    """Result of one requested value: ``mean`` and ``sd`` of ``n`` molecules."""

    requested: float
    n: int
    missing: int  # draws that gave no molecule, or none with a value
    mean: float | None
    sd: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Calibration:
    """Obtained against requested values of one condition, over all molecules of all requests.

    ``mad``: mean of |obtained − requested|. ``bias``: mean of obtained − requested. ``slope``: of
    the least-squares line of obtained on requested; 1 is perfect, 0 means that the request
    has no effect.
    ``baseline``: mean of |known − requested| over the held-out values and the same requests, the
    error of a model that ignores the request and is otherwise perfect.
    """

    name: str
    unit: str
    source: str  # of the obtained values
    replies: tuple[Reply, ...]
    n: int
    mad: float | None
    bias: float | None
    slope: float | None
    baseline: float | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        names = ("unit", "source", "n", "mad", "bias", "slope", "baseline")
        data = {name: getattr(self, name) for name in names}
        data["replies"] = [reply.to_json() for reply in self.replies]
        return {**data, **({"note": self.note} if self.note else {})}


def requests(condition: Condition, values: NDArray[np.floating[Any]]) -> tuple[list[float], str]:
    """(values to request, note): quantiles of the known values, or both of yes and no.

    A quantile is a value that occurs, so that counts stay integers; equal ones are requested once.
    """
    if condition.kind == "yesno":
        return [0.0, 1.0], ""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    note = ""
    if not len(known):
        known = np.asarray(condition.quantiles)
        known = np.round(known) if condition.integer else known
        note = "no held-out value is known: quantiles of the training values were requested"
    wanted = np.quantile(known, QUANTILES, method="inverted_cdf")
    return [float(value) for value in np.unique(wanted)], note


def calibrate(
    model: SavedModel,
    values: NDArray[np.float32],
    *,
    draws_per_value: int,
    seed: int,
    device: torch.device | None = None,
    advance: Advance = nothing,
) -> list[Calibration]:
    """Request each condition alone, with ``draws_per_value`` molecules per value.

    Draws are from the prior at t = 1 and temperature 1, by
    :class:`molvae.generate.sampler.Sampler` without critic or retries. Built-in properties
    are computed by RDKit; a user's column is predicted by the model. ``values`` (N, C) are the true
    values of held-out molecules.
    """
    calibrations, drawn = [], 0
    for k, condition in enumerate(model.conditions.conditions):
        wanted, note = requests(condition, values[:, k])
        obtained = []
        for value in wanted:
            target = Target(condition.name, value, value)
            sampler = _one_shot(model, target, seed, device)
            # Every draw has another number.
            shown = [m.values[condition.name] for m in sampler.stream(draws_per_value, first=drawn)]
            obtained.append(np.asarray(shown, dtype=np.float64))
            drawn += draws_per_value
            advance(draws_per_value)
        calibrations.append(
            describe_replies(condition, wanted, obtained, draws_per_value, values[:, k], note)
        )
    return calibrations


def _one_shot(model: SavedModel, target: Target, seed: int, device: torch.device | None) -> Sampler:
    request = Request(  # without guidance, to measure the network alone
        targets=(target,),
        critic=False,
        candidates=1,
        max_tries=1,
        allow_misses=True,
        unique=False,
        guidance=1.0,
    )
    return Sampler(model, request, seed=seed, device=device)


def describe_replies(
    condition: Condition,
    wanted: Sequence[float],
    obtained: Sequence[NDArray[np.float64]],
    draws_per_value: int,
    held_out: NDArray[np.floating[Any]],
    note: str = "",
) -> Calibration:
    """The calibration from obtained values, one array per requested value, NaN where missing."""
    kept = [values[~np.isnan(values)] for values in obtained]
    asked = np.repeat(np.asarray(wanted, dtype=np.float64), [len(values) for values in kept])
    got = np.concatenate([*kept, np.empty(0)])
    replies = tuple(
        Reply(
            requested=value,
            n=len(values),
            missing=draws_per_value - len(values),
            mean=float(values.mean()) if len(values) else None,
            sd=float(values.std()) if len(values) else None,
        )
        for value, values in zip(wanted, kept, strict=True)
    )
    known = np.asarray(held_out, dtype=np.float64)
    known = known[~np.isnan(known)]
    distances = [np.abs(known - value).mean() for value in wanted] if len(known) else []
    return Calibration(
        name=condition.name,
        unit=condition.unit,
        source="RDKit" if condition.name in PROPERTIES else PREDICTED,
        replies=replies,
        n=len(got),
        mad=float(np.abs(got - asked).mean()) if len(got) else None,
        bias=float((got - asked).mean()) if len(got) else None,
        slope=_slope(asked, got),
        baseline=float(np.mean(distances)) if distances else None,
        note=note,
    )


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Least-squares slope of y on x; None where x has fewer than two different values."""
    if not len(x) or float(np.ptp(x)) == 0:
        return None
    around = x - x.mean()
    return float((around * (y - y.mean())).sum() / (around**2).sum())
