"""The loss. Every term is in nats per molecule.

Reconstruction is summed over tokens and the KL over latents, then each is averaged over molecules,
so that reconstruction + 1 · KL is the negative ELBO (Kingma & Welling 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from molvae.model.gru import full_precision
from molvae.model.records import Output, Posterior, TrainingBatch

__all__ = [
    "Counts",
    "LossTerms",
    "LossWeights",
    "elbo",
    "forecast_nll",
    "head_nll",
    "kl_divergence",
    "reconstruction",
]


class Counts(NamedTuple):
    """Molecules of a whole step, of which a process may have a share only."""

    molecules: int
    encoded: int  # those with t < 1


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms beside the reconstruction, whose weight is 1."""

    kl: float  # β
    head: float  # of the property head, and of the forecast for encoded molecules
    forecast: float = 0.0  # of the forecast for molecules that were not encoded
    kl_free: float = 0.0  # nats that a latent unit always costs (free bits)


class LossTerms(NamedTuple):
    """Sums over a share of a step's molecules, divided by the counts of the whole step.

    So the terms of all shares add up to means over the step. ``total`` is what is minimized.
    """

    total: Tensor  # ()
    reconstruction: Tensor  # () −log p(x | z_t, t, c), all molecules
    kl: Tensor  # () KL(q ‖ N(0, I)), molecules with t < 1
    head: Tensor  # () −log p(properties | z) of the known ones, molecules with t < 1
    forecast: Tensor  # () −log p(properties | prefix, token), mean over tokens, all molecules
    nats: Tensor  # (B,) −log p(x | z_t, t, c) of each molecule


def reconstruction(logits: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """−log p of each molecule's tokens, shape (B,): logits (B, T, V), targets (B, T)."""
    nats = functional.cross_entropy(
        full_precision(logits).flatten(0, 1), targets.flatten(), reduction="none"
    ).view_as(targets)
    inside = torch.arange(targets.shape[1], device=targets.device) < lengths.unsqueeze(1)
    return (nats * inside).sum(dim=1)


def kl_divergence(posterior: Posterior, free: float = 0.0) -> Tensor:
    """KL(N(mean, diag exp(log_var)) ‖ N(0, I)) of each molecule, shape (B,).

    A latent unit that costs less than ``free`` nats costs ``free`` ("free bits" of Kingma et al.
    2016, without their averaging over a batch).
    """
    mean, log_var = posterior
    nats = 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var)
    return (nats.clamp(min=free) if free > 0 else nats).sum(dim=-1)


def head_nll(
    mean: Tensor, log_scale: Tensor, conditions: Tensor, known: Tensor, yesno: Tensor
) -> Tensor:
    """−log density of the known standardized properties of each molecule, shape (B,).

    Gaussian for numbers; for yes/no columns (``yesno`` (C,) bool) ``mean`` is the logit of yes, and
    the standardized value is positive for yes.
    """
    gaussian = (
        0.5 * math.log(2 * math.pi)
        + log_scale
        + 0.5 * ((conditions - mean) * torch.exp(-log_scale)).square()
    )
    logistic = functional.binary_cross_entropy_with_logits(
        mean, (conditions > 0).to(mean.dtype), reduction="none"
    )
    # Multiplied, not branched: an unlabeled molecule still touches every parameter.
    return (torch.where(yesno, logistic, gaussian) * known).sum(dim=-1)


def forecast_nll(
    predicted: tuple[Tensor, Tensor], lengths: Tensor, conditions: Tensor, known: Tensor
) -> Tensor:
    """−log density of the known standardized properties of each molecule, shape (B,).

    The mean over its tokens; ``predicted`` are Gaussians, means and log spreads (B, T, C).
    """
    mean, log_spread = predicted
    error = (conditions.unsqueeze(1) - mean) * torch.exp(-log_spread)
    nats = 0.5 * math.log(2 * math.pi) + log_spread + 0.5 * error.square()
    inside = torch.arange(mean.shape[1], device=mean.device) < lengths.unsqueeze(1)
    total = (nats * known.unsqueeze(1)).sum(dim=-1) * inside
    return total.sum(dim=1) / lengths


def elbo(
    output: Output, batch: TrainingBatch, weights: LossWeights, counts: Counts | None = None
) -> LossTerms:
    """The weighted loss of one batch.

    ``counts`` of the whole step, if the batch is a share of it. A share without encoded molecules
    still depends on every parameter, with gradients of zero: processes that average gradients
    would wait for the missing ones.
    """
    conditions, known, encoded = batch.conditions, batch.known, output.encoded
    counts = counts or Counts(len(batch.targets), len(encoded))
    nats = reconstruction(output.logits, batch.targets, batch.lengths)
    mean = nats.sum() / counts.molecules
    divisor = max(counts.encoded, 1)
    kl = kl_divergence(output.posterior, weights.kl_free).sum() / divisor
    predicted = output.head_mean, output.head_log_scale
    head = head_nll(*predicted, conditions[encoded], known[encoded], batch.yesno).sum() / divisor
    forecast = weighted_forecast = torch.zeros_like(mean)
    if output.predicted is not None:
        forecast_nats = forecast_nll(output.predicted, batch.lengths, conditions, known)
        # The smaller weight of the head where a latent is given: else the forecast loss would
        # push properties into the latent.
        weight = torch.full_like(nats, weights.forecast)
        weight[encoded] = weights.head
        forecast = forecast_nats.sum() / counts.molecules
        weighted_forecast = (weight * forecast_nats).sum() / counts.molecules
    total = mean + weights.kl * kl + weights.head * head + weighted_forecast
    return LossTerms(total, mean, kl, head, forecast, nats.detach())
