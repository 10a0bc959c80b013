"""A generation that is killed and resumed gives the file it would have given."""

import json

import pytest

from tests import warm

pytestmark = pytest.mark.process

N = 1500  # two blocks


def command(run, path, *more):
    return [
        "generate", "-m", run, "-n", N, "-o", path, "-t", "logp=0:6", "--seed", 4, "--workers", 1,
        "--precision", "fp32", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["out.csv.gz", pytest.param("out.sdf", marks=pytest.mark.nightly)])
def test_a_killed_generation_resumes_to_the_same_bytes(tiny_run, tmp_path, name):
    path, whole = tmp_path / name, tmp_path / f"whole-{name}"
    process = warm.Process(*command(tiny_run, path))
    work = tmp_path / f"{name}.part"
    warm.wait_for(lambda: list(work.glob("block-*")), process, 300)
    process.kill()
    process.wait()
    assert not path.exists()
    again = warm.run(*command(tiny_run, path))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    done = warm.run(*command(tiny_run, path, "--resume", "--json"))
    assert done.returncode == 0, done.stderr
    assert "resuming with" in done.stderr
    expected = warm.run(*command(tiny_run, whole, "--json"))
    assert path.read_bytes() == whole.read_bytes()
    assert not work.exists()
    ours, theirs = json.loads(done.stdout), json.loads(expected.stdout)
    for summary in (ours, theirs):
        del summary["seconds"]
    assert ours == theirs
    assert ours["written"] == N
