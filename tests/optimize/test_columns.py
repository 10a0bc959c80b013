"""A search for a measured column: scores near the data, and what they rest on in the output."""

import csv
import json

import pytest
from click.testing import CliRunner

from molvae import MolVAE
from molvae.cli import main
from molvae.model.checkpoint import load_predictors
from molvae.objectives import parse_objective
from molvae.optimize.scoring import Scoring
from molvae.runtime.pool import WorkerPool


def test_scores_of_columns_and_others_are_put_together(measured_run):
    predictor = load_predictors(measured_run)["assay"]
    smiles = list(predictor.smiles[:5])
    both = parse_objective(["qed", "assay@4:8"], columns=lambda: {"assay": predictor})
    expected = both.scores(smiles)
    with WorkerPool(0) as pool:
        scored = [one for part in Scoring(both, pool, size=2)(smiles) for one in part]
    result = {one.smiles: one.scores for one in scored}
    for text, scores in zip(smiles, expected, strict=True):
        assert result[text] == pytest.approx(scores)
    alone = parse_objective(["assay"], columns=lambda: {"assay": predictor})
    with WorkerPool(0) as pool:
        (scored,) = Scoring(alone, pool, size=2)(smiles)  # one call for all
    assert [one.smiles for one in scored] == smiles
    assert [one.scores[0] for one in scored] == pytest.approx([e[1] for e in expected])


def test_a_part_that_fails_leaves_the_columns_score(measured_run, tmp_path):
    (tmp_path / "bad.py").write_text("def score(smiles):\n    raise ValueError('no')\n")
    predictor = load_predictors(measured_run)["assay"]
    both = parse_objective(
        [f"{tmp_path}/bad.py:score@0:1", "assay@4:8"], columns=lambda: {"assay": predictor}
    )
    with WorkerPool(0) as pool:
        ((scored,),) = Scoring(both, pool)(["CCO"])
    assert scored.scores[0] != scored.scores[0]
    assert scored.scores[1] == pytest.approx(both.parts[1].scorer(["CCO"])[0])
    assert "no" in scored.note


def test_the_output_says_what_a_score_rests_on(measured_run, tmp_path):
    output, page = tmp_path / "best.csv", tmp_path / "best.html"
    command = ["optimize", "-m", measured_run, "--objective", "assay", "--pessimism", 0.5,
               "--budget", 12, "--method", "sampling", "--workers", 0, "--device", "cpu",
               "-o", output, "--report", page]  # fmt: skip
    done = CliRunner().invoke(main, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    count = output.read_text(encoding="utf-8").count(",yes,")
    assert f"assay: {count} of the 12 are similar to a measured molecule" in done.output
    with output.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == [
        "smiles", "assay", "assay_mean", "assay_low", "assay_high", "assay_nearest",
        "assay_similarity", "assay_nearest_value", "assay_inside", "call", "origin",
    ]  # fmt: skip
    result = load_predictors(measured_run).predict([row["smiles"] for row in rows])["assay"]
    for column, expected in (
        ("assay", result.mean - 0.5 * result.sd), ("assay_mean", result.mean),
        ("assay_low", result.low), ("assay_similarity", result.similarity),
    ):  # fmt: skip
        shown = [float(row[column]) for row in rows]
        assert shown == pytest.approx(expected.tolist(), rel=1e-4)
    assert [row["assay_nearest"] for row in rows] == list(result.nearest)
    text = page.read_text(encoding="utf-8")
    assert "assay_low" in text
    assert "nearest training molecule" in text
    plan = json.loads((tmp_path / "best.calls.json").read_text())
    assert plan["deviations"] == [0.5]
    command[command.index(0.5)] = 2
    again = CliRunner().invoke(main, [*(str(word) for word in command), "--resume"])
    assert again.exit_code == 2
    assert "deviations" in again.output


def test_from_python(measured_run):
    model = MolVAE.load(measured_run)
    table = model.optimize("assay", 8, method="sampling", workers=0, pessimism=0)
    assert table["assay"].tolist() == pytest.approx(table["assay_mean"].tolist())
    assert table["assay"].is_monotonic_decreasing
