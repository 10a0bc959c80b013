"""A disk that is full, read-only or elsewhere: one clear error, and what was finished is intact."""

import csv
import os
import shutil
import signal
import subprocess
from functools import partial

import pytest

from molvae.model.checkpoint import load_model, load_state
from tests.warm import run

pytestmark = pytest.mark.process
resource = pytest.importorskip("resource", reason="limits of Unix systems")


def one_error(done, *words):
    """Ended by 1 with a single error line, which holds the words."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0]


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a separate file system of so many bytes."""
    mounted = []

    def make(size):
        place = tmp_path / f"disk-{len(mounted)}"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
        if not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("mount"):
            pytest.skip("needs the right to mount a file system")
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a file system here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk, left):
    """Leave so many bytes."""
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(bytes(max(free - left, 0)))


def train(dataset, run_folder, *more):
    return run(
        "train", dataset, "-o", run_folder, "--preset", "tiny", "--epochs", "6", "--device",
        "cpu", "--set", "train.validations=6", "--set", "train.patience=99",
        "--set", "train.critic_samples=0", *more,
    )  # fmt: skip


def test_training_on_a_full_disk_keeps_the_last_checkpoint(tiny_dataset, tmp_path, small_disk):
    whole = tmp_path / "whole"
    done = train(tiny_dataset, whole)
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    disk = small_disk(4 * size)
    # Space for the files of the run, but not for a second of each while it is replaced.
    fill(disk, size + (whole / "state.pt").stat().st_size // 2)
    done = train(tiny_dataset, disk / "run")
    one_error(done, "No space left", str(disk))
    load_state(disk / "run" / "state.pt")
    if (disk / "run" / "model").exists():
        load_model(disk / "run")
    (disk / "filler").unlink()
    done = train(tiny_dataset, disk / "run", "--resume")
    assert done.returncode == 0, done.stderr
    for name in ("model.safetensors", "conditions.json", "vocab.json"):
        assert (disk / "run" / "model" / name).read_bytes() == (whole / "model" / name).read_bytes()


@pytest.mark.parametrize("left", [5_000, pytest.param(40_000, marks=pytest.mark.nightly)])
def test_generation_on_a_full_disk(tiny_run, tmp_path, small_disk, left):
    whole = tmp_path / "whole.csv"
    options = ["-m", tiny_run, "-n", 1500, "--seed", 3, "--workers", 0, "-t", "logp=:9"]
    assert run("generate", *options, "-o", whole).returncode == 0
    disk = small_disk(2_000_000)
    fill(disk, left)
    done = run("generate", *options, "-o", disk / "out.csv")
    one_error(done, "No space left", str(disk))
    assert not (disk / "out.csv").exists()
    (disk / "filler").unlink()
    done = run("generate", *options, "-o", disk / "out.csv", "--resume")
    assert done.returncode == 0, done.stderr
    assert (disk / "out.csv").read_bytes() == whole.read_bytes()
    assert [path.name for path in disk.iterdir()] == ["out.csv"]


def test_preparation_on_a_full_disk(demo_csv, tmp_path, small_disk):
    options = [demo_csv, "--workers", 0]
    assert run("prepare", *options, "-o", tmp_path / "whole").returncode == 0
    disk = small_disk(2_000_000)
    fill(disk, 20_000)
    done = run("prepare", *options, "-o", disk / "demo.ds")
    one_error(done, "No space left", str(disk))
    assert not (disk / "demo.ds").exists()
    (disk / "filler").unlink()
    assert run("prepare", *options, "-o", disk / "demo.ds", "--resume").returncode == 0
    for path in (tmp_path / "whole").iterdir():
        assert (disk / "demo.ds" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_search_on_a_full_disk(tiny_run, small_disk):
    disk = small_disk(2_000_000)
    fill(disk, 9_000)
    command = [
        "optimize", "-m", tiny_run, "-o", disk / "best.csv", "--objective", "qed", "--budget",
        "150", "--workers", "0", "--call-size", "10", "--seed", "1",
    ]  # fmt: skip
    one_error(run(*command), "No space left", str(disk))
    (disk / "filler").unlink()
    done = run(*command, "--resume")
    assert done.returncode == 0, done.stderr
    with open(disk / "best.calls.csv", newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["status"] == "answered"]
    assert len({row["smiles"] for row in rows}) == len(rows) == 150


def limit(size):
    """Files of at most so many bytes: what a quota does; needs no rights."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    "suffix",
    [
        "csv",
        *(pytest.param(name, marks=pytest.mark.nightly) for name in ("smi.gz", "sdf", "parquet")),
    ],
)
def test_a_file_that_may_not_grow(tiny_run, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    command = ["generate", "-m", tiny_run, "-n", 3000, "--workers", 0, "-o", output]
    one_error(run(*command, first=partial(limit, 16384)), "File too large", str(tmp_path))
    assert not output.exists()
    done = run(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize("allowed", [pytest.param(16384, marks=pytest.mark.nightly), 600_000])
def test_a_training_whose_files_may_not_grow(tiny_dataset, tmp_path, allowed):
    """The larger of the two lets the model pass and not the state."""
    command = [
        "train", tiny_dataset, "-o", tmp_path / "run", "--preset", "tiny", "--epochs", 1,
        "--device", "cpu", "--set", "train.critic_samples=0",
    ]  # fmt: skip
    done = run(*command, first=partial(limit, allowed))
    one_error(done, "File too large", str(tmp_path / "run"))
    done = run(*command, "--resume")
    assert done.returncode == 0, done.stderr
    load_model(tmp_path / "run")


def test_outputs_on_another_file_system_than_the_temporary_files(tiny_run, demo_csv, small_disk):
    disk = small_disk(20_000_000)
    assert run("prepare", demo_csv, "-o", disk / "a" / "demo.ds").returncode == 0
    options = ["-m", tiny_run, "-n", 20, "--report", disk / "page.html", "--grid", disk / "g.png"]
    assert run("generate", *options, "-o", disk / "out.csv").returncode == 0
    assert run("encode", "-m", tiny_run, disk / "out.csv", "-o", disk / "z.npy").returncode == 0
    names = {path.name for path in disk.iterdir()}
    assert names == {"a", "page.html", "g.png", "out.csv", "z.npy"}


def test_a_read_only_folder_is_reported_before_any_work(tiny_run, demo_csv, small_disk):
    disk = small_disk(2_000_000)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for command in (
        ["prepare", demo_csv, "-o", disk / "demo.ds"],
        ["train", demo_csv, "-o", disk / "run", "--preset", "tiny", "--max-time", "5s"],
        ["generate", "-m", tiny_run, "-n", 5, "-o", disk / "out.csv"],
        ["optimize", "-m", tiny_run, "--objective", "qed", "--budget", 5, "-o", disk / "b.csv"],
        ["encode", "-m", tiny_run, demo_csv, "-o", disk / "z.npy"],
    ):
        done = run(*command)
        assert done.returncode == 2, (command, done.stderr)
        assert f"'{disk}'" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_an_input_that_vanishes_is_named(demo_csv, tmp_path):
    for verb in ("prepare", "train", "evaluate"):
        done = run(verb, tmp_path / "gone.csv", "-o", tmp_path / "out.json")
        assert done.returncode == 2
        assert "gone.csv" in done.stderr
        assert "Traceback" not in done.stderr
