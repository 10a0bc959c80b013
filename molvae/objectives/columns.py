"""A measured column of a model as a scoring function: what its predictor is sure of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from molvae.errors import ConfigError, TargetError
from molvae.predict.predictor import ColumnPredictor
from molvae.targets import parse_target

__all__ = ["ColumnScorer", "Columns", "checked_pessimism", "column_scorer"]

Columns = Callable[[], Mapping[str, ColumnPredictor] | None]  # called if no other name fits


@dataclass(frozen=True, eq=False)
class ColumnScorer:
    """Scores molecules by a measured column, pessimistically.

    Of a number ``mean - deviations * sd``, which falls with the distance from the training
    molecules; of a yes/no column its probability, less outside the domain. With ``window`` the
    probability that the true value lies in it, less outside the domain. It is asked in the main
    process, many molecules at a time.
    """

    name: str
    predictor: ColumnPredictor
    deviations: float = 1.0  # negative where lower scores are better
    window: tuple[float, float] | None = None

    @property
    def bounded(self) -> bool:
        """Whether its scores are known to lie between 0 and 1."""
        return self.window is not None or self.predictor.kind == "yesno"

    def basis(self) -> str:
        """What its scores are, next to measured values, as a sentence for a note."""
        if self.bounded:
            return "the search scores a probability, which no measured value equals"
        sign = "above" if self.deviations < 0 else "below"
        return (
            f"the search scores {abs(self.deviations):g} standard deviations {sign} the "
            "prediction (--pessimism), so known molecules look better than equally good new ones"
        )

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """One score per SMILES; NaN where it is not valid."""
        predictions = self.predictor.predict(smiles)
        scores: list[float] = (
            predictions.pessimistic(self.deviations)
            if self.window is None
            else self.predictor.meets(predictions, *self.window)
        ).tolist()
        return scores

    def details(self, smiles: Sequence[str]) -> dict[str, list[object]]:
        """What the scores rest on, by the ending of a column's name."""
        predictions = self.predictor.predict(smiles)
        endings = ["_mean", *self.predictor.endings()[1:]]
        rows = [self.predictor.cells(predictions, i) for i in range(len(smiles))]
        return {ending: [row[k] for row in rows] for k, ending in enumerate(endings)}


def column_scorer(
    text: str, columns: Mapping[str, ColumnPredictor], deviations: float
) -> ColumnScorer | None:
    """The scorer that ``NAME``, ``NAME=LOW:HIGH`` or ``NAME=yes`` names; None for no column."""
    if text in columns:
        return ColumnScorer(text, columns[text], deviations)
    name = text.partition("=")[0].strip()
    if name == text or name not in columns:
        return None
    try:
        target = parse_target(text)
    except TargetError as error:
        raise ConfigError(f"objective: {error}") from None
    if columns[name].kind == "number" and target.low == target.high:
        raise ConfigError(f"objective '{text}': expected a range, as in {name}=7: or {name}=6:8")
    return ColumnScorer(name, columns[name], deviations, (target.low, target.high))


def checked_pessimism(pessimism: float) -> float:
    """A number of standard deviations, 0 or more."""
    if not 0 <= pessimism < math.inf:
        raise ConfigError(f"pessimism: got {pessimism:g}, expected standard deviations, 0 or more")
    return pessimism
