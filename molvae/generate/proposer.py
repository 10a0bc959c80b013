"""The network's part of the sampler: candidates, latents, likelihoods, predictions, walks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from molvae.chem.selfies import split_selfies
from molvae.data.dataset import pad_tokens
from molvae.errors import TargetError
from molvae.generate.decoding import Guidance, decode_tokens
from molvae.generate.request import Request, Span
from molvae.generate.scaffold import Scaffold, decode_scaffold
from molvae.model.checkpoint import SavedModel
from molvae.model.cvae import CVAE, noisy_latent
from molvae.model.loss import reconstruction
from molvae.runtime.device import autocast, choose_precision, on_device
from molvae.runtime.randomness import Draws

__all__ = ["Proposer", "nats_of"]

WALK_STEPS = 20
WALK_RATE = 0.02  # step size; the noise of a step has variance 2 · rate
SHARPEST = 0.05  # smallest spread of the head, in standard deviations, that a walk believes


class Proposer:
    """Runs the network for the sampler; every random number is addressed by its candidate."""

    def __init__(
        self,
        model: SavedModel,
        request: Request,
        *,
        draws: Draws,
        device: torch.device,
        precision: str = "auto",
        batch_size: int = 1024,
    ) -> None:
        self.model, self.request, self.draws, self.device = model, request, draws, device
        self.network = model.network.to(device).eval()
        self.precision = choose_precision(precision, device)
        self.batch_size = batch_size
        asked = [t.name in model.conditions.names for t in request.targets]
        self.scaffold: Scaffold | None = None
        if request.scaffolds:
            self.scaffold = Scaffold(
                request.scaffolds,
                model.vocabulary,
                model.constraints,
                model.max_tokens,
                fill=request.fill,
            )
        elif request.fill:
            raise TargetError("fill: expected a scaffold with attachment points (*) beside it")
        self._guided = any(asked) and request.weights not in (1, (1, 1))

    def texts(
        self, items: NDArray[np.int64], latents: NDArray[np.float32], levels: NDArray[np.float32]
    ) -> list[str]:
        """SELFIES of candidates decoded from latents (N, Z) at noise levels (N,).

        A latent of NaN is replaced by a draw from N(0, I).
        """
        request, draws, network = self.request, self.draws, self.network
        size, limit = network.config.latent_size, self.model.max_tokens
        fresh = np.isnan(latents[:, :1])
        z = self.tensor(np.where(fresh, draws.normal("latent", items, size), latents))
        noise, t = self.tensor(draws.normal("channel", items, size)), self.tensor(levels)
        wanted = self.model.conditions.draw(request.targets, items, draws)
        conditions, mask = map(self.tensor, self.model.conditions.standardize(wanted))
        uniform = draws.uniform("token", items, limit)
        if self.device.type == "mps":  # no double precision
            uniform = np.minimum(uniform.astype(np.float32), np.float32(1 - 2**-24))
        with torch.no_grad(), autocast(self.device, self.precision):
            noisy, guidance = noisy_latent(z, t, noise), None
            context = network.make_context(noisy, t, conditions, mask)
            if self._guided:
                free = network.make_context(noisy, t)
                weight = _drawn(request.weights, draws, "guidance", items)
                guidance = Guidance(free, self.tensor(weight))
            # Decoding stops at the length of the longest training molecule.
            if self.scaffold is not None and self.scaffold.grows:
                return decode_scaffold(
                    network,
                    context,
                    self.scaffold,
                    items,
                    draws,
                    limit=limit,
                    temperature=request.temperature,
                    guidance=guidance,
                    cutoff=request.epsilon_cutoff,
                    never=self.model.never,
                )
            tokens = decode_tokens(
                network,
                context,
                limit,
                temperature=request.temperature,
                uniform=self.tensor(uniform),
                guidance=guidance,
                cutoff=request.epsilon_cutoff,
                never=self.model.never,
            )
        return [self.model.vocabulary.selfies(row) for row in tokens.tolist()]

    def levels(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Noise levels (N,) of candidates, as requested."""
        return _drawn(self.request.levels, self.draws, "noise", items)

    @torch.no_grad()
    def encode(
        self, ids: Sequence[NDArray[np.int64]], *, rows: int | None = None
    ) -> NDArray[np.float32]:
        """Posterior means (N, Z) of molecules given as token ids.

        With ``rows`` every batch has that many, the last one filled with repeats: the last bits of
        a mean, which depend on the shape of its batch, then depend on the molecule alone.
        """
        size, count = self.network.config.latent_size, rows or self.batch_size
        means = [np.empty((0, size), dtype=np.float32)]
        for start in range(0, len(ids), count):
            part = list(ids[start : start + count])
            filled = part if rows is None else part + part[:1] * (rows - len(part))
            _, targets, lengths = pad_tokens(filled)
            with autocast(self.device, self.precision):
                posterior = self.network.encode(self.tensor(targets), self.tensor(lengths))
            means.append(posterior.mean.cpu().numpy()[: len(part)])
        return np.concatenate(means)

    def nats(
        self, ids: Sequence[NDArray[np.int64]], latents: NDArray[np.float32] | None = None
    ) -> list[float]:
        """−log p of molecules given as token ids, without conditions, in nats.

        At t = 1, where it is exact because no latent enters; with ``latents`` (N, Z) at t = 0.
        """
        return nats_of(
            self.network,
            ids,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            latents=latents,
        )

    def encode_selfies(
        self, texts: Sequence[str], *, rows: int | None = None
    ) -> NDArray[np.float32]:
        """Posterior means (N, Z) of SELFIES; NaN where the model lacks a token.

        ``rows`` as of :meth:`encode`.
        """
        places = {text: i for i, text in enumerate(dict.fromkeys(texts))}  # parents repeat
        usable, ids = self._known(list(places))
        size = self.network.config.latent_size
        latents = np.full((len(places), size), np.nan, dtype=np.float32)
        latents[usable] = self.encode(ids, rows=rows)
        return latents[[places[text] for text in texts]]

    def nats_of_selfies(self, texts: Sequence[str]) -> list[float | None]:
        """:meth:`nats` of SELFIES; None where the model lacks a token."""
        usable, ids = self._known(texts)
        nats = iter(self.nats(ids))
        return [next(nats) if use else None for use in usable]

    def _known(self, texts: Sequence[str]) -> tuple[list[bool], list[NDArray[np.int64]]]:
        """(whether the model has all tokens of each text, ids of the texts where it has)."""
        vocabulary = self.model.vocabulary
        rows = [split_selfies(text) for text in texts]
        usable = [bool(row) and not vocabulary.unknown(row) for row in rows]
        known = [row for row, use in zip(rows, usable, strict=True) if use]
        return usable, [vocabulary.encode_symbols(row) for row in known]

    @torch.no_grad()
    def predict(self, latents: NDArray[np.float32]) -> NDArray[np.float64]:
        """The property head's values for latents (N, Z) in their own units: (N, C)."""
        mean, _ = self.network.predict(self.tensor(latents))
        return self.model.conditions.from_head(mean.cpu().double().numpy())

    def walk(self, latents: NDArray[np.float32], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Latents (N, Z) after some steps toward the request, by the property head's gradient.

        Langevin dynamics (Welling & Teh 2011) of log p(request | z) + log N(z; 0, I): a target
        costs half the squared distance of the head's mean from it, in units of the head's spread; a
        yes/no target costs the negative log-likelihood of the answer.
        """
        conditions, size = self.model.conditions, latents.shape[1]
        asked = [t for t in self.request.targets if t.name in conditions.names]
        where = [conditions.names.index(t.name) for t in asked]
        ends = np.full((2, len(conditions)), np.nan)
        ends[:, where] = np.asarray([[t.low for t in asked], [t.high for t in asked]])
        low, high = ((end - conditions.mean) / conditions.std for end in ends)
        low_end, high_end = (self.tensor(end[where].astype(np.float32)) for end in (low, high))
        yesno = self.tensor(conditions.yesno[where])
        z = self.tensor(latents)
        for step in range(WALK_STEPS):
            noise = self.tensor(self.draws.normal("walk", items, size, epoch=step))
            with torch.enable_grad():
                z = z.detach().requires_grad_(True)
                mean, log_scale = (output[:, where] for output in self.network.predict(z))
                spread = torch.exp(log_scale.detach()).clamp(min=SHARPEST)
                outside = functional.relu(low_end - mean) + functional.relu(mean - high_end)
                cost = torch.where(
                    yesno,
                    functional.softplus(torch.where(low_end > 0, -mean, mean)),
                    0.5 * (outside / spread).square(),
                )
                energy = cost.sum() + 0.5 * z.square().sum()
                (gradient,) = torch.autograd.grad(energy, z)
            # Clip the gradient: a head with a small spread would throw the latent far away.
            norm = gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
            gradient = gradient * (size**0.5 / WALK_RATE / norm / 4).clamp(max=1.0)
            z = z.detach() - WALK_RATE * gradient + (2 * WALK_RATE) ** 0.5 * noise
        moved: NDArray[np.float32] = z.detach().cpu().numpy()
        return moved

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """The array on the device."""
        return on_device(array, self.device)


@torch.no_grad()
def nats_of(
    network: CVAE,
    ids: Sequence[NDArray[np.int64]],
    *,
    device: torch.device,
    precision: str,
    batch_size: int = 256,
    latents: NDArray[np.float32] | None = None,
) -> list[float]:
    """−log p of molecules given as token ids, as :meth:`Proposer.nats`."""
    nats: list[float] = []
    for start in range(0, len(ids), batch_size):
        arrays = pad_tokens(list(ids[start : start + batch_size]))
        inputs, targets, lengths = (on_device(array, device) for array in arrays)
        z = torch.zeros(len(lengths), network.config.latent_size, device=device)
        t = torch.ones_like(z[:, 0])
        if latents is not None:
            z = on_device(latents[start : start + len(lengths)], device)
            t = torch.zeros_like(t)
        with autocast(device, precision):
            context = network.make_context(z, t)
            logits = network.decode(inputs, context)
        nats += reconstruction(logits, targets, lengths).tolist()
    return nats


def _drawn(span: Span, draws: Draws, purpose: str, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """The value of a span for every item: the same one, or a uniform draw between the ends."""
    if not isinstance(span, tuple):
        return np.full(len(items), span, dtype=np.float32)
    low, high = span
    uniform = draws.uniform(purpose, items, 1)[:, 0]
    return (low + (high - low) * uniform).astype(np.float32)
