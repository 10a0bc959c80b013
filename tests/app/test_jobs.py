"""Jobs: one command in a child process, described by files; they stop, resume and end cleanly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molvae.app import jobs
from molvae.errors import RunError

# A search that takes long enough to be stopped: the objective waits 50 ms for each molecule.
SLOW = """
import time
def score(smiles: str) -> float:
    time.sleep(0.05)
    return float(len(smiles))
"""


def wait(true, seconds=240.0):
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def search(root, tiny_run, budget=2000, **more):
    """The arguments of a slow search in a new folder."""
    folder = jobs.new_folder(root, "optimize")
    (root / "given").mkdir()
    (root / "given" / "slow.py").write_text(SLOW)
    arguments = [
        *("optimize", "-m", str(tiny_run), "--objective", f"{root / 'given' / 'slow.py'}:score"),
        *("--budget", str(budget), "--workers", "0", "--novel-rings"),
        *("-o", str(folder / "best.csv")),
    ]
    return jobs.start(folder, arguments, title="search", **more)


def answered(job):
    log = job.output("best.calls.csv")
    return log.read_text().count(",answered,") if log.exists() else 0


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine.csv", "mine.csv"), ("../../etc/passwd", "passwd"), (r"C:\x\y.sdf.gz", "y.sdf.gz"),
        ("-rf.csv", "rf.csv"), (".hidden", "hidden"), ("<b>x</b>.csv", "b_.csv"), ("", "upload"),
        ("…", "upload"), ("a" * 300 + ".csv.gz", "a" * 53 + ".csv.gz"), ("a\nb\0.smi", "a_b_.smi"),
    ],
)  # fmt: skip
def test_names_of_uploads_are_harmless(name, expected):
    assert jobs.safe_name(name) == expected


def test_folders_of_the_same_second_differ(tmp_path):
    names = {jobs.new_folder(tmp_path / "jobs", "train").name for _ in range(5)}
    assert len(names) == 5


def test_other_folders_are_no_jobs(tmp_path):
    (tmp_path / "a").mkdir()
    wrong = {"b": "{", "c": "[]", "d": "{}", "e": '{"arguments": [], "notes": 3}'}
    for name, text in wrong.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / jobs.JOB).write_text(text)
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / jobs.JOB).write_text('{"arguments": ["train", 3], "notes": 3}')
    assert [(job.verb, job.title, job.state) for job in jobs.all_jobs(tmp_path)] == [
        ("train", "", "killed")
    ]
    assert jobs.all_jobs(tmp_path / "absent") == []


@pytest.mark.process
def test_a_job_ends_with_its_result_on_disk(tmp_path, tiny_run):
    folder = jobs.new_folder(tmp_path, "generate")
    output = folder / "new.csv"
    job = jobs.start(
        folder, ["generate", "-m", str(tiny_run), "-n", "3", "--realism", "off", "-o", str(output),
                 "--novel-rings", "--workers", "0"],
        title="three\n<b>molecules</b>" + "x" * 500, notes={"page": "generate"},
    )  # fmt: skip
    assert job.active
    wait(lambda: not job.active)
    assert (job.state, job.error) == ("finished", "")
    assert job.result["written"] == 3
    assert len(output.read_text().splitlines()) == 4
    assert "generate" in job.progress.text
    (read,) = jobs.all_jobs(tmp_path)
    assert read == job
    assert read.title.startswith("three <b>molecules</b>x")
    assert len(read.title) == 120
    assert read.command.startswith("molvae generate -m ")
    assert "--json" not in read.command
    assert 0 < read.seconds < 100
    read.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_a_wrong_option_is_explained_in_one_sentence(tmp_path):
    folder = jobs.new_folder(tmp_path, "generate")
    arguments = ["generate", "-m", "absent-model", "-n", "3", "-o", str(folder / "new.csv")]
    job = jobs.start(folder, arguments, title="wrong")
    wait(lambda: not job.active)
    assert job.state == "failed"
    assert "absent-model" in job.error
    assert "Traceback" not in job.error
    assert job.result is None


@pytest.mark.process
def test_stop_saves_and_resume_continues(tmp_path, tiny_run):
    job = search(tmp_path, tiny_run)
    wait(lambda: answered(job) > 5)
    wait(lambda: "optimize:" in job.progress.text)
    assert 0 <= job.progress.share < 0.5
    with pytest.raises(RunError, match="running"):
        job.resume()
    with pytest.raises(RunError, match="running"):
        job.remove()
    used = jobs.Job(tmp_path / "given", ("prepare",), "its file", 0.0)
    with pytest.raises(RunError, match="'search' is running"):
        used.remove()
    process = json.loads((job.folder / jobs.PROCESS).read_text())["pid"]
    job.stop()
    wait(lambda: not job.active)
    assert job.state == "stopped"
    wait(lambda: not alive(process))
    before = answered(job)
    again = job.resume({"--budget": str(before + 4)})
    assert again.arguments[-1] == "--resume"
    assert again.created == job.created
    wait(lambda: not again.active)
    assert again.state == "finished", again.log
    assert again.result["calls"] == before + 4
    assert again.result["made"] == 4


def test_the_end_of_an_earlier_process_is_not_taken_for_that_of_a_resumed_job(tmp_path):
    earlier = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    (tmp_path / jobs.PROCESS).write_text(json.dumps({"pid": earlier.pid + 1}))
    jobs._await_end(earlier, tmp_path)
    assert not (tmp_path / jobs.ENDED).exists()
    (tmp_path / jobs.PROCESS).write_text(json.dumps({"pid": earlier.pid}))
    jobs._await_end(earlier, tmp_path)
    assert (tmp_path / jobs.ENDED).exists()


@pytest.mark.process
def test_a_killed_process_is_recognized(tmp_path, tiny_run):
    job = search(tmp_path, tiny_run)
    wait(lambda: (job.folder / jobs.PROCESS).exists())
    os.kill(json.loads((job.folder / jobs.PROCESS).read_text())["pid"], signal.SIGKILL)
    wait(lambda: not job.active)
    assert job.state == "killed"
    assert job.resumable
    assert "outside" in job.error


SERVER = """
import sys, time
from pathlib import Path
from molvae.app import jobs
folder = Path(sys.argv[1])
jobs.start(folder, sys.argv[2:], title="orphan")
print("started", flush=True)
time.sleep(1000)
"""


@pytest.mark.process
def test_a_job_ends_with_its_server_and_can_be_resumed(tmp_path, tiny_run):
    """Even if the server is killed, and even if it ignores Ctrl-C, as one in the background."""
    folder = jobs.new_folder(tmp_path, "optimize")
    (folder / "slow.py").write_text(SLOW)
    arguments = [
        *("optimize", "-m", str(tiny_run), "--objective", f"{folder / 'slow.py'}:score"),
        *("--budget", "2000", "--workers", "0", "--novel-rings", "-o", str(folder / "best.csv")),
    ]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(jobs.__file__).parents[2])},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert server.stdout.readline() == b"started\n"
        (job,) = jobs.all_jobs(tmp_path)
        wait(lambda: answered(job) > 5)
        assert job.state == "running"  # seen from another process, as from a second server
    finally:
        server.kill()
        server.communicate()
    wait(lambda: not job.active)
    assert job.state == "stopped"
    assert job.resumable
    resumed = job.resume({"--budget": str(answered(job) + 2)})
    wait(lambda: not resumed.active)
    assert resumed.result["made"] == 2
