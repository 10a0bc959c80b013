"""The random draws of a training batch: noise levels, noises, conditions shown, dropout.

Each draw depends on (seed, epoch, molecule) alone, so that batch-mates and resuming change nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.config import Config, TrainConfig
from molvae.data.dataset import Batch
from molvae.model.conditions import ConditionSet
from molvae.model.records import TrainingBatch
from molvae.runtime.device import on_device
from molvae.runtime.randomness import Draws

__all__ = ["drawn_batch", "noise_levels", "shown"]


def drawn_batch(
    batch: Batch,
    levels: NDArray[np.float32],
    columns: list[int],
    conditions: ConditionSet,
    config: Config,
    draws: Draws,
    *,
    epoch: int,
    device: torch.device,
    features: Callable[[Tensor], Tensor | None] = lambda targets: None,
) -> TrainingBatch:
    """The batch at these noise levels, with the other draws of this epoch.

    ``columns`` are those of the conditions. ``features`` makes the derivation features of target
    ids; here, since on a GPU their many small steps would cost more than the network's.
    """
    items, latent = batch.items, config.model.latent_size
    scaled, known = conditions.standardize(batch.values[:, columns])
    visible = shown(items, len(columns), config.train, draws, epoch=epoch)

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return on_device(array, device)

    target_features = features(torch.from_numpy(batch.targets))
    dropout = None
    if config.model.dropout > 0:
        keep = 1 - config.model.dropout
        u = draws.uniform("dropout", items, config.model.decoder_size, epoch=epoch)
        dropout = tensor((u < keep).astype(np.float32) / np.float32(keep))
    return TrainingBatch(
        inputs=tensor(batch.inputs),
        targets=tensor(batch.targets),
        lengths=tensor(batch.lengths),
        t=tensor(levels),
        conditions=tensor(scaled),
        mask=tensor((known * visible).astype(np.float32)),
        known=tensor(known),
        yesno=tensor(conditions.yesno),
        posterior_noise=tensor(draws.normal("latent", items, latent, epoch=epoch)),
        channel_noise=tensor(draws.normal("channel", items, latent, epoch=epoch)),
        dropout=dropout,
        features=None if target_features is None else tensor(target_features.numpy()),
        encoded=tensor(np.flatnonzero(levels < 1)),
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

    None, or each with a probability that is drawn for the molecule: the square of a uniform number,
    because most requests are for one or two properties and training should see many of those.
    """
    u = draws.uniform("shown", items, count + 2, epoch=epoch)
    some = u[:, :1] >= options.unconditioned_share
    return some & (u[:, 2:] < u[:, 1:2] ** 2)
