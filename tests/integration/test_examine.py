"""Models examined from end to end."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molvae.chem.vocabulary import grammar_table
from molvae.data.dataset import Dataset
from molvae.evaluate.diagnostics.examine import examine
from molvae.evaluate.diagnostics.results import lines
from molvae.model.checkpoint import load_model, save_model
from molvae.model.conditions import ConditionSet
from molvae.model.cvae import CVAE

ROOT = Path(__file__).parents[2]


PATHS, ASKED = 6, 6  # of 100 each, to save time


@pytest.fixture(scope="module", autouse=True)
def fewer_decodings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("molvae.evaluate.diagnostics.examine.PATHS", PATHS)
        patch.setattr("molvae.evaluate.diagnostics.examine.ASKED", ASKED)
        yield


@pytest.fixture(scope="module")
def found(tiny_run):
    return examine(tiny_run, device="cpu", workers=0)


def test_the_figures_are_those_of_the_model_card(found, tiny_run):
    """Seed and number are those of training, and so are the molecules and their noise."""
    stored = load_model(tiny_run).training["figures"]
    assert found.rate["n"] == stored["n"]
    for name in ("R", "D"):
        assert found.rate[name] == pytest.approx(stored[name], rel=0.02)  # which may be in bf16
    assert found.rate["gap"] == pytest.approx(stored["gap"], abs=0.1)  # a small difference
    by_name = {error.name: error for error in found.head}
    assert by_name["mw"].error.value == pytest.approx(stored["head"]["mw"]["mae"], rel=0.05)
    assert by_name["assay"].error.n == stored["head"]["assay"]["n"] < found.rate["n"]


def test_every_figure_is_there_and_in_its_bounds(found, tiny_dataset):
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    n = len(Dataset(tiny_dataset).part("test"))
    assert data["molecules"]["n"] == data["rate"]["n"] == n
    information = data["mutual_information"]
    assert information["cap"] == pytest.approx(math.log(n))
    assert information["value"] <= information["cap"] + 1e-9
    assert data["marginal_kl"]["value"] == pytest.approx(
        data["rate"]["R"]["0"] - information["value"]
    )
    assert list(data["reconstruction"]) == ["0", "0.25", "0.5", "0.75", "1"]
    for level in data["reconstruction"].values():
        for ratio in level.values():
            assert ratio["value"] == ratio["numerator"] / ratio["denominator"]
            assert ratio["n"] == n
    paths = data["interpolation"]
    assert (paths["paths"], paths["points"]) == (PATHS, 11)
    assert paths["lowest"]["value"] <= paths["consecutive"]["value"]
    assert 1 <= paths["distinct"]["value"] <= 11
    assert paths["consecutive"]["value"] > paths["baseline"]["value"]
    assert list(data["control"]) == ["logp", "qed", "mw", "assay"]
    for control in data["control"].values():
        assert control["n"] == sum(reply["n"] for reply in control["replies"])
        assert all(reply["n"] + reply["missing"] == ASKED for reply in control["replies"])
    assert data["control"]["logp"]["source"] == "RDKit"
    assert "predicted by the model" in data["control"]["assay"]["source"]
    assert found.latent_map.points.shape == (n, 2)
    assert np.isnan(found.latent_map.values).any()
    assert 0 < sum(found.latent_map.shares) <= 1
    assert all(len(line) <= 80 for line in lines(found))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report(found, tiny_run):
    again = examine(tiny_run / "model", device="cpu", workers=0)
    assert again.to_json() == found.to_json()
    np.testing.assert_array_equal(again.latent_map.points, found.latent_map.points)
    other = examine(tiny_run, seed=1, number=6, device="cpu", workers=0)
    assert other.rate["n"] == 6
    assert other.to_json()["control"] != found.to_json()["control"]


def test_a_single_molecule_can_be_examined(tiny_run, monkeypatch):
    monkeypatch.setattr("molvae.evaluate.diagnostics.examine.ASKED", 1)
    alone = examine(tiny_run, number=1, device="cpu", workers=0)
    assert alone.information.value == pytest.approx(0)
    assert alone.interpolation.paths == 0
    assert json.dumps(alone.to_json(), allow_nan=False)
    assert lines(alone)


def test_a_model_without_conditions_can_be_examined(tiny_model, demo_csv, tmp_path):
    grammar = grammar_table(tiny_model.vocabulary.tokens, tiny_model.constraints)
    network = CVAE(tiny_model.network.config, len(grammar), 0, grammar)
    plain = replace(tiny_model, network=network, conditions=ConditionSet([]))
    save_model(tmp_path / "plain", plain)
    report = examine(tmp_path / "plain", test=demo_csv, number=8, device="cpu", workers=0)
    assert (report.head, report.control) == ((), ())
    assert report.latent_map.values.shape == (report.molecules.n, 0)
    assert lines(report)


@pytest.mark.slow
def test_a_moved_run_finds_its_molecules(found, tiny_run, tmp_path, monkeypatch):
    for name in ("PATHS", "ASKED"):
        monkeypatch.setattr(f"molvae.evaluate.diagnostics.examine.{name}", 1)
    shutil.copytree(tiny_run, tmp_path / "moved")
    moved = examine(tmp_path / "moved", device="cpu", workers=0).to_json()
    assert moved["rate"] == found.to_json()["rate"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", str(ROOT / "tests" / "golden" / "model-v1")])
def test_models_without_a_run_on_molecules_of_the_user(name, demo_csv, monkeypatch):
    monkeypatch.setattr("molvae.evaluate.diagnostics.calibration.QUANTILES", (0.05, 0.95))
    monkeypatch.setattr("molvae.evaluate.diagnostics.examine.ASKED", 12)
    report = examine(name, test=demo_csv, number=20, device="cpu", workers=0)
    model = load_model(name)
    assert report.rate["n"] == 20
    assert {control.name for control in report.control} == set(model.conditions.names)
    assert report.molecules.available + sum(report.molecules.left_out.values()) == 300
    # Asking has an effect, and the head knows more than the mean.
    slopes = [c.slope for c in report.control if c.slope is not None]
    assert np.median(slopes) > 0.05
    assert report.reconstruction[0].tokens_teacher_forced.value > 0.3
