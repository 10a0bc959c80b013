"""A real Dask scheduler with two workers: the results of one machine, also after losses."""

import csv
import os
import sys
import time
from importlib.metadata import version

import psutil
import pytest

from molvae.config import DataConfig
from molvae.data.prepare import jobs, prepare
from molvae.errors import ConfigError, RunError
from molvae.evaluate import Options, evaluate
from molvae.generate.request import Request
from molvae.generate.run import generate_file
from molvae.latent.encode import encode_file
from molvae.objectives import FunctionScorer, Objective, Part, PluginScorer, parse_objective
from molvae.optimize.run import optimize
from molvae.optimize.scoring import Scoring
from molvae.runtime import cluster as cluster_module
from molvae.runtime import pool as pool_module
from molvae.runtime.pool import WorkerPool
from tests import warm
from tests.cluster import cluster as start_cluster
from tests.cluster import kill_tree
from tests.warm import wait_for

pytest.importorskip("distributed", reason="the extra 'distributed'")
pytestmark = pytest.mark.process

BUDGET = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with start_cluster(tmp_path_factory.mktemp("dask")) as running:
        from distributed import Client

        with Client(running.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=240)
        yield running


def worker_processes(running):
    """The processes that Dask calls workers, as its nannies start them."""
    children = [psutil.Process(nanny.pid).children() for nanny in running.workers]
    return [c for some in children for c in some if "spawn_main" in " ".join(c.cmdline())]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


# -- work that ends its process -------------------------------------------------------------------


def test_what_kills_or_hangs_costs_its_item_and_no_worker(cluster, tmp_path):
    before = {process.pid for process in worker_processes(cluster)}

    def score(smiles):  # travels by value: no module of it can be imported elsewhere
        if "N" in smiles:
            os.kill(os.getpid(), 9)
        if "O" in smiles:
            time.sleep(600)
        if "S" in smiles:
            raise ValueError("sulfur")
        return [float(len(text)) for text in smiles]

    objective = Objective((Part("score", FunctionScorer(score)),))
    with WorkerPool(scheduler=cluster.address) as pool:
        scoring = Scoring(objective, pool, timeout=2, size=2)
        given = ["CC", "N", "CCC", "O", "S", "CCCC"]
        results = {one.smiles: one for part in scoring(given) for one in part}
    assert {text: results[text].scores for text in ("CC", "CCC", "CCCC")} == {
        "CC": (2.0,), "CCC": (3.0,), "CCCC": (4.0,)
    }  # fmt: skip
    assert "the worker process died" in results["N"].note
    assert "took longer than 2 s" in results["O"].note
    assert "sulfur" in results["S"].note
    assert {process.pid for process in worker_processes(cluster)} == before


def test_a_worker_that_dies_costs_a_retry_on_one_that_lacks_the_function(cluster, tmp_path):
    """Dask starts a killed worker again; it asks for the function."""
    marker = str(tmp_path / "killed")

    def kill_worker_once(number):
        if number == 3 and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getppid(), 9)
            time.sleep(600)
        return 2 * number

    with WorkerPool(scheduler=cluster.address) as pool:
        found = dict(pool.map(kill_worker_once, range(8), ordered=False))
        assert os.path.exists(marker)
        from distributed import Client

        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=240)
        processes = pool.cluster.each(lambda _: os.getpid())
    assert len(set(processes.values())) == 2
    assert found == {number: 2 * number for number in range(8)}


def test_no_child_process_outlives_its_client(cluster):
    with WorkerPool(scheduler=cluster.address) as pool:
        pids = [pid for _, pid in pool.map(lambda _: os.getpid(), range(6))]
        assert any(map(psutil.pid_exists, pids))
    wait_for(lambda: not any(map(_runs, pids)))


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- searches -------------------------------------------------------------------------------------

FUNCTION = """
import os, time
import helper

def score(smiles):
    with open(os.environ.get("ASKED", os.devnull), "a") as log:
        log.writelines(f"{text}\\n" for text in smiles)
    time.sleep(0.05 * len(smiles))
    return [helper.carbons(text) - 0.1 * len(text) for text in smiles]
"""
HELPER = "def carbons(text):\n    return text.upper().count('C')\n"
PROGRAM = """
import json, sys
given = sys.stdin.read().split()
print(json.dumps({"payload": {"length": [min(len(s) / 100, 1.0) for s in given]}}))
"""


@pytest.fixture
def objectives(tmp_path):
    """A function of a file that imports another one beside it, and a program."""
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "program.py").write_text(PROGRAM)
    program = f"process:length={sys.executable} {tmp_path}/program.py@0:1"
    return [f"{tmp_path}/mine.py:score@0:20", program, "qed"]


def test_a_killed_search_on_a_cluster_that_loses_a_worker_makes_the_calls_of_one_machine(
    cluster, objectives, tiny_run, tmp_path
):
    here = tmp_path / "here.csv"
    options = {"model": tiny_run, "call_size": 2}
    optimize(here, parse_objective(objectives), BUDGET, workers=0, **options)
    there, calls = tmp_path / "there.csv", tmp_path / "there.calls.csv"
    words = ["optimize", "-m", tiny_run, "-o", there, "--budget", BUDGET, "--call-size", 2]
    words += [word for text in objectives for word in ("--objective", text)]
    words += ["--scheduler", cluster.address]
    search = warm.Process(*words)
    wait_for(lambda: calls.exists() and calls.read_text().count(",answered,") >= 6, search)
    search.kill()
    search.wait()
    resumed = warm.Process(*words, "--resume")
    begun = calls.read_text().count(",answered,")
    wait_for(lambda: calls.read_text().count(",answered,") >= begun + 4, resumed)
    kill_tree(cluster.workers[0])  # with its nanny, which would start it again
    assert resumed.wait(240) == 0, resumed.said()
    cluster.workers[0] = cluster.add_worker()
    assert there.read_bytes() == here.read_bytes()
    answered = [row for row in rows_of(calls) if row["status"] != "asked"]
    expected = [row for row in rows_of(tmp_path / "here.calls.csv") if row["status"] != "asked"]
    assert len(answered) == len({row["smiles"] for row in answered}) == BUDGET
    assert sorted(map(str, answered)) == sorted(map(str, expected))


def test_the_text_of_a_file_travels(tmp_path):
    """Workers need no shared folder for a file alone."""
    (tmp_path / "mine.py").write_text("def score(smiles):\n    return [1.0 for _ in smiles]\n")
    objective = parse_objective([f"{tmp_path}/mine.py:score"]).shipped()
    (tmp_path / "mine.py").unlink()
    assert objective.scores(["CC", "CCC"]) == [(1.0,), (1.0,)]


def test_an_objective_that_the_workers_lack_is_an_error_before_any_call(cluster):
    objective = Objective((Part("absent", PluginScorer("absent_here")),))
    with (
        WorkerPool(scheduler=cluster.address) as pool,
        pytest.raises(RunError, match=r"Dask worker tcp://.*absent_here.*installed here"),
    ):
        Scoring(objective, pool)


def test_another_version_on_the_workers_is_an_error(cluster, monkeypatch):
    there = cluster_module._versions([])
    monkeypatch.setattr(cluster_module, "_versions", lambda _: {**there, "rdkit": "1999.1"})
    with (
        WorkerPool(scheduler=cluster.address) as pool,
        pytest.raises(RunError, match=rf"rdkit {there['rdkit']}, the command rdkit 1999.1"),
    ):
        list(pool.map(abs, [1]))


def test_the_package_of_a_used_plugin_must_be_the_same_on_the_workers(cluster, monkeypatch):
    """The workers are processes of their own, in which nothing is replaced."""
    for here, words in (
        ({"nitrogen-tools": "1.2"}, "has no nitrogen-tools, the command nitrogen-tools 1.2"),
        ({"click": "0.1"}, rf"has click {version('click')}, the command click 0.1"),
    ):
        monkeypatch.setattr(cluster_module, "used_packages", lambda here=here: list(here))
        monkeypatch.setattr(cluster_module, "versions_of", lambda names, here=here: here)
        with (
            WorkerPool(scheduler=cluster.address) as pool,
            pytest.raises(RunError, match=words),
        ):
            list(pool.map(abs, [1]))
    monkeypatch.setattr(cluster_module, "versions_of", lambda names: {"click": version("click")})
    with WorkerPool(scheduler=cluster.address) as pool:
        assert list(pool.map(abs, [-1])) == [(-1, 1)]


def test_no_scheduler_is_an_error_before_the_log_begins(tiny_run, tmp_path):
    objective = parse_objective(["qed"])
    with pytest.raises(ConfigError, match="no Dask scheduler answers at 'tcp://x y'"):
        optimize(tmp_path / "a.csv", objective, 10, model=tiny_run, scheduler="tcp://x y")
    assert list(tmp_path.iterdir()) == []


# -- the other commands ---------------------------------------------------------------------------


def test_generated_bytes_are_those_of_one_machine(cluster, tiny_run, tmp_path):
    for name, where in (("here", {"workers": 0}), ("there", {"scheduler": cluster.address})):
        generate_file(
            tmp_path / f"{name}.csv", 20, model=tiny_run, targets=("logp=1:3", "qed=0.6"),
            request=Request(walk=True, candidates=4, realism=None), **where,
        )  # fmt: skip
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


def test_datasets_evaluations_and_latents_are_those_of_one_machine(
    cluster, demo_csv, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(jobs, "CHUNK", 100)
    monkeypatch.setattr(pool_module, "CHUNK", 100)
    monkeypatch.setattr(pool_module, "INLINE", 50)
    reports, tasks = [], executed(cluster)
    for name, where in (("here", {"workers": 0}), ("there", {"scheduler": cluster.address})):
        prepare([demo_csv], tmp_path / f"{name}.ds", DataConfig(conditions=("logp",)), **where)
        encode_file([demo_csv], tmp_path / f"{name}.npy", model=tiny_run, **where)
        options = Options(chemnet=False, replicates=0, **where)
        reports.append(evaluate(demo_csv, train=demo_csv, options=options).to_json())
    assert executed(cluster) >= tasks + 9, "three chunks of each command"
    assert reports[0] == reports[1]
    assert (tmp_path / "there.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()
    for path in (tmp_path / "here.ds").iterdir():
        assert (tmp_path / "there.ds" / path.name).read_bytes() == path.read_bytes(), path.name


def executed(running):
    """Tasks that the workers have done."""
    from distributed import Client

    with Client(running.address, set_as_default=False) as client:
        return sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())
