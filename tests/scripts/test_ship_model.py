"""Shipping a model: what goes with its weights."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np

from molvae.model.checkpoint import load_model, save_model
from molvae.realism.plausibility import Plausibility
from tests.molecules import facts

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_model.py"


def test_optional_parts_go_along(tiny_model, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("ship_model", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "MODELS", tmp_path)
    counts = np.arange(len(tiny_model.vocabulary))
    table = Plausibility.of([facts("c1ccccc1")])
    save_model(tmp_path / "trained", replace(tiny_model, plausibility=table, token_counts=counts))
    script.main(tmp_path / "trained", "default")
    shipped = load_model(tmp_path / "default")
    assert shipped.plausibility.molecules == 1
    assert shipped.token_counts.tolist() == counts.tolist()
    assert "**Intended use.**" in shipped.card
