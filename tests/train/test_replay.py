"""Replay: what is mixed in, what it counts as, and that a resumed run takes the same steps."""

import json
import re

import numpy as np
import pytest
import torch

from molvae import chem
from molvae.chem.properties import compute
from molvae.config import TrainConfig, load_config
from molvae.data.dataset import Dataset, batch_plan
from molvae.errors import ConfigError
from molvae.model.checkpoint import load_model, load_state, save_state
from molvae.runtime.randomness import Draws
from molvae.train.replay import FIRST, LEAST, START, Replay
from molvae.train.run import train
from molvae.train.trainer import Trainer


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def drawn(tiny_run, dataset):
    """The state of a replay with as many places as training molecules, in one pass."""
    replay = Replay(dataset, TrainConfig(replay=0.5, epochs=1))
    return replay.draw(load_model(tiny_run), range(len(dataset.names)), "cpu", 0)


@pytest.mark.parametrize(("seconds", "parts"), [(9.0, [200]), (100.0, [200, 400, 300])])
def test_with_a_time_budget_parts_are_drawn_for_as_long_as_they_fit(
    dataset, seconds, parts, monkeypatch
):
    """A molecule takes 10 ms, a tenth of the budget is for samples, and 900 samples are wanted."""
    now, drawn = [0.0], []
    monkeypatch.setattr("molvae.train.replay.time.monotonic", lambda: now[0])
    replay, counts, seeds = Replay(dataset, TrainConfig(max_time=seconds)), [], []
    for seed, count in replay._parts(900, drawn):
        counts.append(count)
        seeds.append(seed)
        drawn += ["C"] * count
        now[0] += 0.01 * count
    assert counts == parts
    assert len(set(seeds)) == len(parts)


def replay_of(dataset, drawn, share=0.5):
    replay = Replay(dataset, TrainConfig(replay=share))
    replay.restore(drawn)
    return replay


def test_there_are_as_many_samples_as_places_and_some_held_out(dataset, tiny_run, capsys):
    replay = Replay(dataset, TrainConfig(replay=0.2, epochs=1))
    count = len(replay.draw(load_model(tiny_run), [0], "cpu", 0)["offsets"]) - 1
    places = round(len(dataset.part("train")) / 4)
    shown = capsys.readouterr().err
    lost = int(re.search(r"; (\d+) are left out", shown)[1]) if "left out" in shown else 0
    assert count + lost == places + places // 9
    assert f"replay: {count} samples of the start model, {count // 10} of them held out" in shown


@pytest.mark.parametrize("share", [0.5, 0.75, 0.2])
def test_a_pass_has_every_molecule_once_and_samples_by_the_share(dataset, drawn, share):
    replay, items = replay_of(dataset, drawn, share), dataset.part("train")
    batches = replay.plan(16, Draws(0), epoch=3)
    everything = np.concatenate(batches)
    own = everything[everything >= len(dataset)]
    assert sorted(everything[everything < len(dataset)]) == items.tolist()
    assert len(own) == round(len(items) * share / (1 - share))
    assert len(set(own.tolist())) == len(own)  # repeats have other numbers, so other noise
    plain = batch_plan(items, dataset.lengths(items), 16, Draws(0), epoch=3)
    assert abs(len(batches) - len(plain)) <= 1
    assert all(batch.size <= 1.3 * 16 / (1 - share) for batch in batches)
    count = len(drawn["offsets"]) - 1
    usable = count - count // 10
    times = np.bincount((own - len(dataset)) % usable)
    assert times.max() == -(-len(own) // usable)
    again = replay.plan(16, Draws(0), epoch=3)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_without_a_share_the_plan_is_that_of_the_data(dataset):
    replay, items = Replay(dataset, TrainConfig()), dataset.part("train")
    assert replay.draw(None, [], "cpu", 0) == {}
    plain = batch_plan(items, dataset.lengths(items), 16, Draws(0), epoch=1)
    result = replay.plan(16, Draws(0), epoch=1)
    assert all(np.array_equal(a, b) for a, b in zip(result, plain, strict=True))


def test_samples_have_their_exact_properties_and_no_measured_value(dataset, drawn):
    replay = replay_of(dataset, drawn)
    items = np.asarray([5, len(dataset) + 2, 9, len(dataset) + 0])
    batch = replay.batch(items)
    assert batch.items.tolist() == items.tolist()
    for i in (0, 2):
        alone = dataset.batch(items[i : i + 1])
        assert batch.inputs[i, : alone.inputs.shape[1]].tolist() == alone.inputs[0].tolist()
        np.testing.assert_array_equal(batch.values[i], alone.values[0])
    for i in (1, 3):
        smiles = dataset.vocabulary.decode(batch.targets[i])
        mol = chem.parse(smiles)
        for name, value in zip(dataset.names, batch.values[i], strict=True):
            if name == "assay":
                assert np.isnan(value)
            else:
                assert value == pytest.approx(compute(mol, [name])[0], rel=1e-5)
    assert replay.real(items) == 2


def test_held_out_samples_are_not_trained_on(dataset, drawn, tiny_model):
    replay = replay_of(dataset, drawn)
    count = len(drawn["offsets"]) - 1
    batches = np.concatenate(replay_of(dataset, drawn, 0.2).plan(16, Draws(0), epoch=0))
    assert batches.max() < len(dataset) + count - count // 10
    figures = replay.figures(tiny_model.network, torch.device("cpu"), "fp32")
    assert 5 < figures[START] < 100
    assert Replay(dataset, TrainConfig()).figures(None, None, "") == {}


def config(**options):
    settings = {
        "epochs": 1, "validations": 1, "reconstructions": 2, "valid_molecules": 10,
        "critic_samples": 0, "precision": "fp32", **options,
    }  # fmt: skip
    overrides = {f"train.{key}": value for key, value in settings.items()}
    return load_config(overrides=overrides, fine_tuning=True)


def go(dataset, run, start, **options):
    calls = {k: options.pop(k) for k in ("resume",) if k in options}
    return train([dataset], run, config(**options), device="cpu", workers=0, start=start, **calls)


class Killed(BaseException):
    pass


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_resumed_run_takes_the_same_steps(tiny_dataset, tiny_run, tmp_path, monkeypatch):
    summary = go(tiny_dataset, tmp_path / "whole", tiny_run)
    molecules = len(Dataset(tiny_dataset).part("train"))
    assert summary.molecules == molecules
    model = load_model(tmp_path / "whole")
    assert model.training["data"]["molecules"] == molecules
    assert model.training["config"]["train"]["replay"] == 0.5
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert all(START in r for r in records if r["kind"] in ("validation", "final"))
    real = Trainer.train_step

    def train_step(self, items):
        terms = real(self, items)
        if self.step == 2:
            self.world.on_first(self.save)
            raise Killed
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        with pytest.raises(Killed):
            go(tiny_dataset, tmp_path / "run", tiny_run)
    with monkeypatch.context() as patch:  # the samples are not drawn again
        patch.setattr("molvae.train.replay.generate", lambda *_, **__: 1 / 0)
        go(tiny_dataset, tmp_path / "run", tiny_run, resume=True)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_from_before_there_was_replay_continues_without(tiny_dataset, tiny_run, tmp_path):
    run = tmp_path / "run"
    go(tiny_dataset, run, tiny_run, replay=0)
    before = weights(run)
    state = load_state(run / "state.pt")
    settings = json.loads(state["config"])
    del settings["train"]["replay"], state["replay"]
    save_state(run / "state.pt", {**state, "config": json.dumps(settings)})
    assert go(tiny_dataset, run, tiny_run, resume=True).finished
    assert weights(run) == before


def test_a_time_budget_limits_the_sampling(tiny_run, dataset):
    replay = Replay(dataset, TrainConfig(replay=0.5, max_time=1e-6))
    count = len(replay.draw(load_model(tiny_run), [0], "cpu", 0)["offsets"]) - 1
    assert 0 < count <= FIRST < LEAST  # as many as are needed to know the rate, and no more


def test_replay_needs_a_start(tiny_dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"train\.replay: got 0\.5, expected 0 without --from"):
        train([tiny_dataset], tmp_path / "run", config(), device="cpu")
