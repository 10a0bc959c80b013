"""What changes over a training: learning rate, weight of the KL term, and the number of steps."""

from __future__ import annotations

import math

from molvae.config import TrainConfig
from molvae.data.dataset import steps_per_epoch
from molvae.errors import ConfigError

__all__ = ["KLWeight", "batch_size_for", "kl_weight", "learning_rate", "score", "total_steps"]


def _checked(progress: float) -> float:
    if not progress >= 0.0:
        raise ConfigError(f"progress: got {progress}, expected a share of the budget from 0 to 1")
    return min(progress, 1.0)


def kl_weight(progress: float, config: TrainConfig) -> float:
    """β at a share of the budget: linear from 0 to ``kl_weight`` over ``kl_warm_up``, then flat.

    With ``kl_cycles`` this is repeated, each time in an equal part of the budget (Fu et al. 2019).
    """
    progress = _checked(progress)
    if config.kl_warm_up == 0:
        return config.kl_weight
    within = progress * config.kl_cycles % 1.0 if progress < 1.0 else 1.0
    return config.kl_weight * min(within / config.kl_warm_up, 1.0)


def learning_rate(progress: float, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to 2 % of the peak (Loshchilov & Hutter 2017)."""
    progress = _checked(progress)
    peak = config.learning_rate
    if progress < config.warm_up:
        return peak * max(progress / config.warm_up, 0.01)
    share = (progress - config.warm_up) / (1.0 - config.warm_up)
    return peak * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * share)))


# The controlled weight changes by at most a factor of e in a twentieth of the budget, and stays
# between 0.02 of its start and the ELBO's 1.
SPEED = 20.0
LOWEST, HIGHEST = 0.02, 1.0
MEMORY = 0.98  # of the moving average of D(0), per step that shows it


class KLWeight:
    """β of each step. With ``distortion_target`` it follows D(0) of the training molecules.

    Constrained optimization in the manner of GECO (Rezende & Viola 2018): below the target
    β grows, above it β shrinks, in proportion to the relative distance.
    """

    def __init__(self, options: TrainConfig) -> None:
        self.options = options
        self.log_weight = math.log(max(options.kl_weight, 1e-6))
        self.distortion: float | None = None  # moving average of D(0)
        self.progress = 0.0

    def at(self, progress: float) -> float:
        """The weight at a share of the budget."""
        if self.options.distortion_target is None:
            return kl_weight(progress, self.options)
        return math.exp(self.log_weight)

    def observe(self, progress: float, nats: float, molecules: float) -> None:
        """Note the nats that a step at this share of the budget cost its molecules with t = 0."""
        target = self.options.distortion_target
        if target is None or molecules == 0 or not math.isfinite(nats):
            return
        distortion = nats / molecules
        before = distortion if self.distortion is None else self.distortion
        self.distortion = MEMORY * before + (1 - MEMORY) * distortion
        below = max(-1.0, min(1.0, (target - self.distortion) / target))
        step = SPEED * (progress - self.progress) * below
        self.progress = progress
        start = max(self.options.kl_weight, 1e-6)
        lowest, highest = math.log(LOWEST * start), math.log(max(HIGHEST, start))
        self.log_weight = max(lowest, min(highest, self.log_weight + step))

    def state(self) -> dict[str, float | None]:
        """What a resumed run needs."""
        return {
            "log_weight": self.log_weight,
            "distortion": self.distortion,
            "progress": self.progress,
        }

    def restore(self, state: dict[str, float | None]) -> None:
        """Continue from :meth:`state`."""
        self.log_weight = float(state["log_weight"] or 0.0)
        self.distortion = state["distortion"]
        self.progress = float(state["progress"] or 0.0)


DEFAULT_EPOCHS = 30
MIN_STEPS = 6_000
SMALL_DATA = 50_000


def batch_size_for(options: TrainConfig, molecules: int) -> int:
    """Molecules per step: small data need many small steps."""
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
    """Mean of D(0), D(½) and D(1), as far as training uses these noise levels; lower is better.

    A run at t = 0 alone adds β·R(0), which makes the score the negative ELBO. Other models are
    sampled from t = 1, where the rate at t = 0 does not matter.
    """
    between = 1 - options.prior_share - options.exact_share > 1e-9
    visited = {"0": between or options.exact_share > 0, "0.5": between}
    visited["1"] = between or options.prior_share > 0
    chosen = [distortion[level] for level, yes in visited.items() if yes]
    plain = not (between or options.prior_share > 0)
    return sum(chosen) / len(chosen) + (options.kl_weight * rate if plain else 0.0)
