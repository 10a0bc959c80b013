"""The measured columns of a training: their predictors, and how well these do on new molecules."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.data.dataset import Dataset
from molvae.errors import ModelFolderError
from molvae.evaluate.diagnostics.latent import encode_molecules
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE
from molvae.predict.assess import Assessment, assess
from molvae.predict.kernel import Features, molecule_features
from molvae.predict.predictor import MOST
from molvae.predict.reading import Decoder, read_texts
from molvae.predict.store import FILES, Predictors
from molvae.runtime.progress import say
from molvae.runtime.randomness import Draws

__all__ = ["MeasuredColumns"]

HELD_OUT = 5000  # molecules that predictors are assessed on at most


class _Known(NamedTuple):
    """Molecules of the dataset with a value of at least one measured column."""

    items: NDArray[np.int64]  # (N,) their numbers in the dataset
    smiles: list[str]  # empty where the stored tokens describe no molecule, which has no value then
    features: Features
    values: dict[str, NDArray[np.float64]]  # (N,) by column; NaN is a gap


class MeasuredColumns:
    """The user's columns among the conditions of a run; there may be none."""

    def __init__(
        self,
        dataset: Dataset,
        columns: list[int],
        conditions: ConditionSet,
        draws: Draws,
        workers: int | None = None,
    ) -> None:
        """``columns`` of the dataset are in the order of ``conditions``."""
        self.dataset, self.conditions, self.draws = dataset, conditions, draws
        self.workers = workers
        self.own = {c.name: i for i, c in enumerate(conditions.conditions) if not c.builtin}
        self.columns = {name: columns[i] for name, i in self.own.items()}
        self.predictors: Predictors | None = None

    def fit(self) -> None:
        """Fit a predictor of each column to the training molecules that have a value of it.

        Of more than :data:`molvae.predict.predictor.MOST` such molecules, a sample.
        """
        if self.own:
            known = self._molecules("train", MOST)
            kinds = {name: self.conditions[name].kind for name in self.own}
            self.predictors = Predictors.fit(
                known.smiles, known.values, kinds, features=known.features
            )

    def restore(self, model: Path) -> None:
        """The predictors of a model folder, or fitted again where it has none."""
        if not self.own:
            return
        try:
            self.predictors = Predictors.load(model) if (model / FILES[0]).is_file() else None
        except ModelFolderError as error:
            say(f"note: fitting the predictors again: {error}")
        if self.predictors is None:
            self.fit()

    def assess(self, network: CVAE, part: str) -> dict[str, Assessment]:
        """Predictor, property head and plain baseline of each column on molecules of this part."""
        if self.predictors is None:
            return {}
        held = self._molecules(part, HELD_OUT)
        encoded = encode_molecules(network, self.dataset, held.items, draws=self.draws)
        heads = self.conditions.from_head(encoded.heads)
        training, assessments = self.dataset.part("train"), {}
        for name, predictor in self.predictors.items():
            known = np.asarray(self.dataset.values[training, self.columns[name]])
            assessments[name] = assess(
                predictor.predict(held.smiles, features=held.features), held.values[name], known,
                predictor.kind, head=heads[:, self.own[name]],
            )  # fmt: skip
        return assessments

    def _molecules(self, part: str, most: int) -> _Known:
        """Molecules of a part that have a value, at most so many of each column."""
        items = self.dataset.part(part)
        drawn = self.draws.permutation("measured", len(items))
        values = {}
        for name, column in self.columns.items():
            known = self.dataset.values[items, column].astype(np.float64)
            chosen = drawn[np.isfinite(known[drawn])]
            if part == "train" and len(chosen) > most:
                say(
                    f"note: the predictor of {name} is fitted to {most:,} of the {len(chosen):,} "
                    "molecules with a value, drawn at random"
                )
            known[chosen[most:]] = np.nan
            values[name] = known
        rows = np.flatnonzero(np.isfinite(np.stack(list(values.values()))).any(axis=0))
        vocabulary, smiles, parts = self.dataset.vocabulary, list[str](), [molecule_features([])]
        texts = (vocabulary.selfies(self.dataset.ids(int(item)).tolist()) for item in items[rows])
        for _, read in read_texts(
            texts, Decoder(self.dataset.constraints),
            label="measured columns", workers=self.workers, total=len(rows),
        ):  # fmt: skip
            smiles += read.smiles
            parts.append(read.features)
        empty = np.asarray([not text for text in smiles], dtype=np.bool_)
        return _Known(
            items[rows], smiles, Features.join(parts),
            {name: np.where(empty, np.nan, known[rows]) for name, known in values.items()},
        )  # fmt: skip
