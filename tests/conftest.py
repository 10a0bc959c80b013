"""What every test gets: fixed seeds, its own cache folder, a tiny dataset and a tiny model."""

import gc
import gzip
import itertools
import json
import random
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

ASSETS = Path(__file__).parent / "assets"

# The same examples on every run and machine, and no time limit per example. `scripts/check --all`
# selects the other profile with --hypothesis-profile=full.
hypothesis.settings.register_profile("full", deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "quick", hypothesis.settings.get_profile("full"), max_examples=10
)
hypothesis.settings.load_profile("quick")

# A shell starts background programs with Ctrl-C ignored, and their children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect the tests without garbage collection, which would look at all imports many times.

    What the imports leave stays to the end, so that later collections need not look at it either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def cache_folders(tmp_path_factory):
    """New cache folders in one folder: mktemp would read its whole folder to number the next."""
    root = tmp_path_factory.mktemp("caches")

    def folders():
        for number in itertools.count():
            (root / str(number)).mkdir()
            yield str(root / str(number))

    return folders()


@pytest.fixture(autouse=True)
def same_start(cache_folders, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", next(cache_folders))
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):  # a test that does not use torch need not wait for it
        torch.manual_seed(0)
    # SELFIES keeps its bonding constraints in a global of the process.
    selfies = sys.modules.get("selfies")
    before = selfies.get_semantic_constraints() if selfies else None
    yield
    if selfies := sys.modules.get("selfies"):
        selfies.set_semantic_constraints(before or selfies.get_preset_constraints("default"))


# -- a small dataset and a model trained on it, from tests/assets -------------------------------
# scripts/regenerate_golden.py makes these files. The fixtures copy them, so that no test can change
# them. Only tests of training train a model.


@pytest.fixture(scope="session")
def demo_csv(tmp_path_factory):
    """The first 300 molecules of the demo library, with their assay column."""
    source = Path(__file__).parents[1] / "data" / "demo.csv.gz"
    path = tmp_path_factory.mktemp("demo") / "demo.csv"
    with gzip.open(source, "rt", encoding="utf-8") as rows:
        path.write_text("".join(itertools.islice(rows, 301)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """A dataset folder of the 300 molecules: three built-in properties and the assay."""
    return shutil.copytree(ASSETS / "tiny.ds", tmp_path_factory.mktemp("prepared") / "tiny.ds")


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory):
    """A dataset folder of 84 small molecules, for trainings: a batch of 16 takes a moment."""
    from molvae.config import DataConfig
    from molvae.data.prepare import prepare
    from tests.molecules import DEMO

    folder = tmp_path_factory.mktemp("small")
    with gzip.open(DEMO, "rt", encoding="utf-8") as rows:
        small = itertools.islice((row for row in rows if row.index(",") < 23), 85)
        (folder / "small.csv").write_text("".join(small), encoding="utf-8")
    config = DataConfig(
        properties={"assay": "assay"}, conditions=("logp", "qed", "mw", "assay"),
        valid_fraction=0.1, test_fraction=0.1,
    )  # fmt: skip
    prepare([folder / "small.csv"], folder / "small.ds", config, workers=0)
    return folder / "small.ds"


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset, tmp_path_factory):
    """A finished run folder, but for its training state: 15 epochs of the tiny preset."""
    run = shutil.copytree(ASSETS / "tiny_run", tmp_path_factory.mktemp("runs") / "tiny")
    record = json.loads((run / "config.json").read_text(encoding="utf-8"))
    record["dataset"]["folder"] = str(tiny_dataset)
    (run / "config.json").write_text(json.dumps(record), encoding="utf-8")
    return run


@pytest.fixture(scope="session")
def measured_run(tiny_run, tiny_dataset, tmp_path_factory):
    """A model folder: the tiny model with a predictor of the assay."""
    from dataclasses import replace

    from molvae.data.dataset import Dataset
    from molvae.model.checkpoint import load_model, save_model
    from molvae.runtime.randomness import Draws
    from molvae.train.measured import MeasuredColumns

    model, dataset = load_model(tiny_run), Dataset(tiny_dataset)
    columns = [dataset.names.index(name) for name in model.conditions.names]
    measured = MeasuredColumns(dataset, columns, model.conditions, Draws(0), workers=0)
    measured.fit()
    folder = tmp_path_factory.mktemp("measured") / "model"
    save_model(folder, replace(model, predictors=measured.predictors))
    return folder


@pytest.fixture
def tiny_model(tiny_run):
    """The model of ``tiny_run``, loaded afresh."""
    from molvae.model.checkpoint import load_model

    return load_model(tiny_run)


@pytest.fixture(scope="session")
def realistic_folder(tmp_path_factory):
    """The golden model, which knows its molecules better than the tiny one, with a realism critic.

    The plausibility table knows half of the samples too, or few would pass.
    """
    from dataclasses import replace

    from molvae.generate.request import Request
    from molvae.generate.sampler import Sampler
    from molvae.model.checkpoint import load_model, save_model
    from molvae.realism.critic import fit_critic
    from molvae.realism.inputs import FactTable
    from molvae.realism.plausibility import Plausibility
    from tests.molecules import demo_smiles, facts

    model = load_model(Path(__file__).parent / "golden" / "model-v1")
    real = [facts(text) for text in demo_smiles(300)]
    drawn = Sampler(model, Request(unique=False), seed=11).stream(300)
    own = [facts(molecule.smiles) for molecule in drawn]
    critic = fit_critic(FactTable.of(real), FactTable.of(own))
    folder = tmp_path_factory.mktemp("realistic") / "model"
    table = Plausibility.of(real + own[:150])
    save_model(folder, replace(model, critic=critic, plausibility=table))
    return folder


@pytest.fixture
def realistic_model(realistic_folder):
    """The model of ``realistic_folder``, loaded afresh."""
    from molvae.model.checkpoint import load_model

    return load_model(realistic_folder)
