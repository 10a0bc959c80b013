"""When a search last improved, its diversity over the calls, and patience."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem, DataStructs
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from molvae import chem
from molvae.errors import ConfigError
from molvae.objectives import parse_objective
from molvae.optimize.archive import Answer
from molvae.optimize.history import IdleCalls, history
from molvae.optimize.run import optimize

QED = parse_objective(["qed"])


def answer(number, *worth, smiles="C"):
    value = worth[0] if len(worth) == 1 else math.nan
    return Answer(number, 0, "x", smiles, worth, worth, value)


def idle(*rounds, pareto=False):
    calls = IdleCalls(pareto=pareto)
    for answers in rounds:
        calls.add(answers)
    return calls.count


@given(st.lists(st.integers(0, 9) | st.just(math.nan), max_size=40))
def test_a_call_improves_if_the_sum_of_the_ten_best_grows(values):
    def tops(count):
        return sorted((v + 1 for v in values[:count] if v == v), reverse=True)[:10]

    grows = [sum(tops(i + 1)) > sum(tops(i)) for i in range(len(values))]
    expected = len(list(itertools.takewhile(lambda better: not better, reversed(grows))))
    answers = [answer(i, value) for i, value in enumerate(values, 1)]
    assert idle(reversed(answers)) == expected
    assert idle(answers[:7], answers[7:]) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_a_call_improves_if_the_hypervolume_grows(rows):
    def volume(some):  # unit squares below and left of a point, from (0, 0)
        return len({(i, j) for x, y in some for i in range(x + 1) for j in range(y + 1)})

    grows = [volume(rows[: i + 1]) > volume(rows[:i]) for i in range(len(rows))]
    expected = len(list(itertools.takewhile(lambda better: not better, reversed(grows))))
    answers = [answer(i, *map(float, row)) for i, row in enumerate(rows, 1)]
    assert idle(answers, pareto=True) == expected
    assert idle(answers[:7], answers[7:], pareto=True) == expected


SMILES = ["CCO", "c1ccccc1C", "c1ccccc1CC", "C1CC1C", "CCN", "CCCl"] * 5


def test_a_history_has_twenty_points_of_values_and_diversity():
    answers = [answer(i, i % 7 / 10, smiles=text) for i, text in enumerate(SMILES, 1)]
    answers[3] = answer(4, math.nan, smiles="C1CC1C")
    points = history(answers[::-1], QED)
    assert [p["calls"] for p in points] == [round(30 * (i + 1) / 20) for i in range(20)]
    last, ten = points[-1], sorted(answers, key=lambda a: (-(a.value if a.value == a.value else -1),
                                                           a.number))[:10]  # fmt: skip
    assert last["best"] == 0.6
    assert last["top"] == pytest.approx(sum(a.value for a in ten) / 10)
    prints = [Chem.rdFingerprintGenerator.GetMorganGenerator(2, fpSize=1024).GetFingerprint(
        chem.parse(a.smiles)) for a in ten]  # fmt: skip
    similar = [DataStructs.TanimotoSimilarity(a, b) for a in prints for b in prints]
    assert last["top_diversity"] == pytest.approx(1 - sum(similar) / 100, abs=1e-6)
    assert last["scaffolds"] == len({MurckoScaffoldSmiles(text) for text in SMILES}) == 3
    # Two calls each: the fourth, in the second or third point, has no score.
    alone = next(p for p in points if p["calls"] == 4)
    assert alone["diversity"] is None
    json.dumps(points, allow_nan=False)
    assert history([], QED) == []


def test_a_pareto_history_has_the_size_of_the_front():
    objective = parse_objective(["qed", "logp"], pareto=True)
    answers = [answer(1, 0.0, 1.0), answer(2, 1.0, 0.0), answer(3, 2.0, 2.0)]
    points = history(answers, objective, pareto=True)
    assert [p["front"] for p in points] == [1, 2, 1]
    assert "best" not in points[0]


def test_patience_ends_a_search_that_does_not_improve(tmp_path, tiny_run):
    path = tmp_path / "flat.py"
    path.write_text("def flat(smiles: str) -> float:\n    return 1.0\n")
    objective, output = parse_objective([f"{path}:flat"]), tmp_path / "best.csv"
    page = tmp_path / "page.html"
    options = {"model": tiny_run, "workers": 0, "method": "sampling"}
    summary = optimize(output, objective, 100, patience=8, report=page, **options)
    # The first ten calls fill the ten best; rounds have four calls.
    assert summary.calls == 20
    assert "10 calls improved the ten best" in summary.reason
    assert [p["calls"] for p in summary.history] == list(range(1, 21))
    assert "diversity" in page.read_text()
    again = optimize(output, objective, 100, patience=8, resume=True, **options)
    assert (again.calls, again.made) == (20, 0)
    more = optimize(output, objective, 100, patience=12, resume=True, **options)
    assert more.calls == 24
    whole = tmp_path / "whole.csv"
    optimize(whole, objective, 100, patience=12, **options)
    log = [p.with_suffix(".calls.csv").read_bytes() for p in (output, whole)]
    assert log[0] == log[1]
    with pytest.raises(ConfigError, match="patience"):
        optimize(whole, objective, 24, patience=0, model=tiny_run, force=True)
