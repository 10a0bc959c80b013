"""The tables of the predictors of measured columns."""

import importlib.util
from pathlib import Path

import pytest

from molvae.predict.assess import Scores

BENCH = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(scope="module")
def columns():
    """The script by its path: scripts/ is a folder of files, not a package."""
    spec = importlib.util.spec_from_file_location("columns", BENCH / "columns.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importlib.sys.modules, "columns", module)  # its dataclasses look there
        spec.loader.exec_module(module)
    return module


def test_the_summary_has_means_over_the_seeds(columns):
    predictor = [
        Scores(r2=0.7, spearman=0.8, coverage=0.9),
        Scores(r2=0.8, spearman=0.9, coverage=1),
    ]
    forest = [Scores(r2=0.5, spearman=0.6)]
    scores = {("set, 10", "random"): {"predictor": predictor, "forest": forest}}
    head, _, line = columns.summary("number", scores)
    assert "| predictor: R² | Spearman | 90 % intervals hold for | forest: R² | Spearman |" in head
    assert line == "| set, 10 | at random | 0.750 | 0.850 | 0.950 | 0.500 | 0.600 |"


def test_a_method_that_was_left_out_is_empty(columns):
    scores = {("set, 10", "scaffold"): {"predictor": [Scores(auc=0.9, brier=0.1)]}}
    *_, line = columns.summary("yesno", scores)
    assert line == "| set, 10 | whole scaffolds | 0.900 | 0.100 |  |  |"
