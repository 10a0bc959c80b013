"""Realism critic and plausibility table of a trained model: from its samples and its data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from molvae import chem
from molvae.chem.realism_features import describe, kinds
from molvae.config import TrainConfig
from molvae.data.dataset import Dataset
from molvae.errors import FileError, InputError
from molvae.generate.request import Request
from molvae.generate.run import generate
from molvae.model.checkpoint import SavedModel
from molvae.realism.critic import LEAST_MOLECULES, RealismCritic, fit_critic
from molvae.realism.inputs import FactTable
from molvae.realism.plausibility import Plausibility
from molvae.realism.summary import realism_lines
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = ["MOST", "fitted_realism", "lacks_realism", "with_realism"]

MOST = 60_000  # training molecules, and own samples, that the critic is fitted to
LEAST_OWN = 2000  # own samples, unless there are fewer than a quarter as many molecules
LEAST_REAL = 2000  # molecules for the critic, however short the training was
SEEN_PER_SAMPLE = 20  # molecules trained on per own sample: sampling stays a small part of the time
SEED = 1 << 40  # of the own samples; far from seeds that users take


class _Described(NamedTuple):
    """Facts of some molecules."""

    facts: FactTable
    table: Plausibility


def _described(smiles: Sequence[str]) -> _Described:
    """Facts of molecules; texts that RDKit cannot read are left out."""
    mols = (chem.parse(text) if text else None for text in smiles)
    facts = [describe(mol) for mol in mols if mol is not None]
    return _Described(FactTable.of(facts), Plausibility.of(facts))


def _counted(smiles: Sequence[str]) -> Plausibility:
    """The table of molecules that the critic does not need."""
    return Plausibility.of(kinds(mol) for mol in map(chem.parse, smiles) if mol is not None)


@dataclass(frozen=True)
class _TrainingPart:
    """SMILES of the training molecules of a dataset, read from its file whenever they are used."""

    dataset: Dataset

    def __len__(self) -> int:
        return len(self.dataset.part("train"))

    def __iter__(self) -> Iterator[str]:
        return self.dataset.each_smiles(self.dataset.part("train"))


def fitted_realism(
    model: SavedModel,
    smiles: Sequence[str] | _TrainingPart,
    *,
    start: SavedModel | None = None,
    most: int = MOST,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> SavedModel:
    """The model with a critic between its training molecules and its samples, and a table.

    ``smiles`` are the distinct training molecules (N,). All count for the table; at most ``most``,
    drawn by ``seed``, are used for the critic, against as many own samples or more. ``start`` is
    the model that the training started from: its critic is the prior, and its table is added.

    With fewer than 50 molecules there is no critic, and without a start no table; a line says so.
    """
    before = None if start is None else start.plausibility
    if len(smiles) < LEAST_MOLECULES:
        say(
            f"note: no realism critic: got {len(smiles)} training molecules, expected "
            f"{LEAST_MOLECULES} or more"
        )
        return replace(model, critic=None, plausibility=before)
    drawn = Draws(seed).permutation("realism", len(smiles))[:most]
    is_drawn = np.zeros(len(smiles), dtype=np.bool_)
    is_drawn[drawn] = True
    texts = {i: text for i, text in enumerate(smiles) if is_drawn[i]}
    chosen = [texts[i] for i in drawn.tolist()]
    rest = itertools.compress(smiles, ~is_drawn)
    bare = replace(model, critic=None, plausibility=None)
    own_count = max(len(chosen), min(LEAST_OWN, 4 * len(chosen)))
    request = Request(unique=False, realism=None)
    own = generate(
        own_count, model=bare, request=request, seed=SEED, device=device, workers=workers,
        label="own samples",
    )  # fmt: skip
    own_smiles = [molecule.smiles for molecule in own]
    with WorkerPool(workers) as pool:
        real_facts, table = _joined(pool, chosen)
        own_facts, _ = _joined(pool, own_smiles)
        if len(smiles) > len(chosen):
            counted = pool.map_texts("plausibility", _counted, rest, len(smiles) - len(chosen))
            table = Plausibility.joined(itertools.chain([table], (part for _, part in counted)))
    if before is not None:
        table = Plausibility.joined([table, before])
    critic: RealismCritic | None = None
    try:
        critic = fit_critic(real_facts, own_facts, prior=None if start is None else start.critic)
    except InputError as error:
        say(f"note: {error}")
    return replace(model, critic=critic, plausibility=table)


def _joined(pool: WorkerPool, smiles: Sequence[str]) -> _Described:
    parts = [part for _, part in pool.map_texts("realism", _described, smiles, len(smiles))]
    facts = FactTable.joined(part.facts for part in parts)
    return _Described(facts, Plausibility.joined(part.table for part in parts))


def with_realism(
    model: SavedModel,
    dataset: Dataset,
    options: TrainConfig,
    start: SavedModel | None,
    seen: int,
    device: str,
    workers: int | None,
) -> SavedModel:
    """:func:`fitted_realism` for the training part of a dataset, with lines about the result.

    A training that has ``seen`` few molecules, repeats included, gets a critic of fewer molecules,
    since each needs an own sample.
    """
    if not options.critic_samples:
        return model
    most = min(max(seen // SEEN_PER_SAMPLE, LEAST_REAL), options.critic_samples)
    try:
        model = fitted_realism(
            model,
            _TrainingPart(dataset),
            start=start,
            most=most,
            seed=options.seed,
            device=device,
            workers=workers,
        )
    except FileError as error:  # the training itself did not need the file of the molecules
        say(f"note: no realism critic: {error}")
        return model
    for line in realism_lines(model.critic, model.plausibility)[1]:
        say(line)
    return model


def lacks_realism(model: SavedModel, molecules: int) -> bool:
    """Whether an earlier molvae trained the model, and there are enough training molecules."""
    return model.plausibility is None and molecules >= LEAST_MOLECULES
