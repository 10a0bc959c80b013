"""The training loop: its log, its stops, and a resume that changes nothing."""

import importlib.util
import json
import math
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from filelock import FileLock

from molvae.config import TrainConfig, load_config
from molvae.data.dataset import Dataset, content_hash
from molvae.errors import ConfigError, FileError, OutputExistsError, RunError
from molvae.model.checkpoint import load_model, load_state
from molvae.train import schedules
from molvae.train import trainer as module
from molvae.train.run import train
from molvae.train.schedules import KLWeight
from molvae.train.trainer import Trainer
from molvae.train.validations import Validations
from tests import warm

RUN_FILES = {".lock", "config.json", "metrics.jsonl", "model", "rejects.csv", "state.pt"}
if importlib.util.find_spec("tensorboard"):
    RUN_FILES.add("tensorboard")

ONE_STEP = {
    "train.epochs": 0.2, "train.validations": 1, "train.critic_samples": 0, "train.batch_size": 16,
}  # fmt: skip


def config(**options):
    settings = {
        "epochs": 2, "validations": 2, "valid_molecules": 20, "reconstructions": 4,
        "critic_samples": 0, "batch_size": 16, **options,
    }  # fmt: skip
    return load_config(
        preset="tiny", overrides={f"train.{key}": value for key, value in settings.items()}
    )


def go(dataset, run, **options):
    calls = {k: options.pop(k) for k in ("resume", "force") if k in options}
    return train([dataset], run, config(**options), device="cpu", **calls)


def log(run, *kinds):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if not kinds or r["kind"] in kinds]


def weights(run):
    return (run / "model" / "model.safetensors").read_bytes()


class Killed(BaseException):
    """Ends a training as abruptly as SIGKILL: nothing is saved on the way out."""


def at_step(monkeypatch, step, action):
    """Do something after the given number of training steps."""
    real = Trainer.train_step

    def train_step(self, items):
        terms = real(self, items)
        if self.step == step:
            action()
        return terms

    monkeypatch.setattr(Trainer, "train_step", train_step)


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(small_dataset, tmp_path_factory):
    """A run that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    go(small_dataset, run)
    return run


def test_a_run_leaves_what_the_design_says(whole):
    assert {p.name for p in whole.iterdir()} == RUN_FILES
    record = json.loads((whole / "config.json").read_text())
    assert record["kind"] == "molvae-run"
    assert record["config"]["train"]["epochs"] == 2
    assert load_model(whole).training["step"] == 10


def test_the_log_has_rate_distortion_and_reconstruction(whole):
    validations = log(whole, "validation")
    assert [r["step"] for r in validations] == [5, 10]
    for record in (*validations, *log(whole, "final")):
        assert list(record["R"]) == list(record["D"]) == ["0", "0.25", "0.5", "0.75", "1"]
        assert record["gap"] == pytest.approx(
            record["R"]["0"] + record["D"]["0"] - record["D"]["1"]
        )
        assert record["exact"]["denominator"] > 0
    assert log(whole)[-1]["kind"] == "final"


def test_the_log_has_the_training_loss_in_between(whole):
    records = log(whole, "train")
    assert [r["step"] for r in records] == list(range(1, 11))
    for record in records:
        weight = record["kl_weight"]
        assert record["loss"] >= record["reconstruction"] - 1e-6
        assert weight >= 0
        assert record["gradient_norm"] > 0


def test_the_information_is_logged_with_its_cap(whole):
    for record in log(whole, "validation"):
        assert record["information"]["cap"] == pytest.approx(math.log(record["n"]))
        assert record["information"]["value"] <= record["information"]["cap"] + 1e-9


def test_the_distortion_is_held_at_its_target(small_dataset, tmp_path):
    """An untrained model is far above it, so the weight falls all the time."""
    go(small_dataset, tmp_path / "run", distortion_target=1.0, kl_weight=0.1, validations=1)
    weights = [r["kl_weight"] for r in log(tmp_path / "run", "train")]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] == pytest.approx(0.1 * 0.02)


@pytest.mark.slow
def test_a_controlled_run_resumes_to_the_same_weights(small_dataset, tmp_path, monkeypatch):
    options = {"distortion_target": 30.0, "kl_weight": 0.1, "kl_free": 0.1, "epochs": 2}
    go(small_dataset, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        at_step(patch, 5, terminate)
        with pytest.raises(RunError):
            go(small_dataset, tmp_path / "run", **options)
    go(small_dataset, tmp_path / "run", resume=True, **options)
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert timeless(log(tmp_path / "run")) == timeless(log(tmp_path / "whole"))


def timeless(records):
    """Records without what a clock says."""
    return [
        {k: v for k, v in r.items() if k not in ("seconds", "molecules_per_second")}
        for r in records
    ]


def test_a_state_of_an_older_version_is_refused(small_dataset, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    state = load_state(tmp_path / "run" / "state.pt")
    del state["kl"]
    torch.save(state, tmp_path / "run" / "state.pt")
    with pytest.raises(FileError, match=r"version of molvae.*'kl'"):
        go(small_dataset, tmp_path / "run", resume=True)


def test_a_start_is_not_set_by_hand(small_dataset, tmp_path):
    settings = load_config(preset="tiny", overrides={"start": "0" * 64})
    with pytest.raises(ConfigError, match="--from"):
        train([small_dataset], tmp_path / "run", settings, device="cpu")


def test_force_removes_the_curves_of_the_older_run(small_dataset, whole, tmp_path):
    pytest.importorskip("tensorboard")
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "tensorboard" / "old").touch()
    go(small_dataset, tmp_path / "run", force=True, epochs=0.2, validations=1)
    assert not (tmp_path / "run" / "tensorboard" / "old").exists()


def test_a_fraction_of_an_epoch(small_dataset, tmp_path):
    assert go(small_dataset, tmp_path / "run", epochs=0.4, validations=1).steps == 2


def test_the_loss_falls(whole):
    validations = log(whole, "validation")
    assert validations[-1]["D"]["1"] < 0.97 * validations[0]["D"]["1"]


@pytest.mark.slow
def test_another_seed_gives_other_weights(small_dataset, whole, tmp_path):
    go(small_dataset, tmp_path / "other", seed=1)
    assert weights(tmp_path / "other") != weights(whole)


@pytest.mark.parametrize("step", [pytest.param(5, marks=pytest.mark.slow), 7])
def test_a_stopped_run_resumes_to_the_same_weights(
    small_dataset, whole, tmp_path, monkeypatch, step
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, step, terminate)
        with pytest.raises(RunError, match=f"step {step}"):
            go(small_dataset, run)
    assert load_state(run / "state.pt")["step"] == step
    go(small_dataset, run, resume=True)
    assert weights(run) == weights(whole)
    assert [r["step"] for r in log(run)] == [r["step"] for r in log(whole)]


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 8])
def test_a_killed_run_resumes_to_the_same_weights(
    small_dataset, whole, tmp_path, monkeypatch, step
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_step(patch, step, kill)
        with pytest.raises(Killed):
            go(small_dataset, run)
    with (run / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 4, "R": {"0": 1}')  # the kill cut a line in two
    go(small_dataset, run, resume=True)
    assert weights(run) == weights(whole)
    assert [r["score"] for r in log(run, "validation")] == [
        r["score"] for r in log(whole, "validation")
    ]


@pytest.mark.slow
def test_a_run_killed_before_its_final_figures_gets_them(
    small_dataset, whole, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finish", lambda self: kill())
        with pytest.raises(Killed):
            go(small_dataset, run)
    summary = go(small_dataset, run, resume=True)
    assert summary.finished
    assert summary.figures["exact"]
    assert weights(run) == weights(whole)


def test_a_finished_run_says_so_and_is_left_alone(small_dataset, whole, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = (run / "metrics.jsonl").read_bytes()
    summary = go(small_dataset, run, resume=True)
    assert "is finished (budget spent); nothing to do" in capsys.readouterr().err
    assert (summary.finished, summary.steps) == (True, 10)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert weights(run) == weights(whole)


def test_without_a_run_to_resume_the_same_seed_gives_the_same_weights(
    small_dataset, whole, tmp_path, capsys
):
    summary = go(small_dataset, tmp_path / "run", resume=True)
    assert "nothing to resume" in capsys.readouterr().err
    assert weights(tmp_path / "run") == weights(whole)
    assert (summary.finished, summary.steps, summary.reason) == (True, 10, "budget spent")


def test_changed_options_are_refused_on_resume(small_dataset, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train\.epochs.*2\.0.*5\.0.*train\.seed.*0.*1"):
        go(small_dataset, tmp_path / "run", resume=True, epochs=5, seed=1)


def test_other_data_are_refused_on_resume(small_dataset, whole, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.ds"
    shutil.copytree(whole, run)
    shutil.copytree(small_dataset, other)
    np.save(other / "properties.npy", np.load(other / "properties.npy") + np.float32(0.5))
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["content_sha256"] = content_hash(other)
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="data"):
        go(other, run, resume=True)


def test_a_run_is_replaced_only_when_forced(small_dataset, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    with pytest.raises(OutputExistsError, match="--resume"):
        go(small_dataset, run)
    go(small_dataset, run, force=True, epochs=0.2, validations=1)
    assert len(log(run, "validation")) == 1


def test_a_folder_in_use_is_refused(small_dataset, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with FileLock(run / ".lock"), pytest.raises(FileError, match="another"):
        go(small_dataset, run)
    assert {p.name for p in run.iterdir()} <= {".lock"}


def test_patience_ends_a_run_that_does_not_improve(small_dataset, tmp_path, monkeypatch):
    real, scores = module.figures, iter([5.0, 3.0, 4.0, 3.0, 9.0, 1.0])

    results = []

    def rigged(*args, **options):
        if not results:
            results.append(real(*args, **options))
        result = results[0]
        score = next(scores, 0.0)
        return {
            **result,
            "D": dict.fromkeys(result["D"], score),
            "R": dict.fromkeys(result["R"], 0.0),
        }

    monkeypatch.setattr(module, "figures", rigged)
    summary = go(small_dataset, tmp_path / "run", validations=10, patience=3)
    assert summary.reason == "no improvement in 3 validations"
    assert [r["best"] for r in log(tmp_path / "run", "validation")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert log(tmp_path / "run", "final")[0]["step"] == 5


def test_a_loss_that_is_not_finite_ends_the_run(small_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BAD_STEPS", 3)
    monkeypatch.setattr(KLWeight, "at", lambda *_: float("nan"))
    with pytest.raises(RunError, match="finite"):
        go(small_dataset, tmp_path / "run")


def test_a_time_budget_is_kept(small_dataset, tmp_path):
    summary = go(small_dataset, tmp_path / "run", epochs=None, max_time=0.5, validations=1)
    assert summary.finished
    assert summary.seconds >= 0.5
    assert summary.steps < schedules.MIN_STEPS  # those of a run without a budget


@pytest.mark.parametrize(
    ("steps", "elapsed", "spent", "dear"),
    [
        (None, 10.0, 0.0, False),  # a guess: 100 molecules of 100/s, twice
        (None, 9.0, 0.0, True),
        (None, 10.0, 1.5, True),
        (None, 15.0, 1.5, False),
        (500, 10.0, 9.0, False),  # with a budget of steps the plan is kept
    ],
)
def test_validations_leave_a_time_budget_to_training(steps, elapsed, spent, dear):
    options = TrainConfig(valid_molecules=100, validations=10)
    validations = Validations(options, timed=steps is None, molecules=5000)
    if spent:
        validations.took(spent)
    now = {"elapsed": elapsed, "trained": int(100 * elapsed)}
    assert not validations.due(0.05, **now)
    assert validations.due(0.15, **now) is not dear
    assert validations.due(1.0, **now)  # the last one is made whatever it costs


def test_training_without_conditions_gives_a_plain_vae(small_dataset, tmp_path):
    settings = load_config(
        preset="tiny",
        overrides={"data.conditions": [], **ONE_STEP},
    )
    train([small_dataset], tmp_path / "run", settings, device="cpu")
    assert load_model(tmp_path / "run").conditions.names == ()


def test_a_subset_of_the_conditions_can_be_chosen(small_dataset, tmp_path):
    settings = load_config(
        preset="tiny",
        overrides={"data.conditions": ["assay", "qed"], **ONE_STEP},
    )
    train([small_dataset], tmp_path / "run", settings, device="cpu")
    saved = load_model(tmp_path / "run").conditions
    assert saved.names == ("assay", "qed")
    dataset = Dataset(small_dataset)
    values = dataset.values[dataset.part("train"), dataset.names.index("qed")]
    assert saved["qed"].mean == pytest.approx(float(values.mean()), rel=1e-5)


@pytest.mark.slow  # without dropout: test_a_stopped_run_resumes_to_the_same_weights
def test_dropout_trains_and_resumes(small_dataset, tmp_path, monkeypatch):
    settings = load_config(
        preset="tiny",
        overrides={
            "model.dropout": 0.2, "train.epochs": 0.8, "train.validations": 1,
            "train.reconstructions": 4, "train.critic_samples": 0, "train.batch_size": 16,
        },
    )  # fmt: skip
    train([small_dataset], tmp_path / "a", settings, device="cpu")
    with monkeypatch.context() as patch:
        at_step(patch, 2, terminate)
        with pytest.raises(RunError):
            train([small_dataset], tmp_path / "b", settings, device="cpu")
    train([small_dataset], tmp_path / "b", settings, device="cpu", resume=True)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


@pytest.mark.parametrize(
    ("conditions", "columns", "message"),
    [(["heavy"], None, "'heavy'"), (None, {"y": "y"}, "ignored")],
)
def test_options_that_do_not_fit_the_dataset_are_refused(
    small_dataset, tmp_path, conditions, columns, message
):
    settings = load_config(overrides={"data.conditions": conditions, "data.properties": columns})
    with pytest.raises(ConfigError, match=message):
        train([small_dataset], tmp_path / "run", settings)


# -- what the network is shown --------------------------------------------------------------------


def test_small_data_get_small_steps_and_enough_of_them():
    options = load_config().train
    assert schedules.batch_size_for(options, 50_000) == 64
    assert schedules.batch_size_for(options, 50_001) == 256
    assert schedules.total_steps(options, 640, 64) == 6_000  # 30 passes would be 300 steps
    assert schedules.total_steps(options, 256_000, 256) == 30_000


def test_a_given_budget_is_kept():
    options = load_config(overrides={"train.epochs": 3, "train.batch_size": 100}).train
    assert schedules.batch_size_for(options, 10) == 100
    assert schedules.total_steps(options, 1025, 100) == 33
    assert (
        schedules.total_steps(load_config(overrides={"train.max_time": 5.0}).train, 10, 5) is None
    )


@pytest.mark.parametrize(
    ("prior", "exact", "expected"),
    [
        (0.4, 0.3, 4.0),  # all levels; the rate is no concern of samples at t = 1
        (0.0, 0.0, 4.0),
        (0.4, 0.6, 5.5),
        (1.0, 0.0, 9.0),  # a language model
        (0.0, 1.0, 2.0 + 0.5 * 20.0),  # a plain VAE: its negative ELBO
    ],
)
def test_the_best_weights_are_those_of_the_levels_that_training_visits(prior, exact, expected):
    given = {"prior_share": prior, "exact_share": exact, "kl_weight": 0.5}
    options = load_config(overrides={f"train.{key}": value for key, value in given.items()}).train
    result = schedules.score({"0": 2.0, "0.5": 1.0, "1": 9.0}, 20.0, options)
    assert result == pytest.approx(expected)


# -- real processes -------------------------------------------------------------------------------


def command(dataset, run, *more):
    return [
        "train", dataset, "-o", run, "--preset", "tiny", "--epochs", 6, "--device", "cpu",
        "--set", "train.validations=6", "--set", "train.patience=99",
        "--set", "train.critic_samples=0", *more,
    ]  # fmt: skip


@pytest.mark.process
def test_killed_processes_resume_to_the_same_weights(tiny_dataset, tmp_path):
    assert warm.run(*command(tiny_dataset, tmp_path / "whole")).returncode == 0
    run = tmp_path / "run"
    for number, code in ((signal.SIGTERM, 1), (signal.SIGKILL, -signal.SIGKILL)):
        again = ["--resume"] if run.exists() else []
        process = warm.Process(*command(tiny_dataset, run, *again))
        warm.wait_for(lambda process=process: "\nvalidation" in process.said()[1], process)
        if number == signal.SIGKILL:  # a second training may not touch the folder meanwhile
            second = warm.run(*command(tiny_dataset, run, "--resume"))
            assert (second.returncode, "another training" in second.stderr) == (2, True)
        process.send_signal(number)
        assert process.wait(240) == code, process.said()
        assert "Traceback" not in process.said()[1]
    assert warm.run(*command(tiny_dataset, run, "--resume")).returncode == 0
    assert weights(run) == weights(tmp_path / "whole")
    assert [r["step"] for r in log(run)] == [r["step"] for r in log(tmp_path / "whole")]
