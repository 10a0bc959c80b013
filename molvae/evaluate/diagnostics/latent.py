"""The latent space of held-out molecules: mutual information, and a map of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.evaluate.diagnostics.base import Molecules, batches
from molvae.latent.plane import Plane
from molvae.model.cvae import CVAE
from molvae.runtime.randomness import Draws

__all__ = [
    "Encoded",
    "Information",
    "LatentMap",
    "encode_molecules",
    "latent_map",
    "mutual_information",
]

ROWS, COLUMNS = 1024, 4096  # pairs compared at a time: 32 MB of float64
NEAR_CAP = 0.1  # nats


@dataclass(frozen=True)
class Encoded:
    """Posteriors of N molecules, in order, and the head's predictions from their means."""

    mean: NDArray[np.float64]  # (N, Z)
    log_var: NDArray[np.float64]  # (N, Z)
    sample: NDArray[np.float64]  # (N, Z) one point of each posterior
    heads: NDArray[np.float64]  # (N, C) standardized; logits for yes/no


@torch.no_grad()
def encode_molecules(
    network: CVAE, molecules: Molecules, items: NDArray[np.int64], *, draws: Draws
) -> Encoded:
    """Encode molecules: the points that :func:`molvae.evaluate.diagnostics.figures` draws."""
    network.eval()
    device = next(network.parameters()).device
    n, size = len(items), network.config.latent_size
    mean, log_var, sample = (np.empty((n, size)) for _ in range(3))
    heads = np.empty((n, network.condition_count))
    for places, batch in batches(molecules, items):
        posterior = network.encode(
            torch.from_numpy(batch.targets).to(device), torch.from_numpy(batch.lengths).to(device)
        )
        answers, _ = network.predict(posterior.mean)
        mean[places] = posterior.mean.cpu().numpy()
        log_var[places] = posterior.log_var.cpu().numpy()
        noise = draws.normal("v-latent", batch.items, size).astype(np.float64)
        sample[places] = mean[places] + np.exp(0.5 * log_var[places]) * noise
        heads[places] = answers.cpu().numpy()
    return Encoded(mean, log_var, sample, heads)


@dataclass(frozen=True)
class Information:
    """Mutual information between molecules and latents, in nats; see `mutual_information`."""

    value: float
    cap: float  # log n, which the value cannot exceed
    standard_error: float  # of the mean over molecules
    n: int
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {k: v for k, v in asdict(self).items() if k != "note" or v}


def mutual_information(
    mean: NDArray[np.float64], log_var: NDArray[np.float64], sample: NDArray[np.float64]
) -> Information:
    """I(x; z) = mean_i [log q(z_i|x_i) − log (1/N) Σ_j q(z_i|x_j)], z_i one point of q(z|x_i).

    The index-code mutual information of Hoffman & Johnson (2016) with one sample each. Of the N
    molecules, drawn uniformly, it is the information between molecule and latent itself; of all
    molecules it is a lower bound, since no term can exceed log N. All arrays are (N, Z).
    """
    n = len(mean)
    centre = mean.mean(axis=0)  # large offsets would cost digits in the products below
    mean, sample = mean - centre, sample - centre
    inverse = np.exp(-log_var)
    own = -0.5 * ((sample - mean) ** 2 * inverse + log_var).sum(axis=1)
    # −½ Σ_d (z_d − μ_d)² / σ_d² with the square multiplied out: two matrix products per block.
    scaled = mean * inverse
    constant = -0.5 * ((mean * scaled) + log_var).sum(axis=1)
    aggregate = np.full(n, -np.inf)
    for row in range(0, n, ROWS):
        rows = slice(row, row + ROWS)
        for column in range(0, n, COLUMNS):
            columns = slice(column, column + COLUMNS)
            logs = sample[rows] @ scaled[columns].T
            logs -= 0.5 * (sample[rows] ** 2 @ inverse[columns].T)
            logs += constant[columns]
            aggregate[rows] = np.logaddexp(aggregate[rows], _log_sum_exp(logs))
    # Both densities lack the same (2π)^(Z/2).
    terms = own - (aggregate - math.log(n))
    value, cap = float(terms.mean()), math.log(n)
    note = ""
    if value > cap - NEAR_CAP:
        note = f"at its cap log({n:,}): the true value may be far larger"
    return Information(value, cap, float(terms.std() / math.sqrt(n)), n, note)


def _log_sum_exp(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """log Σ exp of each row, without overflow."""
    top = logs.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
    return result


@dataclass(frozen=True)
class LatentMap:
    """The posterior means on the plane of their two widest directions, with their properties."""

    points: NDArray[np.float64]  # (N, 2)
    shares: tuple[float, float]  # of the variance of all Z dimensions, per axis
    names: tuple[str, ...]  # of the C conditions
    values: NDArray[np.float32]  # (N, C) true values in their own units, NaN where missing

    def to_json(self) -> dict[str, Any]:
        """Plain data of the axes; the points are for drawings only."""
        return {"n": len(self.points), "variance_shares": list(self.shares)}


def latent_map(
    mean: NDArray[np.float64], names: tuple[str, ...], values: NDArray[np.float32]
) -> LatentMap:
    """Principal components of posterior means (N, Z); see :class:`molvae.latent.plane.Plane`."""
    plane = Plane.fit(mean)
    return LatentMap(plane.place(mean), plane.shares, names, values)
