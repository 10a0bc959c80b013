"""SIGKILL at any moment: nothing finished is lost, nothing is made twice, the end is the same.

Each work is killed at random moments (``MOLVAE_TEST_KILLS`` of them), and in a chain whose n-th
process dies just before its n-th change on the disk: every such change is the last one once.
"""

import csv
import gzip
import itertools
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.reliability.wrecking import Wreck, processes_of, seconds_of

KILLS = int(os.environ.get("MOLVAE_TEST_KILLS", "3"))
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Work:
    """A verb, what it makes, and what must hold after a kill and at the end."""

    def __init__(self, tmp_path, dataset, model, library):
        self.folder, self.dataset, self.model, self.library = tmp_path, dataset, model, library
        self.whole, self.output = tmp_path / "whole" / self.name, tmp_path / "output" / self.name
        self.whole.parent.mkdir()
        self.output.parent.mkdir()

    def begin_anew(self):
        shutil.rmtree(self.output.parent)
        self.output.parent.mkdir()

    def after_kill(self):
        """Nothing to see by default."""

    def complete(self):
        """Whether the output is there, and nothing to continue: --resume would refuse."""
        return False


class Train(Work):
    name = "run"

    def command(self, output, *more):
        return (
            "train", str(self.dataset), "-o", str(output), "--preset", "tiny", "--epochs", "4",
            "--device", "cpu", "--set", "train.validations=2", "--set", "train.patience=99",
            "--set", "train.checkpoint_every=0.2", "--set", "train.critic_samples=60", *more,
        )  # fmt: skip

    def check(self):
        for name in ("model/model.safetensors", "model/conditions.json", "model/vocab.json"):
            assert (self.output / name).read_bytes() == (self.whole / name).read_bytes(), name
        names = sorted(path.name for path in self.whole.iterdir())
        assert sorted(path.name for path in self.output.iterdir()) == names


class Prepare(Work):
    name = "library.ds"

    def command(self, output, *more):
        return (
            "prepare", str(self.library), "-o", str(output), "-p", "assay", "--conditions",
            "logp,qed,assay", "--workers", "0", *more,
        )  # fmt: skip

    def complete(self):
        return self.output.exists() and not self.output.with_name(f"{self.name}.partial").exists()

    def after_kill(self):
        if self.output.exists():
            self.check()

    def check(self):
        names = sorted(path.name for path in self.whole.iterdir())
        assert sorted(path.name for path in self.output.iterdir()) == names
        for name in names:
            assert (self.output / name).read_bytes() == (self.whole / name).read_bytes(), name


class PrepareShard(Prepare):
    name = "shard.ds"

    def command(self, output, *more):
        return super().command(output, "--shard", "1/2", *more)


class Generate(Work):
    name = "out.csv"

    def command(self, output, *more):
        return (
            "generate", "-m", str(self.model), "-n", "2000", "-o", str(output), "-t", "logp=0:6",
            "--seed", "4", "--workers", "0", "--precision", "fp32", "--report",
            f"{output}.html", *more,
        )  # fmt: skip

    def complete(self):
        return self.output.exists() and not self.output.with_name(f"{self.name}.part").exists()

    def after_kill(self):
        if self.output.exists():
            assert self.output.read_bytes() == self.whole.read_bytes()

    def check(self):
        assert self.output.read_bytes() == self.whole.read_bytes()


class GenerateSDF(Generate):
    name = "out.sdf.gz"

    def command(self, output, *more):
        return tuple("1000" if word == "2000" else word for word in super().command(output, *more))


OBJECTIVE = """
import time
def score(smiles):
    with open({asked!r}, "a") as log:
        log.write("".join(text + "\\n" for text in smiles))
    time.sleep(0.002 * len(smiles))
    return [text.count("C") + text.count("c") - 0.1 * len(text) for text in smiles]
"""


class Optimize(Work):
    name = "best.csv"
    budget = 200

    def __init__(self, tmp_path, *given):
        super().__init__(tmp_path, *given)
        self.asked = tmp_path / "asked"
        (tmp_path / "mine.py").write_text(OBJECTIVE.format(asked=str(self.asked)))

    def command(self, output, *more):
        return (
            "optimize", "-m", str(self.model), "-o", str(output), "--objective",
            f"{self.folder}/mine.py:score", "--budget", str(self.budget), "--workers", "0",
            "--call-size", "10", "--method", "evolution", "--seed", "1", *more,
        )  # fmt: skip

    def begin_anew(self):
        super().begin_anew()
        self.asked.unlink(missing_ok=True)

    def answered(self):
        path = self.output.with_name("best.calls.csv")
        if not path.exists():
            return []
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        return [row["smiles"] for row in rows if row["status"] == "answered"]

    def after_kill(self):
        answered = self.answered()
        assert len(set(answered)) == len(answered)
        self.ends = [*getattr(self, "ends", []), (set(answered), self.seen())]

    def seen(self):
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0

    def check(self):
        lines = self.asked.read_text().splitlines()
        for known, seen in getattr(self, "ends", []):
            assert not known & set(lines[seen:]), "an answered call was asked again"
        self.ends = []
        answered = self.answered()
        assert len(set(answered)) == len(answered) == self.budget


class TrainOnFiles(Train):
    """The dataset is prepared into the cache, by two workers, and found there again."""

    name = "run-on-files"

    def command(self, output, *more):
        few = ("--set", "train.valid_molecules=20", "--set", "train.reconstructions=4")
        words = super().command(output, "--workers", "2", *few, *more)
        other = {str(self.dataset): str(self.library), "4": "2"}
        return tuple(other.get(word, word) for word in words)


def with_workers(words):
    """The same command with two processes beside the first."""
    at = words.index("--workers") + 1
    return (*words[:at], "2", *words[at + 1 :])


class PrepareWithWorkers(Prepare):
    name = "library-2.ds"

    def command(self, output, *more):
        return with_workers(super().command(output, *more))


class GenerateWithWorkers(Generate):
    name = "out-2.csv"

    def command(self, output, *more):
        return (*with_workers(super().command(output, *more)), "--grid", f"{output}.png")

    def check(self):
        super().check()
        for more in (".html", ".png"):
            assert self.output.with_name(f"{self.name}{more}").stat().st_size > 1000


class OptimizeWithWorkers(Optimize):
    def command(self, output, *more):
        return with_workers(super().command(output, *more))


CREWED = [TrainOnFiles, PrepareWithWorkers, GenerateWithWorkers, OptimizeWithWorkers]
WORKS = [Train, Prepare, PrepareShard, Generate, GenerateSDF, Optimize]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Molecules for three chunks of a preparation."""
    path = tmp_path_factory.mktemp("library") / "library.csv"
    with gzip.open(Path(__file__).parents[2] / "data" / "demo.csv.gz", "rb") as rows:
        path.write_bytes(b"".join(itertools.islice(rows, 2501)))
    return path


@pytest.fixture
def work(request, tmp_path, tiny_dataset, tiny_run, library):
    """One of the works."""
    return request.param(tmp_path, tiny_dataset, tiny_run, library)


@pytest.mark.parametrize("work", [Train, Prepare, Generate, Optimize], indirect=True)
def test_kills_at_random_moments(work, tmp_path):
    kill_at_random(work, tmp_path, KILLS)


def kill_at_random(work, tmp_path, kills):
    longest = seconds_of(work.command(work.whole))
    work.begin_anew()
    wreck = Wreck(work.command(work.output, "--resume"), tmp_path)
    chance = random.Random(0)
    while wreck.kills < kills:
        killed = wreck.at_random(chance, longest)
        if killed:
            work.after_kill()
        if work.complete() or not killed:
            work.check()
            work.begin_anew()
    assert not wreck.end(wreck.start())
    work.check()
    assert names(work.output.parent) == names(work.whole.parent), "litter"


@pytest.mark.parametrize("work", CREWED, indirect=True)
def test_kills_of_works_with_workers(work, tmp_path):
    kill_at_random(work, tmp_path, (KILLS + 1) // 2)
    # Their workers see that they are alone, and end.
    deadline = time.monotonic() + 240
    while (left := processes_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


@pytest.mark.parametrize("work", WORKS, indirect=True)
def test_a_kill_before_every_change_on_the_disk(work, tmp_path):
    seconds_of(work.command(work.whole))
    work.begin_anew()
    wreck = Wreck(work.command(work.output, "--resume"), tmp_path)
    number = 1
    while wreck.before_change(number) and not work.complete():
        work.after_kill()
        number += 1
    work.check()
    assert wreck.kills >= 3
