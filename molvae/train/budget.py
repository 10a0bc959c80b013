"""How much a run may train, in which steps, and by what its best weights are chosen."""

from __future__ import annotations

import math

from molvae.config import TrainConfig
from molvae.dataset import steps_per_epoch

__all__ = ["batch_size_for", "score", "total_steps"]

DEFAULT_EPOCHS = 30
MIN_STEPS = 6_000
SMALL_DATA = 50_000


def batch_size_for(options: TrainConfig, molecules: int) -> int:
    """Molecules per step: small data need many small steps more than they need large ones."""
    if options.batch_size is not None:
        return options.batch_size
    return 64 if molecules <= SMALL_DATA else 256


def total_steps(options: TrainConfig, molecules: int, batch_size: int) -> int | None:
    """Steps of the whole run; None if time alone is the budget."""
    per_epoch = steps_per_epoch(molecules, batch_size)
    if options.epochs is not None:
        return max(math.ceil(per_epoch * options.epochs - 1e-9), 1)
    if options.max_time is not None:
        return None
    return max(per_epoch * DEFAULT_EPOCHS, MIN_STEPS)


def score(distortion: dict[str, float], rate: float, options: TrainConfig) -> float:
    """Mean of D(0), D(½), D(1), of the noise levels that training visits; lower is better.

    Only a run that never goes beyond t = 0 adds β·R(0), which makes it the negative ELBO: samples
    of all others start at a latent that is noise alone, where the rate of t = 0 does not matter.
    """
    between = 1 - options.prior_share - options.exact_share > 1e-9
    visited = {"0": between or options.exact_share > 0, "0.5": between}
    visited["1"] = between or options.prior_share > 0
    chosen = [distortion[level] for level, yes in visited.items() if yes]
    plain = not (between or options.prior_share > 0)
    return sum(chosen) / len(chosen) + (options.kl_weight * rate if plain else 0.0)
