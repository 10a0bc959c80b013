"""A training fits predictors of the user's columns and says honestly how good they are."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from molvae import chem
from molvae.cli.info import describe
from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.model.checkpoint import load_model, load_state, save_model, save_state
from molvae.predict.store import FILES
from molvae.train import measured
from molvae.train.run import train
from molvae.train.trainer import Trainer


def go(dataset, run, *, resume=False, **options):
    settings = {
        "epochs": 0.4, "validations": 1, "valid_molecules": 9, "reconstructions": 2,
        "critic_samples": 0, "batch_size": 16,
    }  # fmt: skip
    config = load_config(
        preset="tiny", overrides={f"train.{k}": v for k, v in (settings | options).items()}
    )
    return train([dataset], run, config, device="cpu", workers=0, resume=resume)


@pytest.fixture(scope="module")
def run(small_dataset, tmp_path_factory):
    """A run of two steps on small molecules with their assay."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    go(small_dataset, folder)
    return folder


def test_the_predictor_holds_the_training_molecules_and_no_others(run, small_dataset):
    dataset, predictor = Dataset(small_dataset), load_model(run).predictors["assay"]
    items, column = dataset.part("train"), dataset.names.index("assay")
    known = items[np.isfinite(dataset.values[items, column])]
    expected = {
        chem.canonical_smiles(dataset.vocabulary.decode(dataset.ids(int(i)).tolist())): float(
            dataset.values[i, column]
        )
        for i in known
    }
    assert dict(zip(predictor.smiles, predictor.values.tolist(), strict=True)) == expected


def test_the_figures_are_those_of_held_out_molecules(run, small_dataset):
    model, dataset = load_model(run), Dataset(small_dataset)
    figures = model.training["figures"]
    items, column = dataset.part(figures["split"]), dataset.names.index("assay")
    items = items[np.isfinite(dataset.values[items, column])]
    smiles = [dataset.vocabulary.decode(dataset.ids(int(i)).tolist()) for i in items]
    truth = dataset.values[items, column].astype(float)
    result = model.predictors.predict(smiles)["assay"]
    shown = figures["columns"]["assay"]
    assert shown["molecules"] == len(items)
    assert shown["predictor"]["mae"] == pytest.approx(np.abs(result.mean - truth).mean())
    held = (truth >= result.low) & (truth <= result.high)
    assert shown["predictor"]["coverage"] == pytest.approx(held.mean())
    known = dataset.values[dataset.part("train"), column]
    plain = np.abs(truth - np.nanmean(known.astype(float))).mean()
    assert shown["baseline"]["mae"] == pytest.approx(plain)
    # The head's error is measured on the same molecules elsewhere too.
    assert shown["head"]["mae"] == pytest.approx(figures["head"]["assay"]["mae"], rel=1e-4)
    assert "too few to tell" in shown["remark"]  # a dozen molecules


def test_info_states_the_errors_of_a_column(run):
    data, lines = describe(run)
    predictor = load_model(run).predictors["assay"]
    result = data["columns"]["assay"]
    assert (result["fitted_to"], result["domain"]) == (len(predictor.values), predictor.threshold)
    assert result["predictor"] == data["training"]["figures"]["columns"]["assay"]["predictor"]
    json.dumps(data, allow_nan=False)
    text = "\n".join(lines)
    assert f"MAE {result['predictor']['mae']:.3g}" in text
    assert result["remark"] in text
    assert result["remark"] in (run / "model" / "card.md").read_text(encoding="utf-8")


def test_a_run_from_before_predictors_gets_them_on_resume(run, small_dataset, tmp_path):

    old = shutil.copytree(run, tmp_path / "run")
    model, state = load_model(run), load_state(run / "state.pt")
    del state["final"]["columns"], state["prepared"]
    save_state(old / "state.pt", state)
    save_model(old / "model", replace(model, predictors=None))
    assert not (old / "model" / FILES[0]).exists()
    go(small_dataset, old, resume=True)
    for name in FILES:  # fitting has no seed
        assert (old / "model" / name).read_bytes() == (run / "model" / name).read_bytes()
    assert "columns" in load_model(old).training["figures"]


def test_a_resumed_run_does_not_fit_again(run, small_dataset, monkeypatch):
    monkeypatch.setattr(measured.Predictors, "fit", None)
    go(small_dataset, run, resume=True)


def test_the_time_before_the_first_step_is_part_of_the_budget(small_dataset, tmp_path, monkeypatch):
    clock = [0.0]
    real_fit, real_step = measured.MeasuredColumns.fit, Trainer.train_step
    progress = []

    def fit(self):
        clock[0] += 60
        real_fit(self)

    def train_step(self, items):
        progress.append(self._progress())
        clock[0] += 20
        return real_step(self, items)

    monkeypatch.setattr("molvae.train.trainer.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(measured.MeasuredColumns, "fit", fit)
    monkeypatch.setattr(Trainer, "train_step", train_step)
    summary = go(small_dataset, tmp_path / "run", epochs=100, max_time=100)
    assert summary.steps == 2  # of 20 s each, after 60 s of 100
    assert progress == [0.0, 0.5]  # the schedules begin with the first step


def test_too_few_positives_give_a_remark(small_dataset, tmp_path, monkeypatch):
    real = Dataset.__init__

    def rare(self, folder):
        real(self, folder)
        column = self.names.index("assay")
        self.kinds["assay"] = "yesno"
        self.values = np.array(self.values)
        self.values[:, column] = 0.0
        self.values[self.part("train")[:3], column] = 1.0

    monkeypatch.setattr(Dataset, "__init__", rare)
    go(small_dataset, tmp_path / "run")
    shown = load_model(tmp_path / "run").training["figures"]["columns"]["assay"]
    assert "Only 3 of the rarer answer among" in shown["remark"]
    assert shown["base_rate"] == 0.0
