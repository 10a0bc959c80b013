"""What `pip install molvae` alone gives: nothing but the libraries it asks for can be imported."""

import importlib.metadata
import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

BLOCKER = """
import sys

HIDDEN = frozenset({hidden!r})


class Finder:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in HIDDEN:
            return self.finder.find_spec(name, path, target)


sys.meta_path[:] = map(Finder, sys.meta_path)
"""
EXTRA = re.compile(r"extra\s*==")
FRUGAL = ("--workers", "1")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def required():
    """Canonical names of the distributions that molvae needs, and what they need in turn."""
    result, todo = set(), ["molvae"]
    while todo:
        name = canonical(todo.pop())
        if name in result:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        result.add(name)
        for line in lines:
            wanted, _, marker = line.partition(";")
            if not EXTRA.search(marker):
                todo.append(re.match(r"[\w.-]+", wanted)[0])
    return result


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment in which the other distributions of this one are not to be found."""
    needed = required()
    hidden = [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not needed & set(map(canonical, owners))
    ]
    assert {"pytest", "pyarrow", "scipy", "fcd", "botorch", "distributed"} <= set(hidden)
    assert not {"torch", "rdkit", "numpy", "molvae"} & set(hidden)
    folder = tmp_path_factory.mktemp("bare")
    text = BLOCKER.format(hidden=sorted(hidden))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def molvae(bare, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "molvae", *map(str, arguments)],
        cwd=folder, env=bare, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.timeout(900)  # nine starts of molvae
def test_the_main_job_needs_no_extra(bare, small_dataset, tmp_path):
    table = small_dataset.with_name("small.csv")
    for line in (
        ["prepare", table, "-o", "data.ds", "--conditions", "logp", *FRUGAL],
        ["train", "data.ds", "-o", "run", "--preset", "tiny", "--epochs", 1,
         "--set", "train.validations=1", "--set", "train.critic_samples=60"],
        ["generate", "-m", "run", "-n", 8, "-o", "new.csv", "--report", "new.html",
         "--grid", "new.png", *FRUGAL],
        ["evaluate", "new.csv", "--train", table, "-o", "new.json", "--guacamol",
         "--bootstrap", 0, "-m", "run", *FRUGAL],
        ["optimize", "-m", "run", "--objective", "qed", "--budget", 8, "-o", "best.sdf",
         *FRUGAL],
        ["encode", "-m", "run", table, "-o", "z.npy", *FRUGAL],
        ["decode", "-m", "run", "z.npy", "-o", "back.smi"],
        ["interpolate", "-m", "run", "CCOC(=O)c1ccccc1", "CCN(CC)CC", "-o", "way.csv"],
        ["info", "run"],
    ):  # fmt: skip
        done = molvae(bare, tmp_path, *line)
        assert done.returncode == 0, (line, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("parquet", ["generate", "-n", "5", "-o", "a.parquet"]),
        ("parquet", ["prepare", "b.parquet", "-o", "b.ds"]),
        ("parquet", ["encode", "a.smi", "-o", "z.parquet"]),
        ("chembl", ["prepare", "a.smi", "-o", "c.ds", "--standardize", "chembl"]),
        ("distributed", ["prepare", "a.smi", "-o", "d.ds", "--scheduler", "tcp://127.0.0.1:9"]),
        ("hub", ["generate", "-n", "5", "-o", "a.csv", "-m", "hf://someone/something"]),
        ("bo", ["optimize", "--objective", "qed", "--budget", "50", "-o", "e.csv",
                "--method", "trust"]),
        ("bo", ["optimize", "--objective", "qed", "--budget", "50", "-o", "f.csv",
                "--method", "cma"]),
    ],
)  # fmt: skip
def test_what_needs_an_extra_names_it(bare, tmp_path, extra, line):
    (tmp_path / "a.smi").write_text("CCO\nCCN\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    before = sorted(path.name for path in tmp_path.iterdir())
    done = molvae(bare, tmp_path, *line)
    assert done.returncode == 2, done.stderr
    (said,) = [row for row in done.stderr.splitlines() if row.startswith("error:")]
    assert f"pip install 'molvae[{extra}]'" in said
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_evaluation_says_what_it_leaves_out(bare, small_dataset, tmp_path):
    table = small_dataset.with_name("small.csv")
    done = molvae(bare, tmp_path, "evaluate", table, "--test", table, "--bootstrap", 0)
    assert done.returncode == 0, done.stderr
    assert "pip install 'molvae[fcd]'" in done.stdout + done.stderr
