"""The model-updating engine: the decoder learns from the best molecules as the search goes on."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.checkpoint import SavedModel
from molvae.conditions import Condition, ConditionSet, Target
from molvae.config import Config, TrainConfig
from molvae.dataset import pad_tokens
from molvae.loss import elbo
from molvae.noise import noise_levels
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines import Candidate, Evolution
from molvae.runtime import autocast, normal_quantile
from molvae.sampler import Proposer
from molvae.tokens import split_selfies
from molvae.train.optimizer import make_optimizer
from molvae.train.start import first_network

__all__ = ["Learning"]

SCORE = "_objective"  # the condition that stands for the score
STEPS, BATCH = 8, 64  # per round
CAUGHT_UP = 50  # rounds' worth of learning, at most, when a run goes on
RATE = 1e-3
SHOWN = 0.9  # share of molecules whose score the decoder is shown
BEYOND = 0.5  # standard deviations above the best that is asked for
HALF = 0.05  # of the pool: rank at which a molecule is drawn half as often as the best


class Learning(Evolution):
    """Evolution with one more move: samples of a decoder that has seen the best molecules.

    The score is a condition of the model, as a quantile of N(0, 1) of the molecule's rank. Good
    molecules are drawn more often, and new ones are asked for above the best.
    """

    moves = ("learned", *Evolution.moves)

    def __init__(
        self, proposer: Proposer, archive: Archive, *, parents: int = 100, first: int = 100
    ) -> None:
        """As of :class:`Evolution`; the model of ``proposer`` itself stays as it is."""
        super().__init__(proposer, archive, parents=parents, first=first)
        self.tuned = _with_score(proposer.model)
        self.network = self.tuned.network.to(proposer.device)
        self._options = TrainConfig(learning_rate=RATE)
        self._optimizer = make_optimizer(self.network, self._options, proposer.precision)
        for group in self._optimizer.param_groups:
            group["lr"] = RATE
        self._steps = 0

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Learn from the best so far."""
        super().tell(candidates, answers)
        if len(self.archive) >= self.first:
            self._learn(STEPS)

    def restore(self, answers: Sequence[Answer]) -> None:
        """Count the moves, and learn about as much as the run had learned when it ended."""
        super().restore(answers)
        rounds = len({answer.round for answer in answers})
        if rounds and len(self.archive) >= self.first:
            self._learn(STEPS * min(rounds, CAUGHT_UP))

    def _make(
        self, move: str, items: NDArray[np.int64], pairs: NDArray[np.int64], texts: list[str]
    ) -> list[str]:
        if move != "learned":
            return super()._make(move, items, pairs, texts)
        top = normal_quantile(np.asarray([1 - 0.5 / max(len(self.archive.pool), 1)]))[0] + BEYOND
        wish = Target(SCORE, float(top), float(top))
        request = replace(self.proposer.request, targets=(*self.proposer.request.targets, wish))
        tuned = Proposer(
            self.tuned, request, draws=self.draws, device=self.proposer.device,
            precision=self.proposer.precision, batch_size=self.proposer.batch_size,
        )  # fmt: skip
        latents = np.full((len(items), self.size), np.nan, dtype=np.float32)
        return tuned.texts(items, latents, np.ones(len(items), dtype=np.float32))

    def _learn(self, steps: int) -> None:
        """Some steps on molecules of the pool, the better ones more often."""
        scores, vocabulary = self.archive.normal_scores(), self.proposer.model.vocabulary
        rows, worth = [], []
        for answer in self.archive.pool:
            symbols = split_selfies(self.selfies(answer.smiles))
            if not vocabulary.unknown(symbols):  # a mutation may bring in what it does not know
                rows.append(vocabulary.encode_symbols(symbols))
                worth.append(scores[answer.smiles])
        if not rows:
            return
        weights = 1.0 / (np.arange(len(rows)) + max(HALF * len(rows), 1.0))
        edges = np.cumsum(weights / weights.sum())
        self.network.train()
        for _ in range(steps):
            self._steps += 1
            u = self.draws.uniform("learn", np.arange(BATCH), 1, epoch=self._steps)[:, 0]
            chosen = np.minimum(np.searchsorted(edges, u), len(rows) - 1).tolist()
            self._step([rows[i] for i in chosen], [worth[i] for i in chosen])

    def _step(self, rows: list[NDArray[np.int64]], scores: list[float]) -> None:
        device, draws, size = self.proposer.device, self.draws, self.size
        items = np.arange(len(rows), dtype=np.int64)
        inputs, targets, lengths = (torch.from_numpy(a).to(device) for a in pad_tokens(rows))
        known = torch.zeros(len(rows), len(self.tuned.conditions), device=device)
        known[:, -1] = 1.0
        values = torch.zeros_like(known)
        values[:, -1] = torch.tensor(scores, device=device)
        shown = draws.uniform("shown", items, 1, epoch=self._steps) < SHOWN
        mask = known * torch.from_numpy(shown.astype(np.float32)).to(device)
        t = noise_levels(items, self._options, draws, epoch=self._steps)
        noises = [
            torch.from_numpy(draws.normal(name, items, size, epoch=self._steps)).to(device)
            for name in ("latent", "channel")
        ]
        with autocast(device, self.proposer.precision):
            output = self.network(
                inputs, targets, lengths, torch.from_numpy(t).to(device), values, mask, *noises
            )
        yesno = torch.zeros(known.shape[1], dtype=torch.bool, device=device)
        terms = elbo(
            output, targets, lengths, values, known, yesno, kl_weight=self._options.kl_weight,
            head_weight=self._options.head_weight, forecast_weight=self._options.forecast_weight,
        )  # fmt: skip
        self._optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._options.clip)
        if bool(torch.isfinite(norm)):
            self._optimizer.step()


def _with_score(model: SavedModel) -> SavedModel:
    """A copy of a model with one more condition, the last, which has no say at first."""
    points = np.linspace(0.5 / 129, 1 - 0.5 / 129, 129)
    score = Condition(
        SCORE, "number", "", builtin=False, integer=False, known=1, mean=0.0, std=1.0,
        quantiles=tuple(normal_quantile(points).tolist()),
    )  # fmt: skip
    conditions = ConditionSet([*model.conditions.conditions, score])
    config = Config(model=model.network.config)
    network = first_network(config, len(model.vocabulary), conditions, model)
    return replace(model, network=copy.deepcopy(network), conditions=conditions)
