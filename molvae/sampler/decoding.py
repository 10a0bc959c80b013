"""Contexts and latent points → token ids, one step at a time for many molecules together."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.checkpoint import SavedModel
from molvae.model import CVAE, noisy_latent
from molvae.runtime import Draws
from molvae.tokens import BOS, EOS, PAD

__all__ = ["decode_latents", "decode_tokens"]


@torch.no_grad()
def decode_tokens(
    network: CVAE, context: Tensor, limit: int, *, temperature: float, uniform: Tensor | None
) -> Tensor:
    """Token ids (B, ≤ limit), <pad> after <eos>, from contexts (B, K), one step at a time.

    ``uniform`` (B, limit) chooses the tokens by inverse distribution; None (or temperature 0) takes
    the likeliest. Finished rows leave the batch.
    """
    rows = torch.arange(context.shape[0], device=context.device)
    result = torch.full((len(rows), limit), PAD, dtype=torch.long, device=context.device)
    state, shifts = network.initial_state(context), network.shifts(context)
    token = torch.full_like(rows, BOS)
    for step in range(limit):
        logits, state = network.step(token, state, shifts)
        logits = logits.float()
        logits[:, [PAD, BOS]] = -torch.inf
        if uniform is None or temperature == 0:
            token = logits.argmax(dim=-1)
        else:
            # In the type of the draws, double where there is one, so that ties are rare.
            steps = torch.softmax(logits.to(uniform.dtype) / temperature, dim=-1).cumsum(dim=-1)
            chosen = (steps < uniform[rows, step].unsqueeze(-1) * steps[:, -1:]).sum(dim=-1)
            token = chosen.clamp(max=logits.shape[-1] - 1)
        result[rows, step] = token
        alive = token != EOS
        if not alive.all():
            rows, token, state = rows[alive], token[alive], state[:, alive]
            shifts = [shift[alive] for shift in shifts]
            if not len(rows):
                return result[:, : step + 1]
    return result


@torch.no_grad()
def decode_latents(
    model: SavedModel,
    z: NDArray[np.float32],
    *,
    noise: float,
    draws: Draws,
    temperature: float = 0.0,
    batch_size: int = 256,
) -> list[NDArray[np.int64]]:
    """Token rows of latent points (N, Z) at a noise level, no conditions shown.

    The likeliest ones, or with a ``temperature`` drawn ones.
    """
    network, rows = model.network.eval(), []
    device = next(network.parameters()).device
    for start in range(0, len(z), batch_size):
        part = torch.from_numpy(z[start : start + batch_size]).to(device)
        items = np.arange(start, start + len(part), dtype=np.int64)
        channel = torch.from_numpy(draws.normal("channel", items, z.shape[1])).to(device)
        t = torch.full((len(part),), noise, device=device)
        empty = torch.zeros(len(part), network.condition_count, device=device)
        context = network.make_context(noisy_latent(part, t, channel), t, empty, empty)
        limit = model.max_tokens
        uniform = None
        if temperature > 0:
            uniform = torch.from_numpy(draws.uniform("tokens", items, limit)).to(device)
        found = decode_tokens(network, context, limit, temperature=temperature, uniform=uniform)
        rows += list(found.cpu().numpy())
    return rows
