"""The decoder's memory of a prefix beside its state: running sums and causal attention.

Shapes: B molecules, T tokens, H hidden, S sums, A attention (N heads of width A/N), M = S + A.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.config import ModelConfig
from molvae.model.gru import compute_dtype, full_precision

__all__ = ["Memory", "MemoryCache"]

SCALE = 20.0  # about the number of atoms of a molecule: sums stay near 1
GROWTH = 32  # steps by which the buffer of earlier states grows


class Memory(nn.Module):
    """Running sums of the states, and causal attention over them (Vaswani et al. 2017).

    A gated state forgets, and a GRU cannot count (Weiss, Goldberg & Yahav 2018); but a request for
    five rings or a logP of 2 concerns sums over the whole molecule, and where a ring closes or a
    branch ends depends on tokens far back.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        h = config.decoder_size
        self.size = config.tally_size + config.attention_size
        self.heads = config.attention_heads
        self.tally = nn.Linear(h, config.tally_size)
        # Queries, keys and values, each of all heads.
        self.qkv = nn.Linear(h, 3 * config.attention_size, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """The memory (B, T, M) at every step of the states (B, T, H), in 32 bits at least."""
        sums = full_precision(self.tally(states)).cumsum(dim=1) / SCALE
        rows, steps = states.shape[:2]
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
            for part in self.qkv(states).chunk(3, dim=-1)
        )  # (B·N, T, A/N)
        # Plain products: here they take half the time of the library's fused attention on a CPU.
        later = query.new_full((steps, steps), -torch.inf).triu(1)
        scale = query.shape[-1] ** -0.5
        weight = torch.baddbmm(later, query, key.transpose(1, 2), alpha=scale).softmax(dim=-1)
        attended = torch.bmm(weight.to(value.dtype), value).unflatten(0, (rows, self.heads))
        return torch.cat([sums, full_precision(attended).transpose(1, 2).flatten(2)], dim=-1)

    def cache(self, rows: int) -> MemoryCache:
        """An empty memory of this many molecules, filled step by step without gradients."""
        return MemoryCache(self, rows)


class MemoryCache:
    """The memory of molecules in progress."""

    def __init__(self, memory: Memory, rows: int) -> None:
        self._memory = memory
        self._sums = memory.tally.weight.new_zeros(rows, memory.tally.out_features)
        weight = memory.qkv.weight
        self._qkv = weight.to(compute_dtype(weight)).t().contiguous()  # as a product reads it
        # Keys and values so far, (2, capacity, B, N, A/N), of which the first ``_steps`` are set.
        # Steps come first, so that a CPU reads them in one piece.
        self._seen: Tensor | None = None
        self._steps = 0

    def add(self, states: Tensor) -> Tensor:
        """The memory (B, M) after one more step with these states, (B, H)."""
        memory = self._memory
        self._sums = self._sums + full_precision(memory.tally(states)) / SCALE
        qkv = (states @ self._qkv).unflatten(-1, (3, memory.heads, -1))  # (B, 3, N, A/N)
        query, new = qkv[:, 0], qkv[:, 1:].transpose(0, 1)
        seen = self._seen = self._grown(new)
        seen[:, self._steps] = new
        self._steps += 1
        key, value = seen[:, : self._steps]  # (T, B, N, A/N)
        near = full_precision((key * query).sum(dim=-1, keepdim=True)) * query.shape[-1] ** -0.5
        attended = (value * near.softmax(dim=0).to(value.dtype)).sum(dim=0).flatten(1)
        return torch.cat([self._sums, full_precision(attended)], dim=-1)

    def keep(self, rows: Tensor) -> None:
        """Continue with these molecules only: a mask, or indices, which may repeat."""
        self._sums = self._sums[rows]
        if self._seen is not None:
            self._seen = self._seen[:, :, rows]

    def _grown(self, new: Tensor) -> Tensor:
        """The buffer, long enough for the keys and values of one more step, (2, B, N, A/N)."""
        if self._seen is not None and self._steps < self._seen.shape[1]:
            return self._seen
        more = new.new_zeros(2, GROWTH, *new.shape[1:])
        return more if self._seen is None else torch.cat([self._seen, more], dim=1)
