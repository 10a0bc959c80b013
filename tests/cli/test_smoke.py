"""Each verb once, from its command line; `tests/integration` starts processes."""

import numpy as np
import pytest
from click.testing import CliRunner

from molvae.cli import main

VERBS = {
    "prepare": ["{demo}", "-o", "out", "--conditions", "mw", "--workers", 0, "--max-heavy", 15],
    "train": ["{dataset}", "-o", "out", "--preset", "tiny", "--epochs", 0.2, "--device", "cpu",
              "--set", "train.validations=1", "--set", "train.critic_samples=0"],
    "generate": ["-m", "{run}", "-n", 2, "-o", "out.csv", "-t", "logp=1:5"],
    "predict": ["-m", "{measured}", "{demo}", "-o", "out.csv"],
    "encode": ["-m", "{run}", "{demo}", "-o", "out.npy"],
    "decode": ["-m", "{run}", "z.npy", "-o", "out.csv"],
    "interpolate": ["-m", "{run}", "CCO", "CCN", "-o", "out.csv"],
    "optimize": ["-m", "{run}", "--objective", "qed", "--budget", 3, "--workers", 0,
                 "-o", "out.csv"],
    "evaluate": ["{demo}", "-o", "out.json", "--no-fcd", "--bootstrap", 0, "--sample", 20],
    "info": ["{run}"],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_succeeds(
    verb, demo_csv, small_dataset, tiny_run, measured_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.zeros((2, 16), dtype=np.float32))
    places = {"demo": demo_csv, "dataset": small_dataset, "run": tiny_run, "measured": measured_run}
    words = [str(word).format(**places) for word in VERBS[verb]]
    done = CliRunner().invoke(main, [verb, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip()
    outputs = [str(word) for word in VERBS[verb] if str(word).startswith("out")]
    assert [path.name for path in tmp_path.iterdir() if path.name in outputs] == outputs
