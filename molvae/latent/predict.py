"""Predictions of measured columns: values with intervals, nearest training molecules, domain."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from molvae.data.readers import columns_present
from molvae.data.writers import require_writer, write_rows
from molvae.errors import ConfigError, FileError
from molvae.latent.encode import own_names, read_kept
from molvae.model.checkpoint import SavedModel, load_model
from molvae.model.given import cleaning_of
from molvae.predict.predictor import LEVEL
from molvae.predict.reading import Cleaner, read_texts
from molvae.predict.store import Predictors
from molvae.runtime.files import require_absent
from molvae.runtime.progress import say

__all__ = [
    "PredictSummary",
    "Predicted",
    "predict",
    "predict_file",
    "prediction_columns",
    "predictors_of",
]


class Predicted(NamedTuple):
    """A molecule and the cells of :func:`prediction_columns`; None where it cannot be read."""

    text: str  # the input
    cells: list[object]
    note: str = ""  # why it cannot be read


@dataclass
class PredictSummary:
    """Counts of molecules predicted and refused."""

    molecules: int = 0
    predicted: int = 0
    examples: dict[str, str] = field(default_factory=dict)  # first row of each reason
    inside: dict[str, int] = field(default_factory=dict)  # by column: those in its domain
    seconds: float = 0.0
    refused: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return asdict(self)


def predict(
    texts: Iterable[str],
    model: SavedModel,
    *,
    level: float = LEVEL,
    workers: int | None = None,
    total: int | None = None,
) -> Iterator[Predicted]:
    """Predict the measured columns of SMILES, in order; they are cleaned as the training data were.

    ``level`` is the probability that a measurement lies in its interval.

    Raises:
        ConfigError: the model has no predictors, or the level is no probability.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level: got {level:g}, expected a probability between 0 and 1")
    predictors = predictors_of(model)
    reader = Cleaner(cleaning_of(model))
    for chunk, read in read_texts(texts, reader, label="predict", workers=workers, total=total):
        predicted = {
            name: predictor.predict(read.smiles, level=level, features=read.features)
            for name, predictor in predictors.items()
        }
        for i, (text, note) in enumerate(zip(chunk, read.notes, strict=True)):
            cells = [
                None if note else cell
                for name, predictions in predicted.items()
                for cell in predictors[name].cells(predictions, i)
            ]
            yield Predicted(text, cells, note)


def predictors_of(model: SavedModel) -> Predictors:
    """The model's predictors of measured columns; an error if there are none."""
    names = own_names(model)
    if model.predictors is None:
        raise ConfigError(
            f"predict: this model has no predictors of its columns ({', '.join(names)}), as an "
            "older molvae trained it; run its molvae train command again with --resume, or use "
            "encode --predict for what its property head says"
        )
    return model.predictors


def prediction_columns(predictors: Predictors, taken: Collection[str] = ()) -> list[str]:
    """Names of the cells of a prediction.

    Of a column ``NAME``: ``NAME``, the ends ``NAME_low`` and ``NAME_high`` of its interval (numbers
    only), ``NAME_nearest``, ``NAME_similarity``, ``NAME_nearest_value`` and ``NAME_inside``. Where
    ``taken`` has ``NAME``, such as its measured values, they begin with ``NAME_predicted``.
    """
    names = []
    for name, predictor in predictors.items():
        shown = f"{name}_predicted" if name in taken else name
        names += [f"{shown}{ending}" for ending in predictor.endings()]
    return names


def predict_file(
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    model: str | Path | None = None,
    smiles_column: str | None = None,
    level: float = LEVEL,
    keep: Sequence[str] = (),
    workers: int | None = None,
    force: bool = False,
) -> PredictSummary:
    """Predict the measured columns of molecule files into a table, one row per record, in order.

    Columns: ``smiles``, those of ``keep``, measured columns of the files that the model predicts,
    then :func:`prediction_columns`, and ``note``, why a molecule has no prediction.

    Raises:
        ConfigError: the model has no predictors, or a name would appear twice.
        FileError: a file cannot be read, or the output is no table.
        OutputExistsError: the output exists.
    """
    output, saved = Path(output), load_model(model)
    if require_writer(output) in ("smi", "sdf"):
        raise FileError(f"'{output}': predictions are written as .csv, .tsv or .parquet")
    predictors = predictors_of(saved)
    measured = [name for name in predictors if name not in keep]
    carried = [
        (source, [*keep, *columns_present(source, measured, smiles_column=smiles_column)])
        for source in sources
    ]
    kept_names = list(dict.fromkeys([*keep, *(name for _, names in carried for name in names)]))
    columns = ["smiles", *kept_names, *prediction_columns(predictors, kept_names), "note"]
    if repeated := next((name for name in columns if columns.count(name) > 1), None):
        raise ConfigError(f"predict: '{output}' would have two columns '{repeated}'")
    require_absent(output, force=force)
    summary, refused, inside = PredictSummary(), Counter[str](), Counter[str]()
    started = time.monotonic()
    kept: deque[list[object]] = deque()  # cells to copy, of the molecules being read
    texts = read_kept(carried, smiles_column, kept_names, kept)
    places = {name: i for i, name in enumerate(prediction_columns(predictors))}

    def rows() -> Iterator[list[object]]:
        for molecule in predict(texts, saved, level=level, workers=workers):
            summary.molecules += 1
            summary.predicted += not molecule.note
            if molecule.note:
                refused[molecule.note] += 1
                text = f" '{molecule.text[:40]}'" if molecule.text.strip() else ""
                example = f"row {summary.molecules}{text}"
                summary.examples.setdefault(molecule.note, example)
            inside.update(n for n in predictors if molecule.cells[places[f"{n}_inside"]] == "yes")
            yield [
                molecule.text,
                *(kept.popleft() if kept_names else []),
                *molecule.cells,
                molecule.note,
            ]

    write_rows(output, columns, rows())
    summary.seconds = time.monotonic() - started
    summary.refused = dict(refused.most_common())
    summary.inside = {name: inside[name] for name in predictors}
    if not summary.predicted:
        say("note: no molecule could be read")
    return summary
