"""Does a learned prior help? FCD of molecules decoded from four priors, along the dial.

normal     N(0, I), the prior in training
gaussian   mean and covariance of the latents of training molecules (posterior samples)
flow       RealNVP (Dinh et al. 2017) trained on those latents
posterior  the latents of other training molecules themselves: the result of a perfect prior

python scripts/bench/prior.py MODEL DATASET --test moses_test.csv.gz -o prior.json
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from quality import Bench, Kept, add_options, settings_of, shown, weights_of  # type: ignore[import-not-found]
from torch import Tensor, nn

from molvae.chem.properties import measure_selfies
from molvae.evaluate.diagnostics import encode_molecules
from molvae.generate.decoding import decode_latents
from molvae.model.checkpoint import SavedModel
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws


class Coupling(nn.Module):
    """One affine coupling: half of the latent, scaled and shifted by a function of the rest."""

    def __init__(self, size: int, width: int, mask: Tensor) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask)
        last = nn.Linear(width, 2 * size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.net = nn.Sequential(
            nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last
        )

    def _terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.net(x * self.mask).chunk(2, dim=-1)
        free = 1 - self.mask
        return torch.tanh(log_scale) * free, shift * free

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the normal: (B, Z) and the log determinant (B,)."""
        log_scale, shift = self._terms(x)
        return x * log_scale.exp() + shift, log_scale.sum(dim=-1)

    def back(self, y: Tensor) -> Tensor:
        """From the normal."""
        log_scale, shift = self._terms(y)
        return (y - shift) * (-log_scale).exp()


def train_flow(latents: Tensor, *, steps: int, layers: int = 8, width: int = 256) -> nn.ModuleList:
    """A flow fitted by maximum likelihood, as it was when it gained most over N(0, I).

    The gain, in nats per molecule, is that on latents kept aside; it is printed.
    """
    torch.manual_seed(0)
    size = latents.shape[1]
    parity = torch.arange(size) % 2
    flow = nn.ModuleList(
        Coupling(size, width, (parity if i % 2 else 1 - parity).float()) for i in range(layers)
    )
    optimizer = torch.optim.AdamW(flow.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    held_out, fitted = latents.tensor_split([len(latents) // 10])
    started, most, best = time.monotonic(), -float("inf"), flow.state_dict()
    for step in range(steps + 1):
        if step % max(steps // 10, 1) == 0:
            with torch.no_grad():
                gain = float(log_normal(held_out).mean() - flow_nats(flow, held_out).mean())
            minutes = (time.monotonic() - started) / 60
            say(f"flow, step {step}, {minutes:.1f} min: {gain:.2f} nats better than N(0, I)")
            if gain > most:
                most, best = gain, copy.deepcopy(flow.state_dict())
        batch = fitted[torch.randint(len(fitted), (1024,))]
        loss = flow_nats(flow, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    flow.load_state_dict(best)
    return flow


def log_normal(x: Tensor) -> Tensor:
    """−log N(x; 0, I) without its constant, (B,)."""
    return 0.5 * x.square().sum(dim=-1)


def flow_nats(flow: nn.ModuleList, x: Tensor) -> Tensor:
    """−log density of the flow without the constant of the normal, (B,)."""
    total = torch.zeros(len(x))
    for layer in flow:
        x, log_determinant = layer(x)
        total = total + log_determinant
    return log_normal(x) - total


@torch.no_grad()
def from_flow(flow: nn.ModuleList, noise: Tensor) -> Tensor:
    """Points of the flow from standard normal ones, (B, Z)."""
    for layer in reversed(list(flow)):
        noise = layer.back(noise)  # type: ignore[operator]
    return noise


def decoded(model: SavedModel, z: NDArray[np.float32], t: float, draws: Draws) -> list[str]:
    """Molecules drawn at temperature 1 from latents at a noise level; radicals are left out."""
    rows = decode_latents(model, z, noise=t, draws=draws, temperature=1.0)
    texts = [model.vocabulary.selfies(row.tolist()) for row in rows]
    molecules = measure_selfies(texts, (), model.constraints)
    return [m.smiles for m in molecules if m.smiles and not m.radical]


def main() -> None:
    """Fit the priors, decode from each at each level, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    add_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--fit", type=int, default=150_000, help="training molecules to fit to")
    parser.add_argument("--steps", type=int, default=2000, help="of the flow's training")
    parser.add_argument("--levels", type=float, nargs="+", default=[0, 0.3, 0.6], metavar="T")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    bench = Bench.open(given, given.output.parent)
    model = bench.load(given.model)
    more = {"weights": weights_of(given.model), "fit": given.fit, "steps": given.steps}
    kept = Kept(given.output, {**settings_of(given, bench.dataset), **more})

    train = bench.dataset.part("train")
    chosen = train[bench.draws.permutation("prior", len(train))[: given.fit + given.samples]]
    encoded = encode_molecules(model.network, bench.dataset, chosen, draws=bench.draws)
    points = encoded.sample.astype(np.float32)
    fitted, others = points[: given.fit], points[given.fit :]
    noise = bench.draws.normal("prior", np.arange(given.samples), points.shape[1])
    root = np.linalg.cholesky(np.cov(fitted, rowvar=False))
    flow = train_flow(torch.from_numpy(fitted), steps=given.steps)
    priors: dict[str, NDArray[np.float32]] = {
        "normal": noise,
        "gaussian": (noise @ root.T + fitted.mean(axis=0)).astype(np.float32),
        "flow": from_flow(flow, torch.from_numpy(noise)).numpy(),
        "posterior": others,
    }

    def judge(z: NDArray[np.float32], t: float) -> dict[str, Any]:
        distance: dict[str, Any] = bench.fcd(decoded(model, z, t, bench.draws))
        return distance

    names: list[str] = list(priors)
    lines = ["| t | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    compute: Callable[..., dict[str, Any]] = judge
    for t in given.levels:
        cells = [shown(kept.get(f"{name} {t:g}", compute, priors[name], t)) for name in names]
        lines.append(f"| {t:g} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
