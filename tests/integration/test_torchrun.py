"""Training in two processes, started by torchrun as a user would."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from molvae.model.checkpoint import load_model
from tests.integration.two_processes import work

SCRIPT = Path(__file__).with_name("two_processes.py")


def _sockets():
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return True
    except OSError:
        return False


pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not _sockets(), reason="sockets are forbidden here"),
    pytest.mark.skipif(
        not torch.distributed.is_available(), reason="this torch lacks torch.distributed"
    ),
]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def torchrun(*command, processes=2, agents=("--standalone",)):
    return [
        sys.executable, "-m", "torch.distributed.run", *agents, "--nproc-per-node",
        str(processes), *map(str, command),
    ]  # fmt: skip


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": _loopback()}


def _loopback():
    return next(
        (name for _, name in socket.if_nameindex() if name in ("lo", "lo0")),
        socket.if_nameindex()[0][1],
    )


def run(*command, **options):
    return subprocess.run(
        torchrun(*command, **options), env=environment(), capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip


def train(dataset, folder, *more):
    return (
        "-m", "molvae", "train", dataset, "-o", folder, "--preset", "tiny", "--epochs", "4",
        "--device", "cpu", "--precision", "fp32", "--set", "train.validations=2",
        "--set", "train.critic_samples=60", *more,
    )  # fmt: skip


def records(folder, kind):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record for record in lines if record["kind"] == kind]


@pytest.fixture(scope="module")
def alone(tiny_dataset, tmp_path_factory):
    """The run of one process that several must equal."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    command = [sys.executable, *map(str, train(tiny_dataset, folder))]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    return folder


def assert_equal_runs(folder, alone):
    """Equal but for the order of sums in 32 bits."""
    ours, theirs = (records(each, "validation") for each in (folder, alone))
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["molecules"] == other["molecules"]
        assert one["D"] == pytest.approx(other["D"], rel=1e-3)
        assert one["R"] == pytest.approx(other["R"], rel=1e-2, abs=1e-3)
    pairs = zip(
        load_model(folder).network.parameters(), load_model(alone).network.parameters(),
        strict=True,
    )  # fmt: skip
    assert all((a - b).abs().max() < 5e-3 for a, b in pairs)


def test_gradients_and_losses_are_those_of_one_process(tiny_dataset, tmp_path):
    """In float64; with hardly any molecule encoded too, when a process may have none."""
    done = run(SCRIPT, tiny_dataset, tmp_path)
    assert done.returncode == 0, done.stderr
    result = [torch.load(tmp_path / f"found-{rank}.pt") for rank in (0, 1)]
    for share in result[0]:
        losses, gradients = work(tiny_dataset, tmp_path, prior_share=share)
        assert len(losses) == 20
        for theirs, their_gradients in (each[share] for each in result):
            torch.testing.assert_close(theirs, losses, rtol=1e-9, atol=1e-9)
            assert their_gradients.keys() == gradients.keys()
            for name, gradient in gradients.items():
                torch.testing.assert_close(their_gradients[name], gradient, rtol=1e-9, atol=1e-9)


def test_a_model_trained_by_two_processes_is_that_of_one(tiny_dataset, tmp_path, alone):
    folder = tmp_path / "run"
    done = run(*train(tiny_dataset, folder, "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["finished"] is True  # one process speaks
    assert done.stderr.count("2 processes") == 1
    assert "Warning" not in done.stderr
    assert_equal_runs(folder, alone)


@pytest.mark.nightly
def test_an_error_of_several_processes_is_one_message(tiny_dataset, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").touch()
    done = run(*train(tiny_dataset, tmp_path / "run"))
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "exists already; add --resume" in done.stderr
    done = run(*train(tiny_dataset, tmp_path / "new", "--conditions", "heavy"))
    assert done.stderr.count("error: ") == 1
    assert "'heavy' is not in the dataset" in done.stderr


@pytest.mark.nightly
def test_two_agents_train_together_and_resume(tiny_dataset, tmp_path, alone):
    """Two torchruns, as on two machines; stopped by SIGTERM in the middle, then resumed."""
    folder, port = tmp_path / "run", free_port()

    def both(*more):
        command = train(tiny_dataset, folder, *more)
        agents = [
            subprocess.Popen(
                torchrun(
                    *command, processes=1,
                    agents=("--nnodes", "2", "--node-rank", str(rank), "--master-addr",
                            "127.0.0.1", "--master-port", str(port)),
                ),
                env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for rank in (0, 1)
        ]  # fmt: skip
        return [(agent, *agent.communicate(timeout=240)) for agent in agents]

    for agent, _, stderr in both():
        assert agent.returncode == 0, stderr
    assert_equal_runs(folder, alone)
    again = both("--resume")
    assert all(agent.returncode == 0 for agent, *_ in again)
    assert "is finished" in again[0][2]


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_stopped_run_of_two_processes_resumes_with_one(tiny_dataset, tmp_path, alone, victim):
    """One of them gets SIGTERM, twice, as from a scheduler and a launcher; saving takes time."""
    folder = tmp_path / "run"
    sabotage = tmp_path / "sabotage.py"
    sabotage.write_text(
        "import os, signal, sys, time\n"
        "from molvae.cli import main\n"
        "from molvae.train.trainer import Trainer\n"
        "train, save = Trainer.train_step, Trainer.save\n"
        "def step(self, items):\n"
        f"    if self.step == 12 and self.world.rank == {victim}:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return train(self, items)\n"
        "def slowly(self):\n"
        "    time.sleep(1)\n"
        "    save(self)\n"
        "Trainer.train_step, Trainer.save = step, slowly\n"
        "sys.argv[0] = 'molvae'\n"
        "main()\n"
    )
    command = train(tiny_dataset, folder)
    done = run(sabotage, *command[2:])
    assert done.returncode != 0
    assert done.stderr.count("stopped at step 13; continue with --resume") == 1
    resumed = [sys.executable, *map(str, command), "--resume"]
    subprocess.run(resumed, env=environment(), check=True, capture_output=True)
    assert_equal_runs(folder, alone)


def test_a_dataset_that_one_process_cannot_read_is_one_error(tiny_dataset, tmp_path):
    """As on a second machine without the disk of the first."""
    blind = tmp_path / "blind.py"
    blind.write_text(
        "import os, sys\n"
        "import molvae.train.run as module\n"
        "from molvae.cli import main\n"
        "real = module._adapted\n"
        "if os.environ['RANK'] == '1':\n"
        "    module._adapted = lambda folder, *more: real('/nowhere/x.ds', *more)\n"
        "sys.argv[0] = 'molvae'\n"
        "main()\n"
    )
    done = run(blind, *train(tiny_dataset, tmp_path / "run")[2:])
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "not a dataset folder" in done.stderr
