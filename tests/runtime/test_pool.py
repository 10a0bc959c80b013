"""Workers that crash or hang cost their own items only."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from molvae.errors import ConfigError, RunError
from molvae.runtime import processes
from molvae.runtime.pool import Timeout, WorkerPool

# Worker processes import this file's functions by name, from a module they can find.
HELPERS = """
import os, signal, threading, time
from pathlib import Path
from molvae.runtime.pool import Timeout

def double(x):
    return 2 * x

def die_on_three(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x

def die_once(path, x):
    if x == 3 and not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * x

def hang_on_three(x):
    with Timeout(1.0 if x == 3 else 600.0) as timeout:
        timeout.restart()
        if x == 3:
            time.sleep(3600)
    return 2 * x

def seconds_left():
    return signal.getitimer(signal.ITIMER_REAL)[0]

def slow_steps(x):
    with Timeout(600.0) as timeout:
        timeout.restart()
        time.sleep(0.1)
        before = seconds_left()
        timeout.restart()
        assert 0 < before < seconds_left()
    assert seconds_left() == 0
    return 2 * x

def fail_on_three(x):
    if x == 3:
        raise ValueError("three")
    return 2 * x

def large(x):
    return bytes([x]) * 10_000_000

class DiesWhileSent:
    def __reduce__(self):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return bytes, (1,)

def die_sending_three(x):
    return [large(x) * 10, DiesWhileSent()] if x == 3 else large(x)

def group(x):
    return os.getpgid(0)

def interrupt_me(x):
    os.kill(os.getpid(), signal.SIGINT)
    return 2 * x

def pid(x):
    time.sleep(0.05)
    return os.getpid()
"""


@pytest.fixture(scope="module")
def helpers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("helpers")
    (folder / "pool_helpers.py").write_text(textwrap.dedent(HELPERS))
    sys.path.insert(0, str(folder))
    import pool_helpers

    yield pool_helpers
    sys.path.remove(str(folder))
    del sys.modules["pool_helpers"]


def test_results_come_in_order_with_their_items(helpers):
    with WorkerPool(2) as pool:
        assert list(pool.map(helpers.double, range(30))) == [(x, 2 * x) for x in range(30)]


def test_no_workers_means_here(helpers):
    with WorkerPool(0) as pool:
        assert not pool.protected
        assert list(pool.map(helpers.pid, [1])) == [(1, os.getpid())]
        assert pool.run_alone(helpers.double, 4) == 8


def test_ctrl_c_waits_for_the_end_of_an_item(helpers):
    with WorkerPool(0) as pool:
        results = pool.map(helpers.interrupt_me, [1, 2])
        with pytest.raises(KeyboardInterrupt):
            next(results)


@pytest.mark.process
def test_a_terminal_does_not_reach_the_workers(helpers):
    with WorkerPool(1) as pool:
        assert pool.run_alone(helpers.group, 0) != os.getpgid(0)


@pytest.mark.process
def test_one_worker_is_another_process(helpers):
    with WorkerPool(1) as pool:
        assert pool.protected
        [(_, pid)] = pool.map(helpers.pid, [1])
        assert pid != os.getpid()


@pytest.mark.process
@pytest.mark.parametrize("name", ["die_on_three", "hang_on_three"])
def test_an_item_that_kills_its_worker_is_lost_and_no_other(helpers, name, capsys):
    with WorkerPool(2) as pool:
        result = dict(pool.map(getattr(helpers, name), range(12)))
    assert result == {x: None if x == 3 else 2 * x for x in range(12)}
    assert capsys.readouterr().err.count("a worker process was lost") == 1


@pytest.mark.process
def test_work_of_a_worker_killed_once_is_tried_again(helpers, tmp_path):
    import functools

    with WorkerPool(2) as pool:
        result = dict(pool.map(functools.partial(helpers.die_once, tmp_path / "died"), range(12)))
    assert result == {x: 2 * x for x in range(12)}
    assert (tmp_path / "died").exists()


@pytest.mark.process
def test_alone_survives_too(helpers):
    with WorkerPool(1) as pool:
        assert pool.run_alone(helpers.die_on_three, 3) is None
        assert pool.run_alone(helpers.die_on_three, 4) == 8


@pytest.mark.process
def test_a_timeout_counts_single_steps_and_stops_when_cancelled(helpers):
    with WorkerPool(1) as pool:
        assert list(pool.map(helpers.slow_steps, [5])) == [(5, 10)]


@pytest.mark.process
def test_an_exception_is_not_a_killed_worker(helpers):
    with WorkerPool(1) as pool, pytest.raises(ValueError, match="three"):
        list(pool.map(helpers.fail_on_three, range(6)))


@pytest.mark.process
def test_few_items_are_read_ahead(helpers):
    read = []

    def items():
        for x in range(100):
            read.append(x)
            yield x

    with WorkerPool(2) as pool:
        results = pool.map(helpers.double, items(), ahead=3)
        assert next(results) == (0, 0)
        assert len(read) <= 6
        results.close()


def test_without_seconds_nothing_is_watched(monkeypatch):
    def refuse(*_):
        raise AssertionError("no alarm was asked for")

    monkeypatch.setattr(signal, "setitimer", refuse)
    with Timeout(None) as timeout:
        timeout.restart()


@pytest.mark.process
def test_a_script_without_a_main_guard_is_refused(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from molvae.runtime.pool import WorkerPool\n"
        "with WorkerPool(1) as pool:\n"
        "    print(list(pool.map(abs, [1])))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=280)
    assert done.returncode != 0
    assert 'if __name__ == "__main__":' in done.stderr
    assert RunError.__name__ in done.stderr


@pytest.mark.process
def test_a_training_script_without_a_main_guard_is_refused(demo_csv, tmp_path):
    script = tmp_path / "script.py"
    options = "preset='tiny', workers=2, train__epochs=1"
    script.write_text(
        f"from molvae import MolVAE\nMolVAE.train({str(demo_csv)!r}, 'run', {options})\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=280, cwd=tmp_path
    )
    assert done.returncode != 0
    assert 'if __name__ == "__main__":' in done.stderr
    assert "waiting for it" not in done.stderr


@pytest.mark.process
def test_a_worker_killed_while_it_sends_a_large_result(helpers, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {os.path.dirname(helpers.__file__)!r})\n"
        "from pool_helpers import die_sending_three\n"
        "from molvae.runtime.pool import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(2) as pool:\n"
        "        for item, result in pool.map(die_sending_three, range(8)):\n"
        "            print(item, result and result[0])\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=280,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] + lines[4:] == [f"{x} {x}" for x in range(8) if x != 3]
    assert lines[3] == "3 None" or lines[3].startswith("3 b")  # the blow may come too late
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py"]


def test_only_small_messages_go_through_the_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_results_folder", tmp_path)
    for value in (7, "x" * 1500, "x" * 5000, [b"y" * 3_000_000, None]):
        message = pickle.dumps(processes._call(copy.copy, value))
        assert len(message) < 3000  # of the 4096 bytes that POSIX writes at one stroke
        assert len(list(tmp_path.iterdir())) == (len(pickle.dumps(value)) > 2048)
        assert pickle.loads(message) == value
        assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from molvae.runtime.pool import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(1) as pool:\n"
        "        print(pool.run_alone(eval, '__import__(\"os\").getpid()'), flush=True)\n"
        "        time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)  # it is there
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker is still there")
    assert list(tmp_path.iterdir()) == [script]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("workers", [-1, -8])
def test_a_negative_number_of_workers_is_refused(workers):
    with pytest.raises(ConfigError, match="got"):
        WorkerPool(workers)


@pytest.mark.process
def test_no_scheduler_at_an_address():
    pytest.importorskip("distributed", reason="the extra 'distributed'")
    with (
        pytest.raises(ConfigError, match="Dask"),
        WorkerPool(scheduler="tcp://x y"),
    ):
        pass


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ConfigError, match="molvae\\[distributed\\]"),
        WorkerPool(scheduler="tcp://h:1"),
    ):
        pass
