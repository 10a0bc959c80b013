"""Replay: samples of the start model among the molecules of a fine-tuning.

A few thousand new molecules teach the network their kind, and make it forget what rare rings and
groups look like. Samples that the start model drew before the first step are mixed into every
batch, so that it keeps what it knew (pseudo-rehearsal, Robins 1995).

Shapes: ``N`` samples, ``S`` tokens of all of them, ``C`` columns of the dataset.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.properties import PROPERTIES, compute
from molvae.chem.selfies import split_selfies, to_selfies, use_constraints
from molvae.config import TrainConfig
from molvae.data.dataset import Batch, Dataset, batch_plan, pad_tokens
from molvae.generate.proposer import nats_of
from molvae.generate.request import Request
from molvae.generate.run import generate
from molvae.model.checkpoint import SavedModel
from molvae.model.cvae import CVAE
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = ["START", "Replay"]

START = "D(1) of the start"  # a figure: nats of held-out samples of the start model
LEAST = 6000  # samples, unless the budget has fewer places for them
MOST = 60_000
HELD_OUT = 300  # further samples, whose likelihood is logged; or a tenth
FIRST = 200  # samples drawn before the rate is known, with a time budget
TIME = 0.1  # share of a time budget that sampling may take
SEED = 1 << 41  # of the samples; far from seeds that users take


class _Samples(NamedTuple):
    tokens: NDArray[np.int64]  # (S,) ids
    offsets: NDArray[np.int64]  # (N + 1,) into the tokens
    values: NDArray[np.float32]  # (N, C), NaN = unknown


_NONE = _Samples(np.empty(0, np.int64), np.zeros(1, np.int64), np.empty((0, 0), np.float32))


class Replay:
    """Batches of the training molecules of a dataset and of samples of the start model.

    Samples have the item numbers after those of the dataset; a sample that comes twice in a pass
    has another number the second time, and with it other noise. They are no molecules of the data:
    ``epoch``, budget and counts know the training molecules only.
    """

    def __init__(self, dataset: Dataset, options: TrainConfig) -> None:
        self.dataset, self.share = dataset, options.replay
        self.items = dataset.part("train")
        self.lengths = dataset.lengths(self.items)
        self._samples = _NONE
        self._epochs, self._time = options.epochs, options.max_time

    @property
    def _held(self) -> int:
        """Samples that are not trained on, the last ones."""
        return min(HELD_OUT, (len(self._samples.offsets) - 1) // 10)

    def _places(self) -> int:
        """Samples of a pass over the training molecules."""
        return round(len(self.items) * self.share / (1 - self.share))

    def draw(
        self, start: SavedModel | None, columns: Sequence[int], device: str, workers: int | None
    ) -> dict[str, torch.Tensor]:
        """Draw the samples, with realism on, and compute their built-in properties."""
        if start is None or self.share == 0:
            return {}
        wanted = min(max(len(self.items), LEAST), MOST)
        if self._epochs is not None:
            wanted = min(wanted, math.ceil(self._epochs * self._places()))
        if wanted < 1:  # too few molecules for so small a share
            self.share = 0.0
            return {}
        wanted += min(HELD_OUT, wanted // 9)
        request = Request(unique=False)
        if start.critic is None:
            request = replace(request, realism=None)
        smiles: list[str] = []
        for seed, count in self._parts(wanted, smiles):
            made = generate(
                count, model=start, request=request, seed=seed, device=device, workers=workers,
                label="samples for replay",
            )  # fmt: skip
            smiles.extend(molecule.smiles for molecule in made)
        names = {self.dataset.names[c]: c for c in columns if self.dataset.names[c] in PROPERTIES}
        task = functools.partial(
            _described, names=tuple(names), constraints=self.dataset.constraints
        )
        vocabulary = self.dataset.vocabulary
        rows: list[NDArray[np.int64]] = []
        values: list[NDArray[np.float64]] = []
        with WorkerPool(workers) as pool:
            for _, part in pool.map_texts("replay", task, smiles, len(smiles)):
                for symbols, numbers in part:
                    if symbols and not vocabulary.unknown(symbols):
                        rows.append(vocabulary.encode_symbols(symbols))
                        values.append(numbers)
        table = np.full((len(rows), len(self.dataset.names)), np.nan, dtype=np.float32)
        table[:, list(names.values())] = np.asarray(values).reshape(len(rows), len(names))
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        self._samples = _Samples(np.concatenate([_NONE.tokens, *rows]), offsets, table)
        if not len(rows):
            self.share = 0.0
        lost = len(smiles) - len(rows)
        say(
            f"replay: {len(rows):,} samples of the start model, {self._held} of them held out"
            + (f"; {lost} are left out, which need a token that the model lacks" if lost else "")
        )
        return self.state()

    def _parts(self, wanted: int, drawn: Sized) -> Iterator[tuple[int, int]]:
        """Seeds and numbers of the samples to draw, as ``drawn`` grows.

        All at once, or, with a limit of time, parts that double for as long as they fit into it:
        the first molecules of a large part come late.
        """
        if self._time is None:
            yield SEED, wanted
            return
        began, limit = time.monotonic(), TIME * self._time
        count = min(FIRST, wanted)
        for seed in itertools.count(SEED):
            yield seed, count
            elapsed = time.monotonic() - began
            fits = int(len(drawn) * (limit / elapsed - 1))
            count = min(2 * count, wanted - len(drawn), fits)
            if count < FIRST / 2:
                return

    def state(self) -> dict[str, torch.Tensor]:
        """What a resumed run needs; empty without replay."""
        if self.share == 0:
            return {}
        return {name: torch.from_numpy(array) for name, array in self._samples._asdict().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from :meth:`state`; runs of earlier versions have no replay."""
        if not state:
            self.share = 0.0
            return
        self._samples = _Samples(**{name: tensor.numpy() for name, tensor in state.items()})

    def plan(self, batch_size: int, draws: Draws, *, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of one pass over the training molecules, as in :func:`batch_plan`.

        A batch of ``batch_size`` training molecules is larger by its samples.
        """
        items, lengths = self.items, self.lengths
        if self.share > 0:
            usable, places = len(self._samples.offsets) - 1 - self._held, self._places()
            order = draws.permutation("replay", usable, epoch=epoch)
            numbers = np.arange(places)
            rows = order[numbers % usable]
            items = np.concatenate([items, len(self.dataset) + rows + usable * (numbers // usable)])
            lengths = np.concatenate([lengths, np.diff(self._samples.offsets)[rows]])
            batch_size = round(batch_size / (1 - self.share))
        return batch_plan(items, lengths, batch_size, draws, epoch=epoch)

    def real(self, items: NDArray[np.int64]) -> int:
        """How many of the items are training molecules."""
        return int((items < len(self.dataset)).sum())

    def batch(self, items: NDArray[np.int64]) -> Batch:
        """The given molecules and samples, padded together."""
        own = items >= len(self.dataset)
        if not own.any():
            return self.dataset.batch(items)
        rows = self._rows(items[own])
        places = iter(rows.tolist())
        ids = [
            self._ids(next(places)) if sample else self.dataset.ids(int(item))
            for item, sample in zip(items, own, strict=True)
        ]
        values = np.empty((len(items), len(self.dataset.names)), dtype=np.float32)
        values[~own] = self.dataset.values[items[~own]]
        values[own] = self._samples.values[rows]
        return Batch(items, *pad_tokens(ids), values)

    def _rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        usable = len(self._samples.offsets) - 1 - self._held
        return (items - len(self.dataset)) % usable

    def _ids(self, row: int) -> NDArray[np.int64]:
        return self._samples.tokens[self._samples.offsets[row] : self._samples.offsets[row + 1]]

    def figures(self, network: CVAE, device: torch.device, precision: str) -> dict[str, float]:
        """Mean −log p of held-out samples at t = 1, in nats; empty without any."""
        count = len(self._samples.offsets) - 1
        rows = [self._ids(row) for row in range(count - self._held, count)]
        if not rows:
            return {}
        nats = nats_of(network, rows, device=device, precision=precision)
        return {START: round(float(np.mean(nats)), 4)}


def _described(
    smiles: Sequence[str], names: tuple[str, ...], constraints: dict[str, int]
) -> list[tuple[list[str], NDArray[np.float64]]]:
    """(SELFIES symbols, values of the properties) of each molecule; no symbols if it has none."""
    found: list[tuple[list[str], Any]] = []
    with use_constraints(constraints):
        for text in smiles:
            mol = chem.parse(text) if text else None
            selfies = to_selfies(text) if mol is not None else None
            if mol is not None and selfies is not None:
                found.append((split_selfies(selfies), compute(mol, names)))
            else:
                found.append(([], None))
    return found
