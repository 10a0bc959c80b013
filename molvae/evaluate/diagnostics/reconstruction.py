"""Molecules and tokens that are reconstructed from the latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import from_selfies
from molvae.chem.vocabulary import BOS, PAD, Vocabulary
from molvae.data.dataset import Batch
from molvae.evaluate.diagnostics.base import (
    EVAL_BATCH,
    LEVELS,
    Advance,
    Molecules,
    batches,
    nothing,
)
from molvae.evaluate.metrics import Metric
from molvae.generate.decoding import decode_tokens
from molvae.model.cvae import CVAE, noisy_latent
from molvae.runtime.device import autocast
from molvae.runtime.randomness import Draws

__all__ = ["Reconstruction", "exact_reconstruction", "reconstructions", "same_molecule"]

LEEWAY = 4  # tokens a decoded string may be longer than the longest of its batch


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction from the posterior mean through the channel at one noise level.

    ``exact``: molecules that equal theirs by canonical isomeric SMILES, decoded greedily.
    ``tokens_free_running``: target tokens, end token included, to which the same greedy string is
    equal at the same position; it sees only its own output, so that one extra token
    makes all later ones wrong. ``tokens_teacher_forced``: target tokens that are the likeliest next
    one given the *true* tokens before.
    """

    t: float
    exact: Metric
    tokens_free_running: Metric
    tokens_teacher_forced: Metric

    def to_json(self) -> dict[str, Any]:
        """Plain data of the three ratios; ``n`` is the number of molecules."""
        names = ("exact", "tokens_free_running", "tokens_teacher_forced")
        return {name: getattr(self, name).to_json() for name in names}


@torch.no_grad()
def reconstructions(
    network: CVAE,
    molecules: Molecules,
    items: NDArray[np.int64],
    *,
    draws: Draws,
    levels: Sequence[float] = LEVELS,
    advance: Advance = nothing,
) -> list[Reconstruction]:
    """Greedy reconstruction from z = mean at every noise level, no condition shown.

    The channel's noise is that of :func:`molvae.evaluate.diagnostics.figures`.
    """
    network.eval()
    counts = np.zeros((len(levels), 3), dtype=np.int64)  # molecules, tokens free, tokens forced
    total = 0
    for _, batch in batches(molecules, items):
        truths = [_Truth(molecules.vocabulary, row) for row in batch.targets]
        total += int(batch.lengths.sum())
        for row, level in zip(counts, levels, strict=True):
            rows, likeliest = _decoded(network, batch, level, draws)
            row[0] += sum(t.equals(decoded) for t, decoded in zip(truths, rows, strict=True))
            row[1] += _hits(batch, rows)
            row[2] += _hits(batch, likeliest)
            advance(len(truths))
    n = len(items)
    return [
        Reconstruction(
            level,
            Metric(int(exact) / max(n, 1), n, int(exact), n),
            Metric(int(free) / max(total, 1), n, int(free), total),
            Metric(int(forced) / max(total, 1), n, int(forced), total),
        )
        for level, (exact, free, forced) in zip(levels, counts, strict=True)
    ]


def _decoded(
    network: CVAE, batch: Batch, level: float, draws: Draws
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(greedy rows, likeliest next tokens after the true ones) of a batch at a noise level."""
    device = next(network.parameters()).device
    inputs, targets, lengths = (
        torch.from_numpy(a).to(device) for a in (batch.inputs, batch.targets, batch.lengths)
    )
    z = network.encode(targets, lengths).mean
    channel = torch.from_numpy(draws.normal("v-channel", batch.items, z.shape[1])).to(device)
    t = torch.full((len(z),), level, device=device)
    context = network.make_context(noisy_latent(z, t, channel), t)
    limit = int(batch.lengths.max()) + LEEWAY
    rows = decode_tokens(network, context, limit, temperature=0.0, uniform=None)
    logits = network.decode(inputs, context)
    logits[:, :, [PAD, BOS]] = -torch.inf  # which the decoder never outputs either
    return rows.cpu().numpy(), logits.argmax(dim=-1).cpu().numpy()


def _hits(batch: Batch, rows: NDArray[np.int64]) -> int:
    """Target tokens, <eos> included, that a row has at the same position; both are padded."""
    width = min(rows.shape[1], batch.targets.shape[1])
    inside = np.arange(width) < batch.lengths[:, None]
    return int(((rows[:, :width] == batch.targets[:, :width]) & inside).sum())


def exact_reconstruction(
    network: CVAE, molecules: Molecules, items: NDArray[np.int64], precision: str = "fp32"
) -> dict[str, Any]:
    """Share of the molecules reconstructed from their mean at t = 0, with its two counts."""
    device = next(network.parameters()).device
    exact = 0
    for start in range(0, len(items), EVAL_BATCH):
        batch = molecules.batch(items[start : start + EVAL_BATCH])
        with autocast(device, precision):
            posterior = network.encode(
                torch.from_numpy(batch.targets).to(device),
                torch.from_numpy(batch.lengths).to(device),
            )
            z = posterior.mean
            zero = torch.zeros(len(z), device=device)
            context = network.make_context(z, zero)
            limit = int(batch.lengths.max()) + LEEWAY
            rows = decode_tokens(network, context, limit, temperature=0.0, uniform=None)
        for row, truth in zip(rows.cpu().numpy(), batch.targets, strict=True):
            exact += same_molecule(molecules.vocabulary, row, truth)
    return {"value": exact / max(len(items), 1), "numerator": exact, "denominator": len(items)}


def same_molecule(vocabulary: Vocabulary, row: NDArray[np.int64], truth: NDArray[np.int64]) -> bool:
    """Whether two token rows are the same molecule, by canonical isomeric SMILES."""
    return _Truth(vocabulary, truth).equals(row)


class _Truth:
    """The original molecule; its canonical SMILES is computed once, and only if needed."""

    def __init__(self, vocabulary: Vocabulary, row: NDArray[np.int64]) -> None:
        self.vocabulary = vocabulary
        self.text = vocabulary.selfies(row.tolist())
        self.smiles: str | None = None

    def equals(self, row: NDArray[np.int64]) -> bool:
        text = self.vocabulary.selfies(row.tolist())
        if text == self.text:
            return True
        if self.smiles is None:
            self.smiles = chem.canonical_smiles(from_selfies(self.text))
        smiles = chem.canonical_smiles(from_selfies(text))
        return smiles is not None and smiles == self.smiles
