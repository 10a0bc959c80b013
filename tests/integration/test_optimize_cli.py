"""A search from the command line: killed again and again, and never asking an answered call."""

import csv
import json
import random
import re
import time

import psutil
import pytest

from tests import warm

pytestmark = pytest.mark.process

BUDGET = 60

# Slow enough to be killed in the middle; it writes down what it is really asked.
OBJECTIVE = """
import os, time
def score(smiles):
    with open(os.environ["ASKED"], "a") as log:
        for text in smiles:
            log.write(text + "\\n")
    time.sleep(0.05 * len(smiles))
    return [text.count("C") + text.count("c") - 0.1 * len(text) for text in smiles]
"""


def command(model, tmp_path, *more):
    return [
        "optimize", "-m", model, "-o", tmp_path / "best.csv", "--objective",
        f"{tmp_path}/mine.py:score", "--budget", BUDGET, "--workers", 1, "--call-size", 2,
        "--method", "evolution", *more,
    ]  # fmt: skip


def rows_of(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.nightly)])
def test_a_search_continues_after_kills_and_repeats_no_call(tiny_run, tmp_path, monkeypatch, kills):
    (tmp_path / "mine.py").write_text(OBJECTIVE)
    asked, calls = tmp_path / "asked", tmp_path / "best.calls.csv"
    monkeypatch.setenv("ASKED", str(asked))
    chance, answered = random.Random(0), 0
    ends = []  # of each killed run: what was answered, and how many calls the function had seen
    for _ in range(kills):
        process = warm.Process(*command(tiny_run, tmp_path, "--resume"))
        deadline = time.monotonic() + 240
        wanted = answered + chance.randint(5, 12)
        while answered < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.03)
            answered = calls.read_text().count(",answered,") if calls.exists() else 0
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=240)  # they outlive their parent by a moment
        assert not alive
        known = {row["smiles"] for row in rows_of(calls) if row["status"] == "answered"}
        ends.append((known, len(asked.read_text().splitlines())))
    again = warm.run(*command(tiny_run, tmp_path))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    done = warm.run(*command(tiny_run, tmp_path, "--resume", "--json"))
    assert done.returncode == 0, done.stderr
    lines = asked.read_text().splitlines()
    for known, seen in ends:
        assert known
        assert not known & set(lines[seen:])
    rows = rows_of(calls)
    for status in ("asked", "answered"):
        smiles = [row["smiles"] for row in rows if row["status"] == status]
        assert len(set(smiles)) == len(smiles) == BUDGET
    summary = json.loads(done.stdout)
    best = max(float(row["value"]) for row in rows if row["status"] == "answered")
    assert (summary["calls"], summary["best"]) == (BUDGET, best)
    assert float(rows_of(tmp_path / "best.csv")[0]["score"]) == best


def test_output_for_people(tiny_run, tmp_path):
    done = warm.run(
        "optimize", "-m", tiny_run, "-o", tmp_path / "best.sdf", "--objective", "qed",
        "--objective", "sas@6:1*0.5", "--budget", 12, "-t", "mw=:400", "--workers", 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("12 calls by evolution (budget spent); 12 best molecules written")
    assert "mean of the ten best" in done.stdout
    moves = re.search(r"^  calls by move: (.+)$", done.stdout, re.MULTILINE)
    assert moves is not None
    assert sum(int(part.split()[0]) for part in moves[1].split(", ")) == 12
    assert (tmp_path / "best.sdf").read_text().count("$$$$") == 12


def test_bad_requests_end_with_2_and_a_line(tiny_run, tmp_path):
    for more, message in (
        (["--objective", "qedd"], "did you mean 'qed'"),
        (["--objective", "qed", "--similarity", "0.4:"], "--similarity needs --like"),
        (["--objective", "qed", "--method", "magic"], "unknown method 'magic'"),
        (["--objective", "qed", "-t", "mw=300"], "expected a range"),
    ):
        done = warm.run(
            "optimize", "-m", tiny_run, "-o", tmp_path / "best.csv", "--budget", 5, *more
        )
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert not (tmp_path / "best.csv").exists()
        assert not (tmp_path / "best.calls.csv").exists(), more
