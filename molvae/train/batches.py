"""What training adds to a batch: noise levels, noises, conditions shown or hidden, dropout.

Everything is addressed by (seed, epoch, molecule), so that batch-mates and resuming change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.chem.vocabulary import EOS
from molvae.config import Config, TrainConfig
from molvae.data.dataset import Batch
from molvae.model.conditions import ConditionSet
from molvae.runtime.randomness import Draws

__all__ = ["DrawnBatch", "drawn_batch", "noise_levels", "shown"]


@dataclass(frozen=True)
class DrawnBatch:
    """One batch on the device, with everything random already drawn; shapes as in model.py."""

    inputs: Tensor  # (B, T) token ids after <bos>, some hidden by word dropout
    targets: Tensor  # (B, T)
    lengths: Tensor  # (B,)
    t: Tensor  # (B,) noise levels
    conditions: Tensor  # (B, C) standardised, 0 where missing
    mask: Tensor  # (B, C) 1 where the decoder is shown the value
    known: Tensor  # (B, C) 1 where there is a value at all
    posterior_noise: Tensor  # (B, Z)
    channel_noise: Tensor  # (B, Z)
    dropout: Tensor | None  # (B, H) factors of the decoder's output
    features: Tensor | None  # (B, T, F) derivation features: how each target is read


def drawn_batch(
    batch: Batch,
    columns: list[int],
    conditions: ConditionSet,
    config: Config,
    draws: Draws,
    *,
    epoch: int,
    device: torch.device,
    features: Callable[[Tensor], Tensor | None] = lambda targets: None,
) -> DrawnBatch:
    """The batch with its draws for this epoch; ``columns`` are those of the conditions.

    ``features`` makes the derivation features of target ids; here, since on a GPU their many small
    steps would cost more than the network's.
    """
    items, latent = batch.items, config.model.latent_size
    scaled, known = conditions.standardize(batch.values[:, columns])
    visible = shown(items, len(columns), config.train, draws, epoch=epoch)

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    given = features(torch.from_numpy(batch.targets))
    inputs = batch.inputs
    if config.train.word_dropout > 0:
        u = draws.uniform("words", items, inputs.shape[1], epoch=epoch)
        inputs = np.where((u < config.train.word_dropout) & (inputs > EOS), 0, inputs)
    dropout = None
    if config.model.dropout > 0:
        keep = 1 - config.model.dropout
        u = draws.uniform("dropout", items, config.model.decoder_size, epoch=epoch)
        dropout = tensor((u < keep).astype(np.float32) / np.float32(keep))
    return DrawnBatch(
        tensor(inputs),
        tensor(batch.targets),
        tensor(batch.lengths),
        tensor(noise_levels(items, config.train, draws, epoch=epoch)),
        tensor(scaled),
        tensor((known * visible).astype(np.float32)),
        tensor(known),
        tensor(draws.normal("latent", items, latent, epoch=epoch)),
        tensor(draws.normal("channel", items, latent, epoch=epoch)),
        dropout,
        None if given is None else given.to(device),
    )


def noise_levels(
    items: NDArray[np.int64], options: TrainConfig, draws: Draws, *, epoch: int
) -> NDArray[np.float32]:
    """t of each molecule, shape (B,): 1, 0, or uniform between, in the configured shares."""
    u = draws.uniform("level", items, 2, epoch=epoch)
    t = np.where(u[:, 0] < options.prior_share + options.exact_share, 0.0, u[:, 1])
    return np.where(u[:, 0] < options.prior_share, 1.0, t).astype(np.float32)


def shown(
    items: NDArray[np.int64], count: int, options: TrainConfig, draws: Draws, *, epoch: int
) -> NDArray[np.bool_]:
    """Which of ``count`` conditions each molecule shows, shape (B, count).

    None, or each with a probability of the molecule's own: the square of a uniform number, because
    requests for one or two properties are the common ones and training should see many of them.
    """
    u = draws.uniform("shown", items, count + 2, epoch=epoch)
    some = u[:, :1] >= options.unconditioned_share
    return some & (u[:, 2:] < u[:, 1:2] ** 2)
