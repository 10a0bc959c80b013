"""What a model holds, as plain data."""

from __future__ import annotations

from typing import Any

from molvae.model.checkpoint import SavedModel
from molvae.predict.assess import Assessment
from molvae.realism.summary import realism_lines

__all__ = ["model_info"]


def model_info(model: SavedModel) -> dict[str, Any]:
    """Sizes, conditions, predictors of measured columns, and the figures of the training."""
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "tokens": len(model.vocabulary),
        "max_tokens": model.max_tokens,
        "conditions": model.conditions.to_json()["conditions"],
        "columns": _columns(model),
        "training": model.training,
        "realism": realism_lines(model.critic, model.plausibility)[0],
    }


def _columns(model: SavedModel) -> dict[str, Any]:
    stored = (model.training.get("figures") or {}).get("columns") or {}
    columns: dict[str, Any] = {}
    for name, predictor in (model.predictors or {}).items():
        columns[name] = {"fitted_to": len(predictor.values), "domain": predictor.threshold}
        if name in stored:
            columns[name] |= Assessment.from_json(stored[name]).to_json()
    return columns
