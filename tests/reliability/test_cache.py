"""Several processes with one cache folder: nothing is spoilt, whoever comes first or is killed."""

import gzip
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molvae.config import DataConfig
from molvae.data.prepare import prepare
from molvae.runtime import cache
from tests import warm

LIBRARY = Path(__file__).parents[2] / "data" / "demo.csv.gz"
MOLVAE = (sys.executable, "-m", "molvae")
pytestmark = [pytest.mark.process, pytest.mark.timeout(1200)]


def end(process, *, killed=False):
    code, said = process.wait(300), "".join(process.said())
    assert code == 0 or (killed and code == -signal.SIGKILL), said
    assert "Traceback" not in said
    return said


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Training molecules and a set to judge: parts of the demo library."""
    folder = tmp_path_factory.mktemp("files")
    with gzip.open(LIBRARY, "rt", encoding="utf-8") as rows:
        header, *rows = rows.read().splitlines()
    for name, some in (("train", rows[:300]), ("judged", rows[300:400])):
        (folder / f"{name}.csv").write_text("\n".join([header, *some]) + "\n", encoding="utf-8")
    return folder / "train.csv", folder / "judged.csv"


def work(files, output):
    """Commands that want the same prepared dataset and the same reference, and their outputs."""
    learnt, judged = map(str, files)
    train = ("train", learnt, "--preset", "tiny", "--epochs", "1", "--conditions", "logp",
             "--set", "train.validations=1", "--set", "train.critic_samples=0")  # fmt: skip
    judge = ("evaluate", judged, "--test", learnt, "--train", learnt, "--no-fcd", "--bootstrap",
             "0")  # fmt: skip
    return {
        "train-1": (*train, "-o", output / "run-1"),
        "judge-1": (*judge, "-o", output / "metrics-1.json"),
        "train-2": (*train, "-o", output / "run-2"),
        "judge-2": (*judge, "-o", output / "metrics-2.json"),
    }


def check(output, expected):
    """Both of each kind came to the same as one that had the cache to itself."""
    for i in (1, 2):
        weights = output / f"run-{i}" / "model" / "model.safetensors"
        assert weights.read_bytes() == expected["weights"]
        metrics = json.loads((output / f"metrics-{i}.json").read_text(encoding="utf-8"))
        assert metrics["metrics"] == expected["metrics"]
    kinds = [entry.kind for entry in cache.entries()]
    assert sorted(kinds) == sorted(expected["kinds"])
    (dataset,) = (entry.path for entry in cache.entries() if entry.kind == "dataset")
    assert contents(dataset) == expected["dataset"]


@pytest.fixture
def expected(files, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "alone"))
    output = tmp_path / "expected"
    output.mkdir()
    commands = work(files, output)
    for name in ("train-1", "judge-1"):
        end(warm.Process(*commands[name]))
    (dataset,) = (entry.path for entry in cache.entries() if entry.kind == "dataset")
    result = {
        "weights": (output / "run-1" / "model" / "model.safetensors").read_bytes(),
        "metrics": json.loads((output / "metrics-1.json").read_text("utf-8"))["metrics"],
        "kinds": [entry.kind for entry in cache.entries()],
        "dataset": contents(dataset),
    }
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "shared"))
    return result


def test_four_commands_at_once(files, expected, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    running = {name: warm.Process(*line) for name, line in work(files, output).items()}
    said = {name: end(process) for name, process in running.items()}
    check(output, expected)
    logs = said["train-1"] + said["train-2"]
    assert "waiting for it" in logs or "using the prepared dataset" in logs, "made once only"


@pytest.mark.nightly
def test_kills_among_them(files, expected, tmp_path):
    """Four at once, killed up to some seconds later, five times; then undisturbed to the end."""
    output, chance, kills = tmp_path / "output", random.Random(1), 0
    for attempt in range(5):
        folder = output / f"attempt-{attempt}"
        folder.mkdir(parents=True)
        running = [warm.Process(*line) for line in work(files, folder).values()]
        for process in running:
            time.sleep(chance.uniform(0, 2))
            process.kill()
        for process in running:
            end(process, killed=True)
            kills += process.returncode != 0
    assert kills >= 5
    last = output / "last"
    last.mkdir()
    for process in [warm.Process(*line) for line in work(files, last).values()]:
        end(process)
    check(last, expected)


@pytest.mark.nightly
def test_what_killed_processes_had_read_from_a_pipe_goes(files, tmp_path, monkeypatch):
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "output"
    line = [*MOLVAE, "train", "-", "-o", str(output), "--preset", "tiny", "--epochs", "1",
            "--set", "train.validations=2"]  # fmt: skip
    place, seen = tmp_path / "cache" / "datasets", set()
    for _ in range(2):
        waiting = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 240
        while not (result := {path for path in place.glob("stdin-*") if path.is_dir()} - seen):
            assert time.monotonic() < deadline, "waited in vain"
            assert waiting.poll() is None
            time.sleep(0.02)
        waiting.kill()
        waiting.communicate()
        assert {path for path in place.glob("stdin-*") if path.is_dir()} == result
        seen |= result
    with open(files[0], "rb") as rows:
        done = subprocess.run(line, stdin=rows, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [entry.kind for entry in cache.entries()] == ["dataset"]


PREPARE_AGAIN = """
import sys
from molvae.config import DataConfig
from molvae.data.prepare import cached_dataset
from molvae.runtime.progress import set_quiet

if __name__ == "__main__":
    set_quiet(True)
    for path in sys.argv[1:]:
        dataset = cached_dataset([path], DataConfig(conditions=("logp",)), workers=0)
        assert len(dataset) > 0
"""
CLEAR_AGAIN = """
import time
from molvae.runtime import cache
from molvae.runtime.progress import set_quiet

if __name__ == "__main__":
    set_quiet(True)
    while True:
        cache.clear()
        cache.entries()
        time.sleep(0.005)
"""


@pytest.mark.nightly
def test_a_cache_that_is_emptied_meanwhile(tmp_path, monkeypatch):
    """Three processes prepare the same forty files while a fourth empties the cache."""
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))
    paths = []
    for i, atom in itertools.product(range(10), ("C", "N", "O", "S")):
        paths.append(tmp_path / f"{atom}{i}.smi")
        paths[-1].write_text("".join(f"{'C' * (n + 2 * i)}{atom}\n" for n in range(1, 30)))
    alone = tmp_path / "alone.ds"
    prepare([paths[0]], alone, DataConfig(conditions=("logp",)), workers=0)
    line = [sys.executable, "-c", PREPARE_AGAIN, *map(str, paths)]
    quiet = {"stderr": subprocess.PIPE, "text": True}
    clearing = subprocess.Popen([sys.executable, "-c", CLEAR_AGAIN], **quiet)
    try:
        running = [subprocess.Popen(line, **quiet) for _ in range(3)]
        for process in running:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
        assert clearing.poll() is None, clearing.communicate()
    finally:
        clearing.kill()
        clearing.communicate()
    subprocess.run(line[:4], check=True)
    assert [contents(e.path) for e in cache.entries() if e.kind == "dataset"] == [contents(alone)]
