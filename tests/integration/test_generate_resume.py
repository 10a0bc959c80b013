"""A generation that is killed goes on where it was, and gives the file it would have given."""

import json
import signal
import subprocess
import sys
import time

import pytest

N = 1500  # two blocks


def command(run, path, *more):
    return [
        sys.executable, "-m", "molvae", "generate", "-m", str(run), "-n", str(N), "-o", str(path),
        "-t", "logp=0:6", "--seed", "4", "--workers", "1", "--precision", "fp32", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["out.csv.gz", "out.sdf"])
def test_a_killed_generation_resumes_to_the_same_bytes(tiny_run, tmp_path, name):
    path, whole = tmp_path / name, tmp_path / f"whole-{name}"
    process = subprocess.Popen(command(tiny_run, path), stderr=subprocess.DEVNULL)
    work = tmp_path / f"{name}.part"
    deadline = time.monotonic() + 300
    while not list(work.glob("block-*")):
        assert process.poll() is None, "ended before a block was finished"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not path.exists()
    again = subprocess.run(command(tiny_run, path), capture_output=True, text=True)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    done = subprocess.run(
        command(tiny_run, path, "--resume", "--json"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "resuming with" in done.stderr
    expected = subprocess.run(command(tiny_run, whole, "--json"), capture_output=True, text=True)
    assert path.read_bytes() == whole.read_bytes()
    assert not work.exists()
    ours, theirs = json.loads(done.stdout), json.loads(expected.stdout)
    for summary in (ours, theirs):
        del summary["seconds"]
    assert ours == theirs
    assert ours["written"] == N
