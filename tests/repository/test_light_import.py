"""``import molvae`` and ``molvae --help`` answer at once: they load nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "model-v1"
HEAVY = (
    "pandas",
    "pydantic",
    "rdkit",
    "scipy",
    "selfies",
    "sklearn",
    "matplotlib",
    "streamlit",
    "torch",
)

HELP = """
import runpy
sys.argv = ["molvae", "--help"]
try:
    runpy.run_module("molvae", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.mark.parametrize("work", ["import molvae", HELP], ids=["import", "help"])
def test_loads_nothing_heavy(work):
    script = f"import sys\n{work}\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert "molvae" in loaded
    assert sorted(loaded & set(HEAVY)) == []


TRAIN = """
from molvae.config import TrainConfig
from molvae.train.optimizer import make_optimizer
for name in ("muon", "adamw"):
    optimizer = make_optimizer(network, TrainConfig(optimizer=name), "fp32")
    optimizer.zero_grad()
    sum(p.sum() for p in network.parameters()).backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
"""

FIT = """
import numpy
from molvae.predict.gaussian_process import DEFAULT, fit_hyperparameters
assert fit_hyperparameters([numpy.eye(9)] * 3, numpy.arange(9.0)) != DEFAULT
"""


@pytest.mark.process
@pytest.mark.parametrize("work", ["", TRAIN, FIT], ids=["load", "train", "fit"])
def test_the_compiler_of_torch_is_not_imported(work):
    """It takes seconds, and ``torch`` does so by itself for next to nothing."""
    script = (
        "import sys\nfrom molvae.model.checkpoint import load_model\n"
        f"network = load_model(sys.argv[1]).network\n{work}\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(GOLDEN)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
