"""Held-out molecules, decoded from their latents at one noise level; used by ``quality.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.chem.properties import Measured, measure_selfies
from molvae.data.dataset import Batch, Dataset
from molvae.evaluate.diagnostics.base import batches
from molvae.evaluate.diagnostics.rates import noisy_posterior
from molvae.generate.decoding import decode_tokens
from molvae.model.checkpoint import SavedModel
from molvae.model.cvae import noisy_latent
from molvae.model.loss import kl_divergence, reconstruction
from molvae.model.records import Context
from molvae.runtime.device import choose_device
from molvae.runtime.progress import Progress
from molvae.runtime.randomness import Draws


@dataclass
class Decoded:
    """Reconstructions of held-out molecules at a noise level, one entry per molecule."""

    molecules: list[Measured]
    exact: list[bool]
    similarity: list[float]  # to the source

    def means(self, n: int) -> dict[str, float]:
        """The figures of the first n."""
        radical = [m.radical for m in self.molecules]
        columns: dict[str, Sequence[float]] = {
            "exact": self.exact,
            "tanimoto": self.similarity,
            "radical": radical,
        }
        return {name: float(np.mean(values[:n])) for name, values in columns.items()}

    def usable(self) -> list[str]:
        """Canonical SMILES of those that ``molvae generate`` would write too."""
        return [m.smiles for m in self.molecules if m.smiles and not m.radical]


class Level:
    """Held-out molecules through the channel at one noise level, on the noise of ``figures``."""

    def __init__(
        self, dataset: Dataset, model: SavedModel, t: float, draws: Draws, device: str
    ) -> None:
        self.dataset, self.model, self.t, self.draws = dataset, model, t, draws
        self.device = choose_device(device)
        self.decoded: dict[tuple[str, str], Decoded] = {}
        self.distortion = self.rate = 0.0  # summed over the molecules

    @torch.no_grad()
    def add(self, items: NDArray[np.int64], *, whole: bool) -> None:
        """Decode molecules; not ``whole``: only sampled, from the posterior sample."""
        network, draws = self.model.network.eval(), self.draws
        size = network.config.latent_size
        with Progress(f"t = {self.t:g}", len(items)) as progress:
            for _, batch in batches(self.dataset, items):
                targets, lengths = self._tensor(batch.targets), self._tensor(batch.lengths)
                posterior = network.encode(targets, lengths)
                z = posterior.sample(self._tensor(draws.normal("v-latent", batch.items, size)))
                uniform = draws.uniform("dial", batch.items, self.model.max_tokens)
                truth = [m.smiles for m in self._measured(batch.targets)]
                sources = {"sample": self._context(z, batch)}
                if whole:
                    logits = network.decode(self._tensor(batch.inputs), sources["sample"])
                    self.distortion += reconstruction(logits, targets, lengths).sum().item()
                    self.rate += kl_divergence(noisy_posterior(posterior, self.t)).sum().item()
                    sources["mean"] = self._context(posterior.mean, batch)
                for source, context in sources.items():
                    self._decode((source, "sampled"), context, truth, self._tensor(uniform))
                    if whole:
                        self._decode((source, "greedy"), context, truth, None)
                progress.advance(len(batch.items))

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _context(self, z: Tensor, batch: Batch) -> Context:
        network = self.model.network
        noise = self.draws.normal("v-channel", batch.items, z.shape[1])
        t = torch.full((len(z),), self.t, device=self.device)
        return network.make_context(noisy_latent(z, t, self._tensor(noise)), t)

    def _decode(
        self, way: tuple[str, str], context: Context, truth: list[str], uniform: Tensor | None
    ) -> None:
        limit = self.model.max_tokens
        rows = decode_tokens(self.model.network, context, limit, temperature=1.0, uniform=uniform)
        decoded = self.decoded.setdefault(way, Decoded([], [], []))
        measured = self._measured(rows.cpu().numpy())
        mine = [m.smiles for m in measured]
        decoded.molecules += measured
        decoded.exact += [a == b for a, b in zip(mine, truth, strict=True)]
        decoded.similarity += tanimoto(prints(mine), prints(truth)).diagonal().tolist()

    def _measured(self, rows: NDArray[np.int64]) -> list[Measured]:
        texts = [self.model.vocabulary.selfies(row.tolist()) for row in rows]
        return measure_selfies(texts, (), self.model.constraints)


def prints(smiles: list[str]) -> NDArray[np.uint8]:
    """Morgan fingerprints, radius 2, 2048 bits; without a bit where there is no molecule."""
    rows = np.zeros((len(smiles), 256), dtype=np.uint8)
    for row, mol in zip(rows, map(chem.parse, smiles), strict=True):
        if mol is not None:
            row[:] = chem.fingerprints([mol], radius=2, size=2048)[0]
    return rows
