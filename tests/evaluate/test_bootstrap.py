"""Intervals against the textbook bootstrap, written out."""

import sys

import numpy as np
import pytest

from molvae.chem.fingerprints import tanimoto
from molvae.evaluate import Options, evaluate_smiles, metrics
from molvae.evaluate.bootstrap import Bootstrap, difference, interval, with_interval
from molvae.evaluate.metrics import Metric, Occurrences, frechet
from molvae.evaluate.metrics.similarity import similarity_sums
from molvae.runtime.randomness import Draws


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def bootstrap(n, count=600):
    return Bootstrap(n, Draws(3), "test", count)


def naive(n, metric, count=600):
    """The metric of ``count`` draws of n molecules, by their numbers."""
    rng = np.random.default_rng(5)
    return np.asarray([metric(rng.integers(0, n, n)) for _ in range(count)])


def same_spread(found, expected, tolerance=0.15):
    assert found.std() == pytest.approx(expected.std(), rel=tolerance)


def test_a_mean(rng):
    values = rng.normal(size=200) ** 2
    boot = bootstrap(200)
    boot.mean("x", values)
    result = boot.run()["x"]
    assert result.mean() == pytest.approx(values.mean(), rel=0.02)
    same_spread(result, naive(200, lambda i: values[i].mean()))
    assert result.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.1)


def test_a_mean_of_what_is_known(rng):
    values = np.where(rng.random(300) < 0.3, np.nan, rng.normal(size=300))
    boot = bootstrap(300)
    boot.mean("x", values)
    same_spread(boot.run()["x"], naive(300, lambda i: np.nanmean(values[i])))


def test_a_ratio_is_binomial():
    boot = bootstrap(1)
    flags = (np.arange(1000) < 900).astype(float)
    boot.ratio("valid", flags, np.ones(1000))
    result = boot.run()["valid"]
    assert result.mean() == pytest.approx(0.9, abs=0.002)
    assert result.std() == pytest.approx(np.sqrt(0.9 * 0.1 / 1000), rel=0.1)


def test_cosines(rng):
    lists = [[str(k) for k in rng.integers(0, 8, 3)] for _ in range(150)]
    reference = {str(k): 10 + 7 * k for k in range(9)}
    mine = Occurrences.of(lists)
    boot = bootstrap(150)
    boot.cosine("Frag", mine, reference)

    def plain(drawn):
        counts = {}
        for i in drawn:
            for name in lists[i]:
                counts[name] = counts.get(name, 0) + 1
        return metrics.cosine(counts, reference)

    result = boot.run()["Frag"]
    expected = naive(150, plain)
    same_spread(result, expected)
    assert result.mean() == pytest.approx(expected.mean(), abs=0.002)


@pytest.mark.parametrize("size", [100, 3000])
def test_wasserstein_distances(size, rng):
    values, reference = rng.normal(size=size), rng.normal(size=2 * size) + 0.7
    boot = bootstrap(size, 300)
    exact = metrics.wasserstein(values, reference)
    boot.wasserstein("W1", values, reference, exact)
    result = boot.run()["W1"]
    expected = naive(size, lambda i: metrics.wasserstein(values[i], reference), 300)
    same_spread(result, expected, 0.2)
    # Four standard errors of the difference of two means of 300 draws.
    assert result.mean() == pytest.approx(
        expected.mean(), abs=4 * expected.std() * (2 / 300) ** 0.5
    )


def test_internal_diversity_moves_by_influences(rng):
    # As in evaluate: molecules drawn twice do not become near duplicates, so pairs of a molecule
    # with itself are left out of the plain way too.
    bits = rng.random((120, 256)) < 0.15
    bits[:40, :60] |= rng.random((40, 60)) < 0.4
    prints = np.packbits(bits, axis=1)
    similarity = tanimoto(prints, prints).astype(float)
    means = similarity_sums(prints, (1,))[0] / 120
    boot = bootstrap(120)
    boot.mean("IntDiv", 1 - means.mean() - 2 * (means - means.mean()))

    def plain(drawn):
        others = drawn[:, None] != drawn[None, :]
        return 1 - similarity[np.ix_(drawn, drawn)][others].mean()

    same_spread(boot.run()["IntDiv"], naive(120, plain), 0.15)


@pytest.mark.parametrize("n", [120, pytest.param(4000, marks=pytest.mark.slow)])
def test_the_influence_on_the_second_diversity_is_its_derivative(n, monkeypatch):
    judge = sys.modules["molvae.evaluate.judge"]
    monkeypatch.setattr(judge, "PARTNERS", 100_000 if n < 1000 else 3_000)
    tails = ("C", "OC", "C", "NC")
    rings = [f"{'C' * (1 + i % 7)}c1ccc({tails[i % 4]})cc1" for i in range(n // 2)]
    texts = [*rings, *["CCO"] * (n // 2)]
    made = {}
    monkeypatch.setattr(
        judge.Bootstrap, "mean", lambda self, name, values: made.update({name: values})
    )
    evaluate_smiles(texts, options=Options(chemnet=False, workers=0))
    prints = metrics.describe(texts).fingerprints
    squares = tanimoto(prints, prints).astype(float) ** 2

    def diversity(weights):
        weights = weights / weights.sum()
        return 1 - weights @ np.sqrt(squares @ weights)

    for i in (0, n - 1):
        weights = np.full(n, 1 / n)
        moved = weights * (1 - 1e-5)
        moved[i] += 1e-5
        slope = (diversity(moved) - diversity(weights)) / 1e-5
        expected = made["IntDiv2"][i] - made["IntDiv2"].mean()
        assert slope == pytest.approx(expected, rel=0.05)


def test_chemnet_distances_move_by_influences(rng):
    rows, other = rng.normal(size=(500, 4)) * [1, 1, 2, 3], rng.normal(size=(500, 4)) + 1
    a, b = frechet.Moments.of(rows), frechet.Moments.of(other)
    boot = bootstrap(500)
    boot.mean("FCD", frechet.influences(rows, a, b) + frechet.frechet_distance(a, b))
    expected = naive(500, lambda i: frechet.frechet_distance(frechet.Moments.of(rows[i]), b))
    same_spread(boot.run()["FCD"], expected)


def test_intervals_are_centred_and_not_negative():
    draws = np.linspace(0.0, 1.0, 1001)
    assert interval(draws, 3.0) == pytest.approx((2.525, 3.475))
    result = with_interval(Metric(0.1, 5), draws)
    assert result.interval == pytest.approx((0, 0.575))
    assert with_interval(Metric(0.9, 5), draws, most=1.0).interval == pytest.approx((0.425, 1))
    assert with_interval(Metric(None, 0), draws).interval is None
    assert with_interval(Metric(0.1, 5), None).interval is None


def test_a_difference_has_the_spread_of_both():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 0.3, 4000), rng.normal(2, 0.4, 4000)
    result = difference(Metric(1.0, 9), Metric(2.0, 9), a, b)
    assert result["value"] == 1
    assert result["interval"] == pytest.approx([1 - 1.96 * 0.5, 1 + 1.96 * 0.5], abs=0.06)
    assert difference(Metric(1.0, 9), Metric(None, 0), a, b) == {"value": None}
    assert "interval" not in difference(Metric(1.0, 9), Metric(2.0, 9), None, b)


def test_nothing_is_drawn_of_nothing():
    boot = bootstrap(0)
    boot.mean("x", np.empty(0))
    boot.ratio("y", np.empty(0), np.empty(0))
    boot.cosine("z", Occurrences.of([]), {"a": 1})
    assert boot.run() == {}
    none = bootstrap(3, 0)
    none.mean("x", np.ones(3))
    assert none.run() == {}


def test_draws_follow_the_seed_and_the_purpose(rng):
    values = rng.normal(size=50)

    def run(seed, purpose):
        boot = Bootstrap(50, Draws(seed), purpose, 100)
        boot.mean("x", values)
        boot.ratio("y", (values > 0).astype(float), np.ones(50))
        return boot.run()

    a, again, other = run(1, "a"), run(1, "a"), run(1, "b")
    for name in ("x", "y"):
        assert (a[name] == again[name]).all()
        assert (a[name] != other[name]).any()
