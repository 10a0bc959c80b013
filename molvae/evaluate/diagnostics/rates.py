"""Rate and distortion of a model on held-out molecules: what training watches."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.evaluate.diagnostics.base import LEVELS, Advance, Molecules, batches, nothing
from molvae.evaluate.diagnostics.head import head_errors
from molvae.evaluate.diagnostics.latent import mutual_information
from molvae.evaluate.diagnostics.reconstruction import exact_reconstruction
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE, noisy_latent
from molvae.model.loss import kl_divergence, reconstruction
from molvae.model.records import Posterior
from molvae.runtime.device import autocast
from molvae.runtime.randomness import Draws

__all__ = ["figures", "noisy_posterior"]


@torch.no_grad()
def figures(
    network: CVAE,
    dataset: Molecules,
    conditions: ConditionSet,
    columns: list[int],
    items: NDArray[np.int64],
    *,
    reconstructions: int,
    draws: Draws,
    precision: str = "fp32",
    advance: Advance = nothing,
) -> dict[str, Any]:
    """Model-side figures on the given molecules, without conditions, on fixed noise.

    ``R``: KL of z_t's posterior from N(0, I) per noise level; ``D``: −log p(x | z_t, t); both are
    nats per molecule (rate and distortion of Alemi et al. 2018). ``gap`` is R(0) + D(0) − D(1),
    which is 0 for a perfect model. ``active_units``: latents whose posterior mean varies by more
    than 0.01 (Burda et al. 2016). ``information``: I(x; z) in nats, which cannot exceed its
    ``cap``, log n. ``exact``: share of molecules whose SMILES comes back from (z = mean, t = 0,
    likeliest tokens).
    """
    network.eval()
    passed = _pass(network, dataset, columns, items, draws, precision, advance)
    n, rates, distortions = len(items), passed.rates, passed.distortions
    result: dict[str, Any] = {
        "n": n,
        "R": {f"{t:g}": rates[t] / n for t in LEVELS},
        "D": {f"{t:g}": distortions[t] / n for t in LEVELS},
        "nats_per_token": distortions[1.0] / passed.tokens,
        "active_units": int((passed.latents["mean"].var(axis=0) > 0.01).sum()),
    }
    result["information"] = mutual_information(**passed.latents).to_json()
    result["gap"] = result["R"]["0"] + result["D"]["0"] - result["D"]["1"]
    errors = head_errors(conditions, passed.predicted, passed.values)
    result["head"] = {
        e.name: {e.key: e.error.value, "n": e.error.n} for e in errors if e.error.value is not None
    }
    # Drawn among the molecules in the order of their lengths.
    ordered = items[np.argsort(dataset.lengths(items), kind="stable")]
    chosen = ordered[draws.permutation("exact", n)[:reconstructions]]
    result["exact"] = exact_reconstruction(network, dataset, chosen, precision)
    return result


class _Passed(NamedTuple):
    """What a pass over N molecules gives."""

    rates: dict[float, float]  # nats by noise level, summed over the molecules
    distortions: dict[float, float]
    latents: dict[str, NDArray[np.float64]]  # mean, log_var and sample (N, Z) of the posteriors
    predicted: NDArray[np.float64]  # the head's values (N, C), standardized
    values: NDArray[np.float32]  # the known ones (N, C)
    tokens: int


def _pass(
    network: CVAE,
    dataset: Molecules,
    columns: list[int],
    items: NDArray[np.int64],
    draws: Draws,
    precision: str,
    advance: Advance,
) -> _Passed:
    device, size = next(network.parameters()).device, network.config.latent_size
    rates, distortions = dict.fromkeys(LEVELS, 0.0), dict.fromkeys(LEVELS, 0.0)
    parts: dict[str, list[NDArray[np.float64]]] = {"mean": [], "log_var": [], "sample": []}
    heads, values, tokens = [], [], 0
    for _, batch in batches(dataset, items):
        inputs, targets, lengths, noise, channel = (
            torch.from_numpy(array).to(device)
            for array in (
                *(batch.inputs, batch.targets, batch.lengths),
                *(draws.normal(name, batch.items, size) for name in ("v-latent", "v-channel")),
            )
        )
        with autocast(device, precision):
            posterior = network.encode(targets, lengths)
            z = posterior.sample(noise)
            for level in LEVELS:
                t = torch.full((len(z),), level, device=device)
                context = network.make_context(noisy_latent(z, t, channel), t)
                logits = network.decode(inputs, context)
                distortions[level] += reconstruction(logits, targets, lengths).sum().item()
                rates[level] += kl_divergence(noisy_posterior(posterior, level)).sum().item()
                advance(len(z))
            mean, _ = network.predict(posterior.mean)
        for name, part in {**posterior._asdict(), "sample": z}.items():
            parts[name].append(part.cpu().double().numpy())
        heads.append(mean.cpu().double().numpy())
        values.append(batch.values[:, columns])
        tokens += int(batch.lengths.sum())
    latents = {name: np.concatenate(part) for name, part in parts.items()}
    predicted, known = np.concatenate(heads), np.concatenate(values)
    return _Passed(rates, distortions, latents, predicted, known, tokens)


def noisy_posterior(posterior: Posterior, t: float) -> Posterior:
    """The posterior of z_t: the channel scales the mean and mixes the variance with 1."""
    a = math.cos(math.pi * t / 2) if t < 1 else 0.0
    variance = a * a * posterior.log_var.exp() + (1 - a * a)
    return Posterior(a * posterior.mean, variance.log())
