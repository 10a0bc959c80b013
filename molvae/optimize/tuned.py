"""The generator that a search tuned, as a model folder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from molvae.errors import ConfigError
from molvae.model.checkpoint import SavedModel, find_model, require_model_place, save_model
from molvae.model.conditions import ConditionSet
from molvae.optimize.archive import Archive
from molvae.predict.kernel import Features, read_features
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.store import Predictors
from molvae.runtime.files import require_absent

__all__ = ["check_model_output", "save_tuned", "with_score_column"]

SCORE = "score"  # the condition for the score, unless the model has one of that name
CARD = """
## Tuned by a search

{calls:,} calls of {objective} tuned the decoder; figures above are those of the start model.
The condition `{name}` is the rank of a molecule among the {molecules:,} best of them, as a quantile
of the standard normal distribution: 0 is the middle, 2 the best 2 %.
"""


def check_model_output(
    folder: str | Path, model: SavedModel | str | Path | None, *, force: bool
) -> None:
    """Refuse to write the tuned model over anything but another model folder."""
    folder = Path(folder)
    require_absent(folder, force=force, folder=True)
    require_model_place(folder)
    if not isinstance(model, SavedModel) and find_model(model).resolve() == folder.resolve():
        raise ConfigError(
            f"save model: '{folder}' is the model that the search starts from, which --resume "
            "needs; choose another folder"
        )


def save_tuned(
    folder: str | Path,
    tuned: SavedModel,
    start: SavedModel,
    archive: Archive,
    about: dict[str, Any],
) -> None:
    """Write the ``tuned`` copy of a ``start`` model, whose last condition is the score.

    ``about`` is the plan of the search with the ``name`` of the start model and the ``calls``.
    """
    model = with_score_column(tuned, start, archive)
    name = model.conditions.names[-1]
    about = {
        **{key: about[key] for key in ("objective", "minimize", "method", "calls", "seed")},
        "start": {"name": about["name"], "id": about["model"]},
        "condition": name,
        "molecules": len(archive.pool),
    }
    # Figures are of the start model's weights, apart from those of its predictors.
    columns = (start.training.get("figures") or {}).get("columns")
    training = {**start.training, "figures": {"columns": columns} if columns else {}}
    objective = " and ".join(f"`{text}`" for text in about["objective"])
    text = CARD.format(**{**about, "objective": objective, "name": name})
    card = f"{start.card.rstrip()}\n{text}"
    save_model(folder, replace(model, training={**training, "optimized": about}, card=card))


def with_score_column(tuned: SavedModel, start: SavedModel, archive: Archive) -> SavedModel:
    """The tuned model with the score as a measured column: a condition that has a predictor.

    Its values are the quantiles of N(0, 1) of the ranks in the archive's pool, which the decoder
    learned from.
    """
    scores = archive.normal_scores()
    *others, last = tuned.conditions.conditions
    taken = [condition.name for condition in others]
    numbered = (f"{SCORE}_{number}" for number in itertools.count(2))
    name = next(n for n in itertools.chain([SCORE], numbered) if n not in taken)
    correlations = np.eye(len(tuned.conditions))
    correlations[:-1, :-1] = start.conditions.correlations
    score = replace(last, name=name, known=len(scores), unit="sd")
    conditions = ConditionSet([*others, score], correlations)
    smiles, before = list(scores), start.predictors
    features, _ = read_features(smiles)
    values = np.asarray([scores[text] for text in smiles])
    predictor = ColumnPredictor.fit(smiles, values, features=features, name=name)
    columns: Mapping[str, ColumnPredictor] = {name: predictor}
    if before is not None:
        smiles, columns = [*before.smiles, *smiles], {**before, **columns}
        features = Features.join([before.features, features])
    predictors = Predictors(smiles, features, columns)
    return replace(tuned, conditions=conditions, predictors=predictors)
