"""The engine that updates the model: the decoder learns from the best molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.selfies import split_selfies
from molvae.config import Config, TrainConfig
from molvae.data.dataset import Batch, pad_tokens
from molvae.generate.proposer import Proposer
from molvae.generate.request import Request
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import QUANTILES, Condition, ConditionSet
from molvae.model.loss import LossWeights, elbo
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.base import Candidate
from molvae.optimize.engines.evolution import Evolution
from molvae.runtime.device import autocast
from molvae.runtime.progress import say
from molvae.runtime.randomness import normal_quantile
from molvae.targets import Target
from molvae.train.batches import drawn_batch, noise_levels
from molvae.train.finetune import first_network
from molvae.train.optimizer import make_optimizer

__all__ = ["Learning"]

SCORE = "_objective"  # name of the condition for the score
STEPS, BATCH = 2, 64  # per round
CAUGHT_UP = 50  # rounds of learning repeated, at most, when a run is resumed
RATE = 1e-3
SHOWN = 0.9  # share of molecules whose score the decoder is shown
BEYOND = 0.5  # standard deviations above the best, as the requested score
HALF = 0.05  # of the pool: rank at which a molecule is drawn half as often as the best


class Learning(Evolution):
    """Evolution with one more move: samples of a decoder that has seen the best molecules.

    The score is a condition of the model, as a quantile of N(0, 1) of the molecule's rank. Good
    molecules are drawn more often, and new samples are conditioned on a score above the best.
    """

    moves = ("learned", *Evolution.moves)

    def __init__(
        self, proposer: Proposer, archive: Archive, *, parents: int = 100, first: int = 100
    ) -> None:
        """As of :class:`Evolution`; the model of ``proposer`` itself stays as it is."""
        super().__init__(proposer, archive, parents=parents, first=first)
        self.tuned = _with_score(proposer.model)
        self.network = self.tuned.network.to(proposer.device)
        sizes = self.network.config.model_copy(update={"dropout": 0.0})
        self._config = Config(model=sizes, train=TrainConfig(learning_rate=RATE))
        self._optimizer = make_optimizer(self.network, self._config.train, proposer.precision)
        self._steps = 0
        self._student = Proposer(
            self.tuned,
            self._request(),
            draws=self.draws,
            device=proposer.device,
            precision=proposer.precision,
            batch_size=proposer.batch_size,
        )

    def tuned_model(self) -> SavedModel:
        """The copy that has learned; the score is its last condition."""
        if not self._steps:
            say("note: the search ended before the decoder learned anything")
        return self.tuned.with_network(self.network.eval(), self.tuned.conditions)

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Learn from the best so far."""
        super().tell(candidates, answers)
        if self.opened:
            self._learn(STEPS)

    def restore(self, answers: Sequence[Answer]) -> None:
        """Count the moves, and learn about as much as the run had learned when it ended.

        Known molecules count as rounds of a batch each.
        """
        super().restore(answers)
        rounds = len({answer.round for answer in answers}) + len(self.archive.known) // BATCH
        if rounds and len(self.archive) >= self.first:
            self._learn(STEPS * min(rounds, CAUGHT_UP))

    def _changed(
        self, move: str, items: NDArray[np.int64], first: list[str], second: list[str]
    ) -> list[str]:
        if move != "learned":
            return super()._changed(move, items, first, second)
        self._student.request = self._request()
        self.network.eval()
        return self.drawn(items, self._student)

    def _request(self) -> Request:
        """The request, with a score above the best."""
        top = max(self.archive.normal_scores().values(), default=0.0) + BEYOND
        targets = (*self.proposer.request.targets, Target(SCORE, top, top))
        # Without guidance, as its settings were chosen (research/log.md).
        return replace(self.proposer.request, targets=targets, guidance=1.0)

    def _learn(self, steps: int) -> None:
        """Some steps on molecules of the pool, the better ones more often."""
        scores, vocabulary = self.archive.normal_scores(), self.proposer.model.vocabulary
        rows, worth = [], []
        for answer in self.archive.pool:
            symbols = split_selfies(self.selfies(answer.smiles))
            if not vocabulary.unknown(symbols):  # a mutation may add unknown tokens
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
        device, conditions = self.proposer.device, self.tuned.conditions
        items = np.arange(len(rows), dtype=np.int64)
        values = np.full((len(rows), len(conditions)), np.nan, dtype=np.float32)
        values[:, -1] = scores
        options = self._config.train
        levels = noise_levels(items, options, self.draws, epoch=self._steps)
        batch = drawn_batch(
            Batch(items, *pad_tokens(rows), values),
            levels,
            list(range(len(conditions))),
            conditions,
            self._config,
            self.draws,
            epoch=self._steps,
            device=device,
        )
        # More often than in training, as this is the only condition.
        shown = self.draws.uniform("shown", items, 1, epoch=self._steps) < SHOWN
        batch = replace(batch, mask=batch.known * torch.from_numpy(shown).to(device))
        weights = LossWeights(options.kl_weight, options.head_weight, options.forecast_weight)
        with autocast(device, self.proposer.precision):
            output = self.network(batch)
        terms = elbo(output, batch, weights)
        self._optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), options.clip)
        if bool(torch.isfinite(norm)):
            self._optimizer.step()


def _with_score(model: SavedModel) -> SavedModel:
    """A copy of a model with one more condition, the last, whose weights are zero at first."""
    points = (np.arange(QUANTILES) + 0.5) / QUANTILES
    score = Condition(
        SCORE,
        "number",
        "",
        builtin=False,
        integer=False,
        known=1,
        mean=0.0,
        std=1.0,
        quantiles=tuple(normal_quantile(points).tolist()),
    )
    conditions = ConditionSet([*model.conditions.conditions, score])
    config = Config(model=model.network.config)
    network = first_network(config, model.vocabulary, model.constraints, conditions, model)
    return model.with_network(network, conditions)
