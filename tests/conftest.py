"""What every test gets: fixed seeds, a cache folder of its own, SELFIES left as it was found."""

import gzip
import itertools
import random
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# The same examples on every run and machine; speed is no test's business here.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True)
hypothesis.settings.load_profile("default")


# A shell that starts a program in the background lets it ignore Ctrl-C, and so do its children.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_ground(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path_factory.mktemp("cache")))
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


# -- a small data set and a model trained on it for a few seconds, made once per session --------


@pytest.fixture(scope="session")
def demo_csv(tmp_path_factory):
    """The first 300 molecules of the demo library, with their assay column."""
    source = Path(__file__).parents[1] / "data" / "demo.csv.gz"
    path = tmp_path_factory.mktemp("demo") / "demo.csv"
    with gzip.open(source, "rt", encoding="utf-8") as rows:
        path.write_text("".join(itertools.islice(rows, 301)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_dataset(demo_csv, tmp_path_factory):
    """The folder of a dataset of 300 molecules: three built-in properties and the assay."""
    from molvae.config import DataConfig
    from molvae.data.prepare import prepare

    folder = tmp_path_factory.mktemp("prepared") / "tiny.ds"
    config = DataConfig(properties={"assay": "assay"}, conditions=("logp", "qed", "mw", "assay"))
    prepare([demo_csv], folder, config, workers=0)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset, tmp_path_factory):
    """A finished run folder: the tiny preset after a few seconds of training."""
    from molvae.config import load_config
    from molvae.train.run import train

    run = tmp_path_factory.mktemp("runs") / "tiny"
    overrides = {"train.epochs": 15, "train.validations": 2, "train.ema_decay": 0.9}
    train([tiny_dataset], run, load_config(preset="tiny", overrides=overrides), device="cpu")
    return run


@pytest.fixture
def tiny_model(tiny_run):
    """The model of ``tiny_run``, loaded afresh."""
    from molvae.model.checkpoint import load_model

    return load_model(tiny_run)
