"""Foreign scoring code that misbehaves: programs left behind, alarms, exceptions, streams."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molvae.objectives import parse_objective
from molvae.objectives.worker import ScoringCall
from molvae.optimize.scoring import Scoring
from molvae.runtime.pool import WorkerPool

HUNG = 240.0  # seconds after which something counts as hung, however busy the machine

# A program whose child, in the same process group, ignores SIGTERM.
PROGRAM = """
import json, os, subprocess, sys, time
smiles = sys.stdin.read().split()
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if sys.argv[2] == "hang":
    time.sleep(600)
print(json.dumps({"payload": {"score": [float(len(s)) for s in smiles]}}), flush=True)
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, process=None):
    deadline = time.monotonic() + HUNG
    while not condition():
        assert process is None or process.poll() is None, process.returncode
        assert time.monotonic() < deadline
        time.sleep(0.05)


def scored(objective, smiles, workers=1, **options):
    with WorkerPool(workers) as pool:
        scoring = Scoring(objective, pool, **options)
        return {result.smiles: result for part in scoring(smiles) for result in part}


def objective_of(tmp_path, code):
    (tmp_path / "foreign.py").write_text(code)
    return parse_objective([f"{tmp_path}/foreign.py:score"])


@pytest.fixture
def program(tmp_path):
    """The program, and the file with the numbers of its processes."""
    (tmp_path / "program.py").write_text(PROGRAM)
    return f"process:{sys.executable} {tmp_path}/program.py {tmp_path}/pids", tmp_path / "pids"


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
def test_an_answer_counts_although_a_child_holds_the_output(program, workers):
    command, pids = program
    objective = parse_objective([f"{command} answer"])
    assert scored(objective, ["CCC"], workers)["CCC"].scores == (3.0,)
    assert not any(map(is_running, pids.read_text().split()))


OUTER = """
import sys
from molvae.objectives import parse_objective
from molvae.optimize.scoring import Scoring
from molvae.runtime.pool import WorkerPool

if __name__ == "__main__":
    with WorkerPool(int(sys.argv[2])) as pool:
        print(list(Scoring(parse_objective([sys.argv[1]]), pool)(["CC"])))
"""


def ends_with_its_search(folder, arguments, pids, blow):
    """Run OUTER, stop it by a signal, and wait until no process listed in ``pids`` is left."""
    (folder / "outer.py").write_text(OUTER)
    outer = subprocess.Popen(
        [sys.executable, folder / "outer.py", *arguments], stderr=subprocess.DEVNULL
    )
    wait_until(pids.exists, outer)
    outer.send_signal(blow)
    assert outer.wait(HUNG)
    wait_until(lambda: not any(map(is_running, pids.read_text().split())))


@pytest.mark.process
@pytest.mark.parametrize(
    ("workers", "blow"),
    [(0, signal.SIGINT), (0, signal.SIGKILL), (1, signal.SIGINT), (1, signal.SIGKILL)],
)
def test_a_program_ends_with_its_worker(tmp_path, program, workers, blow):
    command, pids = program
    ends_with_its_search(tmp_path, [f"{command} hang", str(workers)], pids, blow)


SUBPROCESS = """
import subprocess, sys
def score(smiles):
    subprocess.run([sys.executable, {program!r}, {pids!r}, "hang"], input=b"CC")
    return [1.0]
"""


@pytest.mark.process
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_programs_that_a_function_starts_end_too(tmp_path, program, blow):
    pids = program[1]
    code = SUBPROCESS.format(program=f"{tmp_path}/program.py", pids=str(pids))
    (tmp_path / "foreign.py").write_text(code)
    ends_with_its_search(tmp_path, [f"{tmp_path}/foreign.py:score", "1"], pids, blow)


ALARM = """
import signal, time
def score(smiles):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(1 if smiles == ["CC"] else 0)
    if "N" in smiles:
        while True:
            time.sleep(600)
    return [1.0 for _ in smiles]
"""


@pytest.mark.process
def test_a_function_that_uses_the_alarm_clock_keeps_its_time_limit(tmp_path):
    result = scored(objective_of(tmp_path, ALARM), ["CC", "N", "CCC"], timeout=1, size=1)
    assert result["CC"].scores == result["CCC"].scores == (1.0,)
    assert "took longer than 1 s" in result["N"].note


RAISES = """
import asyncio
class Panic(BaseException):
    def __str__(self):
        raise Panic
def score(smiles):
    if "N" in smiles:
        raise KeyboardInterrupt
    if "O" in smiles:
        raise asyncio.CancelledError("no result")
    if "S" in smiles:
        raise Panic
    return [1.0 for _ in smiles]
"""


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_of_any_class_fails_its_molecule_alone(tmp_path, workers):
    outcome = scored(objective_of(tmp_path, RAISES), ["C", "N", "O", "S", "CC"], workers, size=5)
    assert {s for s, result in outcome.items() if math.isnan(result.scores[0])} == {"N", "O", "S"}
    assert outcome["N"].note.startswith("objective: KeyboardInterrupt")
    assert outcome["O"].note == "objective: CancelledError: no result"
    assert outcome["S"].note == "objective: Panic: its message cannot be read"


def test_ctrl_c_ends_a_call_without_workers(tmp_path):
    code = "import os, signal, time\ndef score(smiles):\n    os.kill(os.getpid(), signal.SIGINT)\n"
    objective = objective_of(tmp_path, code + "    time.sleep(0.1)\n    return [1.0]\n")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), WorkerPool(0) as pool:
        list(Scoring(objective, pool)(["C"]))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_program_can_be_interrupted_without_workers(tmp_path):
    look = "import json, signal, sys; n = len(sys.stdin.readlines()); s = signal.SIGINT; "
    look += "blocked = s in signal.pthread_sigmask(signal.SIG_BLOCK, []); "
    look += "default = signal.getsignal(s) is signal.default_int_handler; "
    look += "print(json.dumps({'payload': {'x': [float(default and not blocked)] * n}}))"
    (tmp_path / "look.py").write_text(look)
    objective = parse_objective([f"process:{sys.executable} {tmp_path}/look.py"])
    assert scored(objective, ["C", "N"], workers=0)["N"].scores == (1.0,)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program", "no program 'no-such-program'"),
        ("sh -c 'echo trouble >&2; exit 3'", "ended with 3: trouble"),
        ("sh -c 'kill -9 $$'", "ended with -9"),
        ("sh -c 'head -c 100000001 /dev/zero'", "more than 100,000,000 bytes"),
        ("sh -c 'cat'", "expected JSON"),
    ],
)
def test_what_is_wrong_with_a_program(command, message):
    result = scored(parse_objective([f"process:{command}"]), ["C"], workers=0)
    assert message in result["C"].note


STREAMS = """
import os, sys, threading, time
def chatter():
    while os.path.exists(__file__):
        print("between calls\\n", end="", flush=True)
        time.sleep(0.002)
def score(smiles):
    if threading.active_count() < 4:
        threading.Thread(target=chatter, daemon=True).start()
    sys.stderr = None
    sys.stdout.close()
    return [float(len(s)) for s in smiles]
"""


# Runs in a separate process: CPython may crash where threads print into the streams of capfd.
SEARCH = """
import os, sys, threading
from molvae.objectives import parse_objective
from molvae.optimize.run import optimize
run, workers = sys.argv[1], int(sys.argv[2])
summary = optimize(
    "best.csv", parse_objective(["foreign.py:score"]), 12, model=run, workers=workers,
    device="cpu", method="sampling",
)
os.unlink("foreign.py")  # ends the threads
for thread in threading.enumerate():
    if "chatter" in thread.name:
        thread.join()
print({"calls": summary.calls, "failed": summary.failed})
"""


@pytest.mark.process
@pytest.mark.parametrize("workers", [0, 1])
def test_standard_output_is_for_the_result(tmp_path, tiny_run, workers):
    (tmp_path / "foreign.py").write_text(STREAMS.replace("    sys.stdout.close()\n", ""))
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, tiny_run, str(workers)],
        cwd=tmp_path, capture_output=True, text=True, timeout=HUNG, check=True,
    )  # fmt: skip
    *printed, result = done.stdout.splitlines()
    assert result == "{'calls': 12, 'failed': 0}"
    if workers:
        assert printed == []
        assert "between calls" in (tmp_path / "best.objective.log").read_text()
    else:
        assert set(printed) <= {"between calls"}  # after the search
        assert "between calls" in done.stderr


@pytest.mark.process
def test_closed_streams_do_not_spoil_a_worker(tmp_path):
    result = scored(objective_of(tmp_path, STREAMS), ["C", "CC", "CCC"], size=1)
    assert [result[s].scores[0] for s in ("C", "CC", "CCC")] == [1.0, 2.0, 3.0]


THREAD = """
import threading, time
def score(smiles):
    threading.Thread(target=time.sleep, args=(3600,)).start()
    return [1.0 for _ in smiles]
"""


@pytest.mark.process
def test_a_thread_that_never_ends_does_not_hold_up_the_end(tmp_path):
    assert scored(objective_of(tmp_path, THREAD), ["C"])["C"].scores == (1.0,)


def test_a_call_in_a_separate_process_leaves_the_streams_alone():
    before = sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)
    call = ScoringCall(parse_objective(["qed"]), None, None, inline=True)
    ((score,),) = call(["CCO"])
    assert 0 < score < 1
    assert (sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT)) == before
    assert json.dumps(score)
    assert os.getpid()
