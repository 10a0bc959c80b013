"""Honest numbers of a column on held-out molecules: predictor, head, and the plain baseline.

Shapes: ``H`` held-out molecules with a value.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ModelFolderError
from molvae.predict.predictor import FEWEST, Kind, Predictions
from molvae.runtime.statistics import auc

__all__ = ["Assessment", "Scores", "assess", "spearman"]

_Floats = NDArray[np.float64]

FEW_HELD_OUT = 20  # molecules, or of either answer 5, below which figures mean little
FEW_OF_ONE = 5
GUESSING_R2 = 0.05
CHANCE = 1.645  # standard errors that an AUC must lie above one half


@dataclass(frozen=True)
class Scores:
    """How well one thing predicts held-out values; None where it does not apply."""

    r2: float | None = None
    spearman: float | None = None
    mae: float | None = None
    coverage: float | None = None  # share of values in their 90 % interval
    width: float | None = None  # mean width of the interval
    error_width: float | None = None  # Spearman's correlation of |error| with the width
    auc: float | None = None
    accuracy: float | None = None
    brier: float | None = None

    def words(self) -> str:
        """The scores that people know, or none."""
        shown = (
            ("R² {:z.2f}", self.r2), ("Spearman {:z.2f}", self.spearman), ("MAE {:.3g}", self.mae),
            ("AUC {:.2f}", self.auc), ("accuracy {:.2f}", self.accuracy),
            ("90 % intervals hold for {:.0%}", self.coverage),
        )  # fmt: skip
        return ", ".join(text.format(value) for text, value in shown if value is not None) or "none"


@dataclass(frozen=True)
class Assessment:
    """What :func:`assess` found for a column."""

    kind: Kind
    molecules: int  # held out with a value
    trained: int  # molecules the predictor was fitted to
    base_rate: float | None  # share of yes among the held-out
    inside: float  # share of held-out molecules inside the domain
    predictor: Scores
    head: Scores | None
    baseline: Scores  # the mean of the training values, or the more frequent answer
    remark: str  # one sentence, empty if there is nothing to warn of

    def to_json(self) -> dict[str, Any]:
        """Plain data without what does not apply."""
        return {key: _plain(value) for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, data: object) -> Assessment:
        """What :meth:`to_json` wrote.

        Raises:
            ModelFolderError: it is something else.
        """
        try:
            given = dict(cast("dict[str, Any]", data))
            scores = {key: Scores(**given.get(key) or {}) for key in ("predictor", "baseline")}
            head = None if given.get("head") is None else Scores(**given["head"])
            assessment = cls(**{"base_rate": None, **given, **scores, "head": head})
            if not _sound(assessment):
                raise ValueError("not numbers")
        except (TypeError, ValueError) as error:
            raise ModelFolderError(
                f"config.json: training.figures.columns: malformed ({error})"
            ) from None
        return assessment

    def line(self, name: str) -> str:
        """One line for people."""
        parts = [f"predictor {self.predictor.words()}"]
        parts += [f"head {self.head.words()}"] if self.head is not None else []
        parts.append(f"baseline {self.baseline.words()}")
        rate = "" if self.base_rate is None else f", {self.base_rate:.0%} yes"
        text = f"{name}, {self.molecules:,} held-out molecules{rate}: {'; '.join(parts)}"
        return f"{text}. {self.remark}" if self.remark else text


def _sound(assessment: Assessment) -> bool:
    """Whether the fields of an assessment have their types."""
    numbers = [assessment.base_rate, assessment.inside, assessment.molecules, assessment.trained]
    for scores in (assessment.predictor, assessment.head, assessment.baseline):
        numbers += asdict(scores).values() if scores is not None else []
    return (
        all(x is None or (isinstance(x, int | float) and math.isfinite(x)) for x in numbers)
        and isinstance(assessment.molecules, int)
        and isinstance(assessment.trained, int)
        and assessment.kind in ("number", "yesno")
        and isinstance(assessment.remark, str)
        and assessment.remark.isprintable()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: number for key, number in value.items() if number is not None}
    return value


def assess(
    predictions: Predictions,
    values: NDArray[np.floating[Any]],
    training: NDArray[np.floating[Any]],
    kind: Kind,
    *,
    head: NDArray[np.floating[Any]] | None = None,
) -> Assessment:
    """Compare predictions, and those of the property head, with held-out values.

    ``values`` (H,) and ``training`` (N,) may have gaps (NaN). ``head``: of the same molecules, the
    value or the probability of yes; molecules it has none for are not counted against it.
    """
    truth, known = np.asarray(values, dtype=np.float64), np.asarray(training, dtype=np.float64)
    known = known[np.isfinite(known)]
    rows = np.isfinite(truth) & np.isfinite(predictions.mean)
    score = _yesno_scores if kind == "yesno" else _number_scores
    middle = float(known.mean()) if len(known) else math.nan
    plain = np.full(len(truth), middle)
    heads = None
    if head is not None:
        with_head = rows & np.isfinite(head)
        heads = score(truth[with_head], np.asarray(head, dtype=np.float64)[with_head])
    own = score(truth[rows], predictions.mean[rows])
    if kind == "number":
        own = _with_intervals(own, truth[rows], predictions, rows)
    return Assessment(
        kind, int(rows.sum()), len(known),
        float(truth[rows].mean()) if kind == "yesno" and rows.any() else None,
        float(predictions.inside[rows].mean()) if rows.any() else 0.0,
        own, heads, score(truth[rows], plain[rows]), _remark(own, truth[rows], known, kind),
    )  # fmt: skip


def _number_scores(truth: _Floats, predicted: _Floats) -> Scores:
    if len(truth) < 2:
        return Scores(mae=float(np.abs(truth - predicted).mean()) if len(truth) else None)
    spread = float(np.square(truth - truth.mean()).sum())
    r2 = 1 - float(np.square(truth - predicted).sum()) / spread if spread > 0 else None
    return Scores(r2, spearman(truth, predicted), float(np.abs(truth - predicted).mean()))


def _with_intervals(
    scores: Scores, truth: _Floats, predictions: Predictions, rows: NDArray[np.bool_]
) -> Scores:
    low, high = predictions.low[rows], predictions.high[rows]
    if not len(truth) or np.isnan(low).any():
        return scores
    width, error = high - low, np.abs(truth - predictions.mean[rows])
    return Scores(
        scores.r2, scores.spearman, scores.mae,
        float(((truth >= low) & (truth <= high)).mean()), float(width.mean()),
        spearman(error, width),
    )  # fmt: skip


def _yesno_scores(truth: _Floats, predicted: _Floats) -> Scores:
    if not len(truth):
        return Scores()
    accuracy = float(((predicted > 0.5) == (truth > 0.5)).mean())
    area = auc(predicted, truth > 0.5)
    return Scores(
        auc=None if math.isnan(area) else area,
        accuracy=accuracy,
        brier=float(np.square(truth - predicted).mean()),
    )


def _remark(scores: Scores, truth: _Floats, known: _Floats, kind: Kind) -> str:
    """What keeps the figures from being believed, in one sentence."""
    if len(known) < FEWEST:
        return f"Only {len(known)} molecules have a value: too few to predict from."
    if kind == "yesno":
        for answer, name in ((known, "training"), (truth, "held-out")):
            rarer = int(min(answer.sum(), len(answer) - answer.sum()))
            if rarer < FEW_OF_ONE:
                return f"Only {rarer} of the rarer answer among {len(answer):,} {name} " \
                    "molecules: too few to tell."  # fmt: skip
        yes = float(truth.sum())
        no = len(truth) - yes
        # Standard error of the AUC without any skill (Hanley & McNeil 1982).
        error = math.sqrt((yes + no + 1) / (12 * yes * no))
        if scores.auc is not None and scores.auc < 0.5 + CHANCE * error:
            return "The predictor is no better than guessing."
        return ""
    if float(known.std()) == 0:
        return "All training values are equal: there is nothing to learn."
    if len(truth) < FEW_HELD_OUT:
        return f"Only {len(truth)} held-out molecules: too few to tell."
    if scores.r2 is None or scores.r2 < GUESSING_R2:
        return "The predictor is no better than guessing the mean."
    return ""


def _ranks(values: _Floats) -> _Floats:
    """Ranks from 1, ties sharing their mean."""
    _, place, often = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(often) - (often - 1) / 2
    return np.asarray(ranks[place], dtype=np.float64)


def spearman(a: _Floats, b: _Floats) -> float | None:
    """Spearman's rank correlation; None if either is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])
