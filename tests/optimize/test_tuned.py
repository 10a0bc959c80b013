"""The generator that a search tuned, as a model folder."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from molvae.api import MolVAE
from molvae.cli.info import describe
from molvae.errors import ConfigError, FileError, OutputExistsError
from molvae.model.checkpoint import load_model
from molvae.objectives import parse_objective
from molvae.optimize.run import optimize
from molvae.runtime.randomness import normal_quantile
from tests import warm

QED = parse_objective(["qed"])
LEARNING = {"method": "learning", "workers": 0}


@pytest.fixture(scope="module")
def searched(measured_run, tmp_path_factory):
    """(folder of a search, its start model): 16 calls, in which the decoder learns."""
    folder = tmp_path_factory.mktemp("tuned")
    summary = optimize(
        folder / "best.csv", QED, 16, model=measured_run, save_model=folder / "model", **LEARNING
    )
    assert summary.calls == 16
    return folder, measured_run


def test_the_folder_says_where_it_comes_from(searched):
    folder, start = searched
    config = json.loads((folder / "model" / "config.json").read_text())
    about, before = config["training"]["optimized"], json.loads((start / "config.json").read_text())
    assert (about["objective"], about["calls"], about["seed"]) == (["qed"], 16, 0)
    assert (about["condition"], about["molecules"], about["method"]) == ("score", 16, "learning")
    assert about["start"]["name"] == start.name
    assert config["training"]["data"] == before["training"]["data"]
    assert "exact" not in config["training"]["figures"]
    assert "16 calls of qed; the score is 'score'" in "\n".join(describe(folder / "model")[1])
    assert "`qed`" in (folder / "model" / "card.md").read_text()
    weights = [load_file(f / "model.safetensors") for f in (start, folder / "model")]
    assert any(
        not np.array_equal(old, weights[1][name]) for name, old in weights[0].items()
        if old.shape == weights[1][name].shape
    )  # fmt: skip


def test_the_score_is_a_measured_column_with_a_predictor(searched):
    folder, start = searched
    model, before = load_model(folder / "model"), load_model(start)
    assert model.conditions.names == (*before.conditions.names, "score")
    assert np.array_equal(model.conditions.correlations[:-1, :-1], before.conditions.correlations)
    assert list(model.predictors) == [*before.predictors, "score"]
    scorer = model.predictors["score"]
    with (folder / "best.csv").open() as file:
        best = [line.split(",")[0] for line in file][1:]
    # Ranks of sixteen molecules, the best first, as quantiles of N(0, 1).
    ranks = normal_quantile(1 - (np.arange(16) + 0.5) / 16)
    assert list(scorer.smiles) == best
    assert scorer.values == pytest.approx(ranks)
    name = next(iter(before.predictors))
    old, new = (m.predictors.predict(best[:5], [name])[name] for m in (before, model))
    assert new.mean == pytest.approx(old.mean)


@pytest.mark.slow
def test_generate_and_optimize_take_it(searched, tmp_path):
    folder, _ = searched
    model = MolVAE.load(folder / "model")
    table = model.generate(4, ["score=1"], workers=0, seed=1)
    assert {"score", "score_low", "score_nearest"} <= set(table.columns)
    assert len(table) == 4
    again = optimize(
        tmp_path / "a.csv", parse_objective(["score"], columns=lambda: model._model.predictors), 8,
        model=folder / "model", save_model=tmp_path / "second", **LEARNING,
    )  # fmt: skip
    assert again.calls == 8
    assert load_model(tmp_path / "second").conditions.names[-2:] == ("score", "score_2")


@pytest.mark.slow
def test_a_finished_search_can_still_write_it(searched, tmp_path):
    folder, start = searched
    for name in ("best.csv", "best.calls.csv", "best.calls.json"):
        shutil.copy(folder / name, tmp_path / name)
    options = {"model": start, "save_model": tmp_path / "model", **LEARNING}
    for _ in range(2):  # and once more: what a resumed search wrote is replaced
        optimize(tmp_path / "best.csv", QED, 16, resume=True, **options)
        assert load_model(tmp_path / "model").conditions.names[-1] == "score"


def test_folders_that_are_not_overwritten(tmp_path, tiny_run):
    output = tmp_path / "best.csv"
    with pytest.raises(ConfigError, match="evolution"):
        optimize(output, QED, 8, model=tiny_run, workers=0, save_model=tmp_path / "m")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    options = {"model": tiny_run, **LEARNING}
    with pytest.raises(OutputExistsError, match="other"):
        optimize(output, QED, 8, save_model=tmp_path / "other", **options)
    with pytest.raises(FileError, match="not a model folder"):
        optimize(output, QED, 8, save_model=tmp_path / "other", force=True, **options)
    with pytest.raises(ConfigError, match="--resume"):
        optimize(output, QED, 8, save_model=tiny_run / "model", force=True, **options)
    assert not output.exists()


@pytest.mark.process
def test_a_tuned_model_on_the_command_line(tmp_path, tiny_run):
    folder = tmp_path / "model"
    done = warm.run(
        "optimize", "-m", tiny_run, "--objective", "qed", "--budget", 12, "--method", "learning",
        "-o", tmp_path / "best.csv", "--save-model", folder, "--workers", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = warm.run("generate", "-m", folder, "-n", 3, "-t", "score=1", "-o", tmp_path / "new.csv",
                    "--workers", 1)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "score" in (tmp_path / "new.csv").read_text().splitlines()[0]
