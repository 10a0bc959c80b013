"""What goes into the network and comes out of it.

Shapes: B molecules, T tokens, V vocabulary, Z latent, C conditions, H hidden, K context,
F derivation features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Context", "Output", "Posterior", "TrainingBatch"]


class Posterior(NamedTuple):
    """q(z | x): a diagonal Gaussian."""

    mean: Tensor  # (B, Z)
    log_var: Tensor  # (B, Z)

    def sample(self, noise: Tensor) -> Tensor:
        """A point of the posterior, shape (B, Z), from standard normal ``noise`` of that shape."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise


class Context(NamedTuple):
    """What the decoder is given for each molecule."""

    request: Tensor  # (B, K) of latent, noise level and conditions: the readout sees it
    latent: Tensor  # (B, K) of latent and noise level alone: the recurrent layers see it
    conditions: Tensor  # (B, C) standardized, 0 where hidden: the forecast is compared with them
    mask: Tensor  # (B, C) 1 where the decoder is shown the condition

    @property
    def size(self) -> int:
        """The number of molecules."""
        return len(self.request)

    def rows(self, index: Tensor | slice) -> Context:
        """The context of some of the molecules, by a mask or by indices, which may repeat."""
        return Context(*(part[index] for part in self))

    def joined(self, other: Context) -> Context:
        """These molecules, then the others."""
        return Context(*(torch.cat(parts) for parts in zip(self, other, strict=True)))


@dataclass(frozen=True)
class TrainingBatch:
    """One batch on the device, with everything random already drawn."""

    inputs: Tensor  # (B, T) token ids after <bos>
    targets: Tensor  # (B, T) the tokens that follow, the last one <eos>
    lengths: Tensor  # (B,) of the targets
    t: Tensor  # (B,) noise levels
    conditions: Tensor  # (B, C) standardized, 0 where missing
    mask: Tensor  # (B, C) 1 where the decoder is shown the value
    known: Tensor  # (B, C) 1 where there is a value at all
    yesno: Tensor  # (C,) bool: the condition is a yes/no column
    posterior_noise: Tensor  # (B, Z)
    channel_noise: Tensor  # (B, Z)
    dropout: Tensor | None = None  # (B, H) factors of the decoder's output
    features: Tensor | None = None  # (B, T, F) how each target is read; computed where missing
    encoded: Tensor | None = None  # rows with t < 1; found, which waits for a GPU, where missing


class Output(NamedTuple):
    """What a training pass needs for its loss; E ≤ B molecules (t < 1) were encoded."""

    logits: Tensor  # (B, T, V)
    posterior: Posterior  # of the E encoded molecules
    head_mean: Tensor  # (E, C)
    head_log_scale: Tensor  # (E, C)
    encoded: Tensor  # (E,) their indices in the batch
    # What the forecast predicts from every prefix and its next token: mean and log spread, each
    # (B, T, C); None without conditions.
    predicted: tuple[Tensor, Tensor] | None = None
