"""What a model does to held-out molecules: rate, distortion, reconstruction, active units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem, tokens
from molvae.conditions import ConditionSet
from molvae.dataset import Dataset
from molvae.loss import kl_divergence, reconstruction
from molvae.model import CVAE, Posterior, noisy_latent
from molvae.runtime import Draws, autocast
from molvae.sampler import decode_tokens

__all__ = ["LEVELS", "figures"]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # noise levels at which R and D are measured
EVAL_BATCH = 256


@torch.no_grad()
def figures(
    network: CVAE,
    dataset: Dataset,
    conditions: ConditionSet,
    columns: list[int],
    items: NDArray[np.int64],
    *,
    reconstructions: int,
    draws: Draws,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Model-side figures on the given molecules, without conditions, on fixed noise.

    ``R``: KL of z_t's posterior from N(0, I) per noise level; ``D``: −log p(x | z_t, t); both are
    nats per molecule. ``gap`` is R(0) + D(0) − D(1), which is 0 for a perfect model. ``exact``:
    share of molecules whose SMILES comes back from (z = mean, t = 0, likeliest tokens).
    """
    network.eval()
    device = next(network.parameters()).device
    rates = dict.fromkeys(LEVELS, 0.0)
    distortions = dict.fromkeys(LEVELS, 0.0)
    means, heads, known_values, count_tokens = [], [], [], 0
    # Sorted by length, so that little is padded; noise is addressed by molecule.
    items = items[np.argsort(dataset.lengths(items), kind="stable")]
    for start in range(0, len(items), EVAL_BATCH):
        batch = dataset.batch(items[start : start + EVAL_BATCH])
        inputs, targets, lengths = (
            torch.from_numpy(a).to(device) for a in (batch.inputs, batch.targets, batch.lengths)
        )
        size = network.config.latent_size
        noise, channel = (
            torch.from_numpy(draws.normal(name, batch.items, size)).to(device)
            for name in ("v-latent", "v-channel")
        )
        empty = torch.zeros(len(batch.items), len(conditions), device=device)
        with autocast(device, precision):
            posterior = network.encode(targets, lengths)
            z = posterior.sample(noise)
            for level in LEVELS:
                t = torch.full((len(z),), level, device=device)
                context = network.make_context(noisy_latent(z, t, channel), t, empty, empty)
                logits = network.decode(inputs, context)
                distortions[level] += reconstruction(logits, targets, lengths).sum().item()
                rates[level] += kl_divergence(_noisy_posterior(posterior, level)).sum().item()
            mean, _ = network.predict(posterior.mean)
        means.append(posterior.mean.cpu().double().numpy())
        heads.append(mean.cpu().double().numpy())
        known_values.append(batch.values[:, columns])
        count_tokens += int(batch.lengths.sum())
    n, latent = len(items), np.concatenate(means)
    result: dict[str, Any] = {
        "n": n,
        "R": {f"{t:g}": rates[t] / n for t in LEVELS},
        "D": {f"{t:g}": distortions[t] / n for t in LEVELS},
        "nats_per_token": distortions[1.0] / count_tokens,
        "active_units": int((latent.var(axis=0) > 0.01).sum()),  # Burda et al. 2016
    }
    result["gap"] = result["R"]["0"] + result["D"]["0"] - result["D"]["1"]
    result["head"] = _head_errors(conditions, np.concatenate(heads), np.concatenate(known_values))
    chosen = items[draws.permutation("exact", n)[:reconstructions]]
    result["exact"] = _exact_reconstruction(network, dataset, chosen, precision)
    return result


def _noisy_posterior(posterior: Posterior, t: float) -> Posterior:
    """The posterior of z_t: the channel scales the mean and mixes the variance with 1."""
    a = math.cos(math.pi * t / 2) if t < 1 else 0.0
    variance = a * a * posterior.log_var.exp() + (1 - a * a)
    return Posterior(a * posterior.mean, variance.log())


def _head_errors(
    conditions: ConditionSet, heads: NDArray[np.float64], values: NDArray[np.float32]
) -> dict[str, Any]:
    """Mean absolute error (accuracy for yes/no) of the property head per condition, with counts."""
    restored = conditions.restore(heads)
    found: dict[str, Any] = {}
    for k, condition in enumerate(conditions.conditions):
        known = ~np.isnan(values[:, k])
        if not known.any():
            continue
        if condition.kind == "yesno":
            right = (heads[known, k] > 0) == (values[known, k] > 0.5)
            found[condition.name] = {"accuracy": float(right.mean()), "n": int(known.sum())}
        else:
            errors = np.abs(restored[known, k] - values[known, k])
            found[condition.name] = {"mae": float(errors.mean()), "n": int(known.sum())}
    return found


def _exact_reconstruction(
    network: CVAE, dataset: Dataset, items: NDArray[np.int64], precision: str
) -> dict[str, Any]:
    device = next(network.parameters()).device
    exact = 0
    for start in range(0, len(items), EVAL_BATCH):
        batch = dataset.batch(items[start : start + EVAL_BATCH])
        with autocast(device, precision):
            posterior = network.encode(
                torch.from_numpy(batch.targets).to(device),
                torch.from_numpy(batch.lengths).to(device),
            )
            z = posterior.mean
            zero = torch.zeros(len(z), device=device)
            empty = torch.zeros(len(z), network.condition_count, device=device)
            context = network.make_context(z, zero, empty, empty)
            limit = int(batch.lengths.max()) + 4
            rows = decode_tokens(network, context, limit, temperature=0.0, uniform=None)
        for row, truth in zip(rows.cpu().numpy(), batch.targets, strict=True):
            exact += _same_molecule(dataset, row, truth)
    return {"value": exact / max(len(items), 1), "numerator": exact, "denominator": len(items)}


def _same_molecule(dataset: Dataset, row: NDArray[np.int64], truth: NDArray[np.int64]) -> bool:
    """Whether two token rows are the same molecule, by canonical isomeric SMILES."""
    a, b = dataset.vocabulary.selfies(row.tolist()), dataset.vocabulary.selfies(truth.tolist())
    if a == b:
        return True
    first, second = (chem.canonical_smiles(tokens.from_selfies(text)) for text in (a, b))
    return first is not None and first == second
