"""Threads that would wait for each other are not used."""

import json
import os
import subprocess
import sys

import pytest
import torch

from molvae.runtime import threads
from molvae.runtime.threads import choose_threads, fitting_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({1: 4.0, 8: 0.7}, 8), ({1: 4.0, 8: 3.0}, 8), ({1: 4.0, 8: 3.1, 4: 2.0}, 4),
        ({1: 4.0, 8: 90.0, 4: 9.0, 2: 3.1}, 1), ({1: 1.0, 8: 1.0, 4: 1.0, 2: 0.5}, 2),
        ({1: 1.0}, 1), ({1: 1.0, 3: 2.0}, 1),
    ],
)  # fmt: skip
def test_as_many_threads_as_help(times, expected):
    def measure(count, rows, width):
        assert (rows, width) == (256, 512)
        return times[count]

    assert fitting_threads(max(times), 256, 512, measure) == expected


@pytest.fixture
def machine(monkeypatch):
    """A machine of four CPUs on which so many threads fit; what was set."""

    class Machine:
        fits, threads, trials = 4, 4, 0

        def set_num_threads(self, count):
            self.threads = count

        def get_num_threads(self):
            return self.threads

        def fitting(self, most, rows, width):
            assert most == 4
            self.trials += 1
            self.threads = 1  # a trial leaves its own number behind
            return self.fits

    machine = Machine()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", machine.set_num_threads)
    monkeypatch.setattr(torch, "get_num_threads", machine.get_num_threads)
    monkeypatch.setattr(threads, "fitting_threads", machine.fitting)
    return machine


def test_the_number_is_what_other_programs_leave(machine, capsys):
    machine.fits = 1
    assert choose_threads(CPU, 256, 512) == machine.threads == 1
    assert "other programs use the CPUs; using 1 of 4 threads" in capsys.readouterr().err
    machine.fits = machine.threads = 4
    assert choose_threads(CPU, 256, 512) == machine.threads == 4
    assert machine.trials == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("before", "expected"), [(1, 1), (2, 2), (8, 4)])
def test_a_resumed_run_keeps_its_first_choice(machine, before, expected):
    assert choose_threads(CPU, 256, 512, before=before) == machine.threads == expected
    assert machine.trials == 0


@pytest.mark.parametrize("reason", ["chosen by the user", "on a GPU", "one thread anyway"])
def test_nothing_is_chosen(machine, monkeypatch, reason):
    if reason == "chosen by the user":
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
    elif reason == "one thread anyway":
        machine.threads = 1
    device = torch.device("cuda") if reason == "on a GPU" else CPU
    before = machine.threads
    assert choose_threads(device, 256, 512, before=2) == before
    assert (machine.threads, machine.trials) == (before, 0)


@pytest.mark.process
def test_a_trial_takes_a_moment_and_a_resumed_run_has_as_many(small_dataset, tmp_path):
    """A new process, whose first trial says that two threads do not fit."""
    code = (
        "import json, sys, torch\n"
        "torch.set_num_threads(2)\n"
        "from molvae.runtime import threads\n"
        "seconds = threads._seconds(2, 64, 128)\n"
        "assert 0 < seconds < 10\n"
        "fits = {'first': 1, 'second': 2}[sys.argv[1]]\n"
        "threads.fitting_threads = lambda most, rows, width: fits\n"
        "from molvae.cli import main\n"
        "from molvae.train.trainer import Trainer\n"
        "real, counts = Trainer.train_step, []\n"
        "def step(self, items):\n"
        "    counts.append(torch.get_num_threads())\n"
        "    if sys.argv[1] == 'first' and len(counts) == 3:\n"
        "        self.save(); raise KeyboardInterrupt\n"
        "    return real(self, items)\n"
        "Trainer.train_step = step\n"
        "try: main(sys.argv[2:], standalone_mode=False)\n"
        "except BaseException as error: print(type(error).__name__, file=sys.stderr)\n"
        "print(json.dumps(counts))\n"
    )
    line = ["train", str(small_dataset), "-o", str(tmp_path / "run"), "--preset", "tiny"]
    line += ["--epochs", "0.8", "--set", "train.validations=1", "--resume"]
    line += ["--set", "train.critic_samples=0", "--set", "train.reconstructions=4"]
    line += ["--set", "train.batch_size=16"]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    counts = {}
    for name in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-c", code, name, *line],
            capture_output=True, text=True, env=environment, check=True,
        )  # fmt: skip
        counts[name] = json.loads(done.stdout.splitlines()[-1])
    assert set(counts["first"]) == set(counts["second"]) == {1}
