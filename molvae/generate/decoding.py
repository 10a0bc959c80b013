"""Decoding token ids from contexts, one step at a time for a batch of molecules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.chem.vocabulary import BOS, EOS, PAD
from molvae.model.checkpoint import SavedModel
from molvae.model.cvae import CVAE, noisy_latent
from molvae.model.records import Context
from molvae.runtime.device import on_device
from molvae.runtime.randomness import Draws

__all__ = ["Guidance", "Steps", "decode_latents", "decode_tokens", "pick"]

LEAVE = 0.9  # finished rows are dropped when at most this share of the rows remains
# Steps between two looks at how many rows are finished; a look waits for a GPU.
LOOKS, CPU_LOOKS = 8, 1
# Batches have a multiple of rows: in bf16 oneDNN caches a kernel for every number, and in fp32 a
# product of fewer than four rows has other last bits.
MULTIPLE, FP32_MULTIPLE = 32, 8


class Guidance(NamedTuple):
    """Input of classifier-free guidance (Ho & Salimans 2022)."""

    context: Context  # the same molecules without conditions
    weight: Tensor  # (B,) 0: no conditions; 1: as trained; above 1: stronger

    def rows(self, index: Tensor) -> Guidance:
        """The guidance of some of the molecules, by indices, which may repeat."""
        return Guidance(self.context.rows(index), self.weight[index])


class Steps:
    """Decoding with or without guidance: logits of the next tokens, and rows that leave.

    With guidance they are log p(x) + weight · (log p(x | c) − log p(x)), at every step.
    """

    def __init__(
        self,
        network: CVAE,
        context: Context,
        guidance: Guidance | None = None,
        never: NDArray[np.int64] | None = None,
    ) -> None:
        """``never`` are ids of tokens that are not drawn, besides <pad> and <bos>."""
        if guidance is not None:
            context = context.joined(guidance.context)
        self._decoding = network.decoding(context)
        self._weight = None if guidance is None else guidance.weight.unsqueeze(-1)
        ids = [PAD, BOS, *([] if never is None else never.tolist())]
        # On the device: a list as an index would be copied there, and waited for, at every step.
        self._never = on_device(np.asarray(ids, dtype=np.int64), context.request.device)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) of the token after these, (B,); those never drawn are −∞."""
        if self._weight is None:
            logits = self._decoding(tokens)
        else:
            shown, free = self._decoding(tokens.repeat(2)).log_softmax(dim=-1).chunk(2)
            logits = torch.lerp(free, shown, self._weight)
        return logits.index_fill_(1, self._never, -torch.inf)

    def keep(self, rows: Tensor) -> None:
        """Continue with the molecules in this mask only."""
        rows = rows.nonzero().squeeze(1)  # once: every index by a mask would wait for a GPU
        if self._weight is not None:
            count = len(self._weight)
            self._weight = self._weight[rows]
            rows = torch.cat([rows, rows + count])
        self._decoding.keep(rows)


def pick(odds: Tensor, uniform: Tensor, cutoff: float) -> Tensor:
    """Draw token ids (B,) from probabilities (B, V) by inverse CDF, for numbers (B,) in [0, 1).

    Epsilon sampling (Hewitt, Manning & Liang 2022) excludes tokens below ``cutoff``, except the
    most likely one: an imperfect model gives a little probability to wrong tokens, and over many
    steps one of them is often drawn.
    """
    if cutoff > 0:
        least = odds.amax(dim=-1, keepdim=True).clamp(max=cutoff)
        odds = odds.masked_fill(odds < least, 0.0)
    steps = odds.cumsum(dim=-1)
    chosen = (steps < uniform.unsqueeze(-1) * steps[:, -1:]).sum(dim=-1)
    return chosen.clamp(max=odds.shape[-1] - 1)


@torch.no_grad()
def decode_tokens(
    network: CVAE,
    context: Context,
    limit: int,
    *,
    temperature: float,
    uniform: Tensor | None,
    guidance: Guidance | None = None,
    cutoff: float = 0.0,
    never: NDArray[np.int64] | None = None,
) -> Tensor:
    """Token ids (B, ≤ limit), <pad> after <eos>, one step at a time.

    ``uniform`` (B, limit) holds the random numbers for :func:`pick`; None (or temperature 0) takes
    the most likely tokens. ``never`` is as in :class:`Steps`; it must leave <eos>. Finished rows
    leave the batch, many at a time; on a GPU up to ``LOOKS`` steps late.
    """
    count, device = context.size, context.request.device
    rows = torch.arange(count, device=device)
    plain = device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    multiple = FP32_MULTIPLE if plain else MULTIPLE
    if count > multiple:  # the first one is repeated until their number is a multiple
        filled = torch.cat([rows, rows.new_zeros(-count % multiple)])
        context, uniform = context.rows(filled), None if uniform is None else uniform[filled]
        guidance = guidance and guidance.rows(filled)
        rows = torch.arange(context.size, device=device)
    result = torch.full((len(rows), limit), PAD, dtype=torch.long, device=device)
    decoding = Steps(network, context, guidance, never)
    token = torch.full_like(rows, BOS)
    looks = CPU_LOOKS if device.type == "cpu" else LOOKS
    for step in range(limit):
        logits = decoding(token)
        finished = token == EOS
        if uniform is None or temperature == 0:
            token = logits.argmax(dim=-1)
        else:
            # In the precision of the random numbers (double where possible), so that ties are rare.
            odds = torch.softmax(logits.to(uniform.dtype) / temperature, dim=-1)
            token = pick(odds, uniform[rows, step], cutoff)
        token = token.masked_fill(finished, EOS)
        result[rows, step] = token.masked_fill(finished, PAD)
        if (step + 1) % looks:
            continue
        alive = token != EOS
        # Dropping rows copies all states, so many are dropped at once.
        left = int(alive.sum())
        if left == 0:
            return result[:count, : step + 1]
        kept = -(-left // multiple) * multiple
        if kept <= LEAVE * len(alive):
            stay = alive | (~alive & ((~alive).cumsum(dim=0) <= kept - left))
            rows, token = rows[stay], token[stay]
            decoding.keep(stay)
    return result[:count]


@torch.no_grad()
def decode_latents(
    model: SavedModel,
    z: NDArray[np.float32],
    *,
    noise: float,
    draws: Draws,
    temperature: float = 0.0,
    batch_size: int = 256,
    first: int = 0,
) -> list[NDArray[np.int64]]:
    """Token rows of latent points (N, Z) at a noise level, without conditions.

    The most likely tokens, or with a ``temperature`` random ones. ``first`` is the number of the
    first point, which addresses its random numbers.
    """
    network, rows = model.network.eval(), []
    device = next(network.parameters()).device
    for start in range(0, len(z), batch_size):
        part = on_device(z[start : start + batch_size], device)
        items = np.arange(len(part), dtype=np.int64) + first + start
        channel = on_device(draws.normal("channel", items, z.shape[1]), device)
        t = torch.full((len(part),), noise, device=device)
        context = network.make_context(noisy_latent(part, t, channel), t)
        limit = model.max_tokens
        uniform = None
        if temperature > 0:
            uniform = on_device(draws.uniform("tokens", items, limit), device)
        tokens = decode_tokens(
            network, context, limit, temperature=temperature, uniform=uniform, never=model.never
        )
        rows += list(tokens.cpu().numpy())
    return rows
