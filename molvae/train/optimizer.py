"""Muon for the matrices between hidden layers, AdamW for everything else.

Muon (Jordan et al. 2024) follows the direction of steepest descent in the spectral norm: the
momentum of a matrix with its singular values set to about 1. AdamW is that of Loshchilov & Hutter
(2019). Both have one learning rate: steps of Muon are scaled to the root mean square of AdamW's
(Liu et al. 2025, "Muon is scalable for LLM training"). ``torch.optim.Muon`` is too young for the
versions of torch that molvae supports, and takes the gates of a recurrent layer for one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from molvae.config import TrainConfig
from molvae.model.cvae import CVAE
from molvae.runtime.light import light_optimizer
from molvae.train.distributed import World

__all__ = ["Muon", "make_optimizer", "orthogonal", "shares"]

MOMENTUM = 0.95
BETAS = (0.9, 0.98)
TINY = 1e-8
LIKE_ADAM = 0.2  # root mean square of an element of AdamW's steps, in learning rates
# Jordan's iteration: singular values end between 0.7 and 1.2 after five rounds.
QUINTIC, ROUNDS = (3.4445, -4.7750, 2.0315), 5


def make_optimizer(
    network: CVAE, options: TrainConfig, precision: str, world: World | None = None
) -> torch.optim.Optimizer:
    """The optimizer of a run; weight decay applies to matrices only."""
    rate, weight_decay = options.learning_rate, options.weight_decay
    if options.optimizer == "muon":
        dtype = torch.bfloat16 if precision == "bf16" else None
        muon = light_optimizer(Muon)
        return muon(network, rate=rate, weight_decay=weight_decay, dtype=dtype, world=world)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = light_optimizer(torch.optim.AdamW)
    return adamw(groups, lr=rate, betas=BETAS, weight_decay=weight_decay, foreach=True)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (K, m, n) with the same singular vectors and singular values of about 1."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


def shares(shapes: Sequence[Sequence[int]], count: int) -> list[int]:
    """The process, of ``count``, that orthogonalizes each matrix, so that all share the work."""
    cost = [k * min(m, n) ** 2 * (2 * max(m, n) + min(m, n)) for k, m, n in shapes]
    owners, load = [0] * len(shapes), [0] * count
    for i in sorted(range(len(shapes)), key=lambda i: -cost[i]):
        owners[i] = load.index(min(load))
        load[owners[i]] += cost[i]
    return owners


class Muon(torch.optim.Optimizer):
    """One optimizer for all weights of a network.

    ``dtype``: the type in which matrices are orthogonalized; by default the weights' own. Each
    process of ``world`` orthogonalizes its share of them and sends it to the others, so that all
    take the same step to the last bit, whatever machine they run on.
    """

    def __init__(
        self,
        network: CVAE,
        *,
        rate: float,
        weight_decay: float,
        dtype: torch.dtype | None = None,
        world: World | None = None,
    ) -> None:
        parts = network.hidden_matrices()
        named = dict(network.named_parameters())
        rest = [parameter for name, parameter in named.items() if name not in parts]
        groups: list[dict[str, Any]] = [
            {"params": [named[name]], "parts": count, "weight_decay": weight_decay}
            for name, count in parts.items()
        ]
        groups += [
            {"params": [p for p in rest if p.ndim > 1], "parts": 0, "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "parts": 0, "weight_decay": 0.0},
        ]
        super().__init__(groups, {"lr": rate})
        self._dtype, self._world = dtype, world or World()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient; ``closure`` is unused."""
        hidden, nesterov = [], []
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            if trained and group["weight_decay"]:
                torch._foreach_mul_(trained, 1 - group["lr"] * group["weight_decay"])
            for parameter in trained:
                if group["parts"]:
                    hidden.append((parameter, group["lr"]))
                    nesterov.append(self._nesterov(parameter).unflatten(0, (group["parts"], -1)))
                else:
                    self._adapt(parameter, group["lr"])
        for (parameter, rate), step in zip(hidden, self._orthogonalized(nesterov), strict=True):
            scale = LIKE_ADAM * math.sqrt(max(step.shape[-2:]))
            parameter.add_(step.flatten(0, 1), alpha=-rate * scale)

    def _nesterov(self, parameter: Tensor) -> Tensor:
        """Nesterov's momentum: the gradient one step ahead."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)

    def _orthogonalized(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        """The matrices orthogonalized, each by one of the processes."""
        world, owners = self._world, shares([m.shape for m in matrices], self._world.size)
        rows = [m.to(self._dtype or m.dtype) for m in matrices]
        results = [
            orthogonal(row) if owner == world.rank else torch.empty_like(row)
            for row, owner in zip(rows, owners, strict=True)
        ]
        for rank in range(world.size):
            theirs = [r for r, owner in zip(results, owners, strict=True) if owner == rank]
            world.hand_out(theirs, rank)
        return results

    def _adapt(self, parameter: Tensor, rate: float) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
            state["steps"] = 0
        state["steps"] += 1
        first, second = (1 - beta ** state["steps"] for beta in BETAS)
        mean = state["mean"].lerp_(gradient, 1 - BETAS[0])
        square = state["square"].mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        parameter.addcdiv_(mean, (square / second).sqrt_().add_(TINY), value=-rate / first)
