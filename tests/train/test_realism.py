"""Critic and table at the end of a training: what they are of, what is said, what is kept."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from molvae.chem.selfies import to_selfies
from molvae.cli.info import describe as describe_model
from molvae.config import load_config
from molvae.data.dataset import Dataset
from molvae.data.readers import read_smiles
from molvae.model.checkpoint import load_model, save_model
from molvae.model.parts import OPTIONAL
from molvae.realism.critic import save_critic
from molvae.train.realism import fitted_realism
from molvae.train.run import train
from tests.molecules import facts

ROOT = Path(__file__).parents[2]
REALISM = OPTIONAL[:3]


@pytest.fixture(scope="module")
def molecules(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    return dataset.smiles(dataset.part("train"))


@pytest.fixture(scope="module")
def fitted(tiny_run, molecules):
    return fitted_realism(load_model(tiny_run), molecules, most=60, device="cpu", workers=0)


def test_all_molecules_count_for_the_table_and_some_for_the_critic(fitted, molecules):
    assert fitted.plausibility.molecules == len(molecules)
    rings = {ring for text in molecules for ring in facts(text).ring_systems}
    assert fitted.plausibility.ring_systems.known == rings
    record = fitted.critic.record
    assert (record["molecules"], record["own_samples"], record["prior"]) == (60, 240, False)
    assert record["auc"] > 0.8  # the tiny model is far from its data


def test_the_same_molecules_and_weights_give_the_same_critic(fitted, tiny_run, molecules, tmp_path):
    again = fitted_realism(load_model(tiny_run), molecules, most=60, device="cpu", workers=0)
    for name, model in (("a", fitted), ("b", again)):
        (tmp_path / name).mkdir()
        save_critic(tmp_path / name, model.critic)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_start_gives_the_prior_and_its_table(fitted, tiny_model, molecules):
    few = molecules[:60]
    result = fitted_realism(tiny_model, few, start=fitted, device="cpu", workers=0)
    assert result.critic.record["prior"] is True
    assert result.plausibility.molecules == len(molecules) + 60
    assert result.plausibility.ring_systems.known == fitted.plausibility.ring_systems.known


def test_too_few_molecules_are_said(fitted, tiny_model, molecules, capsys):
    result = fitted_realism(tiny_model, molecules[:49], device="cpu", workers=0)
    assert (result.critic, result.plausibility) == (None, None)
    assert "got 49 training molecules, expected 50 or more" in capsys.readouterr().err
    result = fitted_realism(tiny_model, molecules[:49], start=fitted, device="cpu", workers=0)
    assert result.critic is None
    assert result.plausibility is fitted.plausibility


def small(run, dataset, **options):
    overrides = {"epochs": 1, "validations": 1, "reconstructions": 4, "critic_samples": 60}
    settings = load_config(preset="tiny", overrides={f"train.{k}": v for k, v in overrides.items()})
    train([dataset], run, settings, device="cpu", workers=0, **options)


def records(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_training_ends_with_both_and_a_finished_run_gets_them(
    tiny_dataset, molecules, tmp_path, capsys
):
    run = tmp_path / "run"
    small(run, tiny_dataset)
    shown = capsys.readouterr().err
    assert "realism critic: AUC" in shown
    assert f"atom environments of {len(molecules)} molecules" in shown
    model = load_model(run)
    realism = records(run)[-1]["realism"]
    assert realism["critic"] == json.loads(json.dumps(dict(model.critic.record)))
    assert realism["plausibility"]["molecules"] == len(molecules)
    before = {name: (run / "model" / name).read_bytes() for name in REALISM}
    data, lines = describe_model(run)
    assert data["realism"]["critic"]["auc"] == model.critic.record["auc"]
    assert any(line.startswith("realism critic: AUC") for line in lines)
    assert any(line.startswith("run finished") for line in lines)
    # As an earlier molvae left it.
    save_model(run / "model", replace(model, critic=None, plausibility=None))
    small(run, tiny_dataset, resume=True)
    assert {name: (run / "model" / name).read_bytes() for name in REALISM} == before
    assert load_model(run).card == model.card


def test_info_says_that_there_is_none(tiny_run):
    data, lines = describe_model(tiny_run)
    assert data["realism"] == {"critic": None, "plausibility": None}
    assert any(line.startswith("realism critic: none") for line in lines)
    assert "plausibility table: none" in lines


@pytest.mark.process
@pytest.mark.slow
def test_the_script_adds_both_and_keeps_the_weights(tiny_run, tiny_dataset, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    before = (run / "model" / "model.safetensors").read_bytes()
    subprocess.run(
        [
            sys.executable, ROOT / "scripts" / "fit_realism.py", run, "--samples", "60",
            "--workers", "0", "--train", tiny_dataset / "molecules.csv.gz",
        ],
        check=True, cwd=ROOT,
    )  # fmt: skip
    model = load_model(run)
    assert model.plausibility.molecules == 300
    assert model.critic.record["molecules"] == 60
    assert (run / "model" / "model.safetensors").read_bytes() == before
    counts = dict(zip(model.vocabulary.tokens, model.token_counts.tolist(), strict=True))
    with_oxygen = sum(
        "[O]" in to_selfies(text) for text in read_smiles([tiny_dataset / "molecules.csv.gz"])
    )
    assert counts["[O]"] == with_oxygen > 0
