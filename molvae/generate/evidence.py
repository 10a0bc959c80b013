"""What speaks for the predictions of measured columns: intervals, nearest molecules, domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import head_error
from molvae.predict.assess import Assessment
from molvae.predict.kernel import Features, read_features
from molvae.predict.predictor import ColumnPredictor, Predictions
from molvae.runtime.processes import map_ordered
from molvae.targets import Target

__all__ = ["Evidence", "evidence_columns", "features_of", "held_out_words"]

CHUNK = 128  # molecules whose features a worker computes at a time
POINT = 0.25  # half width of the range that a NAME=VALUE target is met in, in spreads
_Floats = NDArray[np.float64]


def evidence_columns(
    names: Iterable[str], predictors: Mapping[str, ColumnPredictor] | None
) -> tuple[str, ...]:
    """Columns that follow the values of those requested properties that have a predictor.

    Of ``NAME``: the interval ``NAME_low``, ``NAME_high`` (numbers only), the nearest training
    molecule ``NAME_nearest``, its ``NAME_similarity`` and ``NAME_nearest_value``, and
    ``NAME_inside``, whether it is near enough for the interval to hold.
    """
    known = predictors or {}
    return tuple(
        f"{name}{ending}" for name in names if name in known for ending in known[name].endings()[1:]
    )


def held_out_words(model: SavedModel, name: str) -> str:
    """How good the model's prediction of a column was on held-out molecules; empty if unknown."""
    figures = model.training.get("figures") or {}
    stored = (figures.get("columns") or {}).get(name)
    if model.predictors is None or stored is None:
        return head_error(figures, name)
    assessment = Assessment.from_json(stored)
    return f"{assessment.predictor.words()}. {assessment.remark}".rstrip(". ")


def features_of(
    smiles: Sequence[str], workers: int = 1, executor: Executor | None = None
) -> Features:
    """Features of valid molecules, which take longer than predicting, in worker processes."""
    chunks = [smiles[i : i + CHUNK] for i in range(0, max(len(smiles), 1), CHUNK)]
    parts = map_ordered(read_features, chunks, workers=workers, executor=executor)
    return Features.join([features for features, _ in parts])


class Evidence:
    """Predictions of N candidates by the predictors of some columns."""

    def __init__(
        self,
        predictors: Mapping[str, ColumnPredictor],
        smiles: Sequence[str],
        read: Callable[[list[str]], Features] | None = None,
    ) -> None:
        """``smiles`` are canonical, and empty where there is nothing to predict.

        ``read`` computes the features of molecules; by default :func:`features_of`.
        """
        self._predictors = predictors
        self._rows = np.flatnonzero([bool(text) for text in smiles])
        self._count = len(smiles)
        # Candidates repeat, and reading a molecule takes as long as predicting it.
        given = np.asarray([smiles[i] for i in self._rows.tolist()], dtype=np.str_)
        unique, self._place = np.unique(given, return_inverse=True)
        texts: list[str] = unique.tolist()
        features = (read or features_of)(texts)
        self._predictions: dict[str, Predictions] = {
            name: predictor.predict(texts, features=features)
            for name, predictor in predictors.items()
        }

    def _spread(self, values: _Floats) -> _Floats:
        """Values of the different molecules → of all candidates, NaN where there is none."""
        result = np.full(self._count, np.nan)
        result[self._rows] = values[self._place]
        return result

    def values(self, name: str) -> _Floats:
        """Expected values, or probabilities of yes, (N,)."""
        return self._spread(self._predictions[name].mean)

    def met(self, target: Target, spread: float) -> _Floats:
        """Probability that the true value meets the target, less outside the domain, (N,).

        A single number is met within a quarter of ``spread``, the standard deviation of the column.
        """
        predictor, predictions = self._predictors[target.name], self._predictions[target.name]
        return self._spread(predictor.meets(predictions, *self._ends(target, spread)))

    def attainable(self, target: Target, spread: float) -> _Floats:
        """The probability, inside the domain, if the expected value were the best one, (N,)."""
        predictor, predictions = self._predictors[target.name], self._predictions[target.name]
        return self._spread(predictor.attainable(predictions, *self._ends(target, spread)))

    def _ends(self, target: Target, spread: float) -> tuple[float, float]:
        number = self._predictors[target.name].kind == "number"
        half = POINT * spread if target.low == target.high and number else 0.0
        return target.low - half, target.high + half

    def cells(self, i: int) -> dict[str, object]:
        """The cells of :func:`evidence_columns` for candidate ``i``, which has a molecule."""
        row = int(self._place[np.searchsorted(self._rows, i)])
        return {
            f"{name}{ending}": cell
            for name, predictor in self._predictors.items()
            for ending, cell in list(
                zip(predictor.endings(), predictor.cells(self._predictions[name], row), strict=True)
            )[1:]
        }
