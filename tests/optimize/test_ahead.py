"""Rounds that are proposed while earlier ones are being scored: the same calls at any speed."""

import csv
import random

import pytest

from molvae.errors import ConfigError
from molvae.objectives import parse_objective
from molvae.optimize.engines.base import Sampling
from molvae.optimize.run import optimize
from molvae.runtime.pool import Stream

BUDGET = 16  # four rounds of four


def run(folder, model, ahead, name="run", objective="qed", **options):
    options = {"budget": BUDGET, "workers": 0, "method": "evolution", **options}
    folder.mkdir(exist_ok=True)
    output = folder / f"{name}.csv"
    optimize(output, parse_objective([objective]), model=model, ahead=ahead, **options)
    return calls_of(folder / f"{name}.calls.csv")


def calls_of(path):
    """The answered calls by their number."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] != "asked"]
    return sorted(rows, key=lambda row: int(row["call"]))


class Recorder(Sampling):
    """Samples, and what was known when each round was asked for."""

    def __init__(self, proposer, archive, budget):
        super().__init__(proposer, archive)
        self.events = []

    def ask(self, count, round_):
        rounds = {answer.round for answer in self.archive.answers.values()}
        self.events.append((round_, max(rounds, default=-1)))
        return super().ask(count, round_)

    def tell(self, candidates, answers):
        self.events.append("tell")


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_round_follows_from_the_answers_of_those_further_back(tiny_run, tmp_path, ahead):
    made = []

    def maker(*arguments):
        made.append(Recorder(*arguments))
        return made[0]

    maker.__name__ = "recorder"
    run(tmp_path, tiny_run, ahead, method=maker)
    asked = [event for event in made[0].events if event != "tell"]
    assert [last for _, last in asked] == [max(r - 1 - ahead, -1) for r, _ in asked]
    assert len(asked) >= BUDGET // 4
    assert made[0].events.count("tell") == len(asked)


def test_the_calls_do_not_depend_on_which_molecules_are_slow(tiny_run, tmp_path, monkeypatch):
    expected = run(tmp_path / "a", tiny_run, 2)
    chance = random.Random(1)
    take = Stream.take

    def shuffled(self):
        self._waiting.rotate(chance.randrange(len(self._waiting)))
        return take(self)

    monkeypatch.setattr(Stream, "take", shuffled)
    assert run(tmp_path / "b", tiny_run, 2, call_size=1) == expected


@pytest.mark.parametrize("answers", [5, pytest.param(13, marks=pytest.mark.slow)])
def test_an_interrupted_search_makes_the_same_calls(tiny_run, tmp_path, monkeypatch, answers):
    """Killed while several rounds are open, some of their molecules answered."""
    chance = random.Random(2)
    take = Stream.take

    def shuffled(self):
        self._waiting.rotate(chance.randrange(len(self._waiting)))
        return take(self)

    monkeypatch.setattr(Stream, "take", shuffled)
    options = {"call_size": 1, "given": ["CC(=O)Oc1ccccc1C(=O)O"], "budget": 6 + answers}
    expected = run(tmp_path, tiny_run, 2, **options)
    path = tmp_path / "run.calls.csv"
    whole = path.read_text().splitlines(keepends=True)
    last = [i for i, line in enumerate(whole) if ",answered," in line][answers - 1]
    path.write_text("".join(whole[: last + 1]))
    (tmp_path / "run.csv").unlink()
    assert run(tmp_path, tiny_run, 2, resume=True, **options) == expected


def test_what_does_not_fit_is_refused(tiny_run, tmp_path):
    for ahead in (-1, 11):
        with pytest.raises(ConfigError, match=f"ahead: got {ahead}, expected from 0 to 10"):
            run(tmp_path, tiny_run, ahead)
    pytest.importorskip("cma", reason="the extra 'bo'")
    with pytest.raises(ConfigError, match="method cma needs the answers"):
        run(tmp_path, tiny_run, 1, method="cma")
    assert not (tmp_path / "run.calls.csv").exists()
