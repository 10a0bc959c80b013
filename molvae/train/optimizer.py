"""Muon for the matrices between hidden layers, AdamW for everything else.

Muon (Jordan et al. 2024) follows the direction of steepest descent in the spectral norm: the
momentum of a matrix with its singular values set to about 1. AdamW is that of Loshchilov & Hutter
(2019). Both have one learning rate: steps of Muon are scaled to the root mean square of AdamW's
(Liu et al. 2025, "Muon is scalable for LLM training"). ``torch.optim.Muon`` is too young for the
versions of torch that molvae supports, and takes the gates of a recurrent layer for one matrix.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from molvae.config import TrainConfig
from molvae.model.cvae import CVAE
from molvae.model.gru import GRU
from molvae.model.memory import Memory
from molvae.train.distributed import World

__all__ = ["Muon", "hidden_matrices", "make_optimizer", "orthogonal", "shares"]

MOMENTUM = 0.95
BETAS = (0.9, 0.98)
TINY = 1e-8
LIKE_ADAM = 0.2  # root mean square of an element of AdamW's steps, in learning rates
# Of Jordan's iteration: singular values end between .7 and 1.2, in five rounds.
QUINTIC, ROUNDS = (3.4445, -4.7750, 2.0315), 5


def make_optimizer(
    network: CVAE, options: TrainConfig, precision: str, world: World | None = None
) -> torch.optim.Optimizer:
    """The optimiser of a run; what is no matrix is not decayed."""
    rate, weight_decay = options.learning_rate, options.weight_decay
    if options.optimizer == "muon":
        dtype = torch.bfloat16 if precision == "bf16" else None
        return Muon(network, rate=rate, weight_decay=weight_decay, dtype=dtype, world=world)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1]},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, weight_decay=weight_decay, foreach=True)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (K, m, n) with the same singular vectors and singular values of about 1."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        both = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, both, x, beta=a)
    return x.mT if tall else x


def hidden_matrices(network: CVAE) -> dict[str, int]:
    """Parameters that lead from layer to layer, by name, and how many matrices each one holds.

    Those that meet the vocabulary or the conditions are not among them.
    """
    found: dict[str, int] = {}
    for name, module in network.named_modules():
        if isinstance(module, GRU):
            found |= {f"{name}.weight_ih_l0": 3, f"{name}.weight_hh_l0": 3}
        elif isinstance(module, Memory):
            found |= {f"{name}.tally.weight": 1}
            found |= {f"{name}.qkv.weight": 3} if module.qkv is not None else {}
    inner = ["posterior", "context.0", "context.2", "head.0", "initial"]
    inner += [f"shift.{i}" for i in range(len(network.shift))]
    if network.film is not None:
        found["film.weight"] = 2
    if network.readout is not None:
        inner += [f"readout.{name}" for name in ("from_state", "from_memory", "from_context")]
    if network.forecast is not None:
        inner += [f"forecast.{name}" for name in ("from_state", "from_memory")]
    found |= {f"{name}.weight": 1 for name in inner}
    found["initial.weight"] = network.config.decoder_layers
    return found


def shares(shapes: Sequence[Sequence[int]], count: int) -> list[int]:
    """Who of ``count`` orthogonalises each of these matrices, so that all have as much to do."""
    cost = [k * min(m, n) ** 2 * (2 * max(m, n) + min(m, n)) for k, m, n in shapes]
    owners, load = [0] * len(shapes), [0] * count
    for i in sorted(range(len(shapes)), key=lambda i: -cost[i]):
        owners[i] = load.index(min(load))
        load[owners[i]] += cost[i]
    return owners


class Muon(torch.optim.Optimizer):
    """One optimiser for all weights of a network.

    ``dtype``: the type in which matrices are orthogonalised, the weights' own if None. Each process
    of ``world`` does so for its share of them and hands it out to the others, so that all take the
    same step to the last bit, whatever machine they run on.
    """

    # As torch's own, without the wrapper that imports torch's compiler: this takes seconds.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(
        self,
        network: CVAE,
        *,
        rate: float,
        weight_decay: float,
        dtype: torch.dtype | None = None,
        world: World | None = None,
    ) -> None:
        parts = hidden_matrices(network)
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
        """One step of every weight that has a gradient; ``closure`` is not used."""
        hidden, ahead = [], []
        for group in self.param_groups:
            given = [p for p in group["params"] if p.grad is not None]
            if given and group["weight_decay"]:
                torch._foreach_mul_(given, 1 - group["lr"] * group["weight_decay"])
            for parameter in given:
                if group["parts"]:
                    hidden.append((parameter, group["lr"]))
                    ahead.append(self._nesterov(parameter).unflatten(0, (group["parts"], -1)))
                else:
                    self._adapt(parameter, group["lr"])
        for (parameter, rate), turned in zip(hidden, self._orthogonalized(ahead), strict=True):
            scale = LIKE_ADAM * math.sqrt(max(turned.shape[-2:]))
            parameter.add_(turned.flatten(0, 1), alpha=-rate * scale)

    def _nesterov(self, parameter: Tensor) -> Tensor:
        """The momentum one step ahead (Nesterov's)."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)

    def _orthogonalized(self, matrices: Sequence[Tensor]) -> list[Tensor]:
        world, owners = self._world, shares([m.shape for m in matrices], self._world.size)
        rows = [m.to(self._dtype or m.dtype) for m in matrices]
        turned = [
            orthogonal(row) if owner == world.rank else torch.empty_like(row)
            for row, owner in zip(rows, owners, strict=True)
        ]
        for rank in range(world.size):
            theirs = [t for t, owner in zip(turned, owners, strict=True) if owner == rank]
            world.hand_out(theirs, rank)
        return turned

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
