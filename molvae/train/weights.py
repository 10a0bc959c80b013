"""The weight of the KL term: by a schedule, or by a controller that holds the distortion."""

from __future__ import annotations

import math

from molvae.config import TrainConfig
from molvae.loss import kl_weight

__all__ = ["KLWeight"]

# The controlled weight grows or shrinks by e in a twentieth of the budget at most, and stays
# between a fiftieth of where it starts and the ELBO's 1.
SPEED = 20.0
LOWEST, HIGHEST = 0.02, 1.0
MEMORY = 0.98  # of the moving average of D(0), per step that shows it


class KLWeight:
    """β of each step. With ``distortion_target`` it follows D(0) of the training molecules.

    Constrained optimisation in the manner of GECO (Rezende & Viola 2018): below the target the
    latent may be charged more, above it less, in proportion to the relative distance.
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
        """What a step at this share of the budget cost its molecules with t = 0, in all."""
        target = self.options.distortion_target
        if target is None or molecules == 0 or not math.isfinite(nats):
            return
        seen = nats / molecules
        before = seen if self.distortion is None else self.distortion
        self.distortion = MEMORY * before + (1 - MEMORY) * seen
        below = max(-1.0, min(1.0, (target - self.distortion) / target))
        step = SPEED * (progress - self.progress) * below
        self.progress = progress
        start = max(self.options.kl_weight, 1e-6)
        lowest, highest = math.log(LOWEST * start), math.log(max(HIGHEST, start))
        self.log_weight = max(lowest, min(highest, self.log_weight + step))

    def state(self) -> dict[str, float | None]:
        """What a resumed run needs."""
        return {
            "log_weight": self.log_weight, "distortion": self.distortion,
            "progress": self.progress,
        }  # fmt: skip

    def restore(self, state: dict[str, float | None]) -> None:
        """Continue from :meth:`state`."""
        self.log_weight = float(state["log_weight"] or 0.0)
        self.distortion = state["distortion"]
        self.progress = float(state["progress"] or 0.0)
