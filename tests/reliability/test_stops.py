"""SIGTERM and Ctrl-C at any moment: a word, an exit code, whatever was finished, and no more."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from molvae.model.checkpoint import load_state

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]
MOLVAE = [sys.executable, "-m", "molvae"]
HUNG = 240.0  # seconds after which a process counts as hung, however busy the machine


def commands(place, dataset, model, library):
    """A long work of each verb, how to know that it has begun, and how it says that it stopped."""
    (place / "slow.py").write_text(
        "import time\ndef score(smiles):\n    time.sleep(0.2)\n    return [1.0] * len(smiles)\n"
    )
    train = [
        "train", dataset, "-o", place / "run", "--preset", "tiny", "--epochs", 100_000,
        "--device", "cpu",
    ]  # fmt: skip
    generate = ["generate", "-m", model, "-n", 500_000, "-o", place / "out.csv", "--workers", 2]
    optimize = [
        "optimize", "-m", model, "-o", place / "best.csv", "--objective",
        f"{place}/slow.py:score", "--budget", 5000, "--workers", 1, "--call-size", 5,
    ]  # fmt: skip
    prepare = ["prepare", library, "-o", place / "lib.ds", "--workers", 2]
    return {
        "train": (train, place / "run" / "state.pt", "stopped at step"),
        "generate": (generate, place / "out.csv.part", "stopped"),
        "optimize": (optimize, place / "best.calls.csv", "stopped"),
        "prepare": (prepare, place / "lib.ds.partial", "stopped"),
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Molecules for a minute of preparation."""
    path = tmp_path_factory.mktemp("library") / "library.smi"
    path.write_text("".join(f"{'C' * i}O{'C' * j}N\n" for i in range(1, 200) for j in range(300)))
    return path


@pytest.mark.parametrize(
    "blow",
    [
        pytest.param(signal.SIGINT, id="int"),
        pytest.param(signal.SIGTERM, id="term", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("verb", ["train", "generate", "optimize", "prepare"])
def test_a_stop(verb, blow, tmp_path, tiny_dataset, tiny_run, library, record_property):
    command, sign, word = commands(tmp_path, tiny_dataset, tiny_run, library)[verb]
    process = subprocess.Popen(
        [*MOLVAE, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + HUNG
        while not sign.exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.Random(f"{verb} {blow}").uniform(0, 3))
        started = time.monotonic()
        # A terminal tells the whole group; a scheduler the process it started.
        os.killpg(process.pid, blow) if blow == signal.SIGINT else process.send_signal(blow)
        _, log = process.communicate(timeout=HUNG)
    finally:
        process.kill()
    seconds = time.monotonic() - started
    record_property("seconds", round(seconds, 2))
    print(f"{verb} stopped by {blow.name} in {seconds:.2f} s")
    assert process.returncode == 1, log
    assert "Traceback" not in log
    assert word in log
    if verb == "train":
        assert load_state(tmp_path / "run" / "state.pt")["step"] > 0


STUBBORN = """
import time
from pathlib import Path
def score(smiles):
    try:
        Path({begun!r}).touch()
        time.sleep(600)
    except KeyboardInterrupt:
        time.sleep(600)
"""


def test_a_second_stop_ends_at_once(tmp_path, tiny_run):
    begun = tmp_path / "begun"
    (tmp_path / "stubborn.py").write_text(STUBBORN.format(begun=str(begun)))
    process = subprocess.Popen(
        [*MOLVAE, "optimize", "-m", tiny_run, "-o", tmp_path / "best.csv", "--workers", "0",
         "--objective", f"{tmp_path}/stubborn.py:score", "--budget", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 2 * HUNG  # to start, and to end
    while not begun.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while process.poll() is None:  # those of the first second count as the same
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, log = process.communicate()
    assert process.returncode == 1
    assert log.rstrip().endswith("stopped at once")
    assert "Traceback" not in log
