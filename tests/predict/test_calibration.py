"""Intervals and probabilities on data whose distribution is known."""

import numpy as np
import pytest

from molvae.errors import ModelFolderError
from molvae.predict.calibration import SCORES, Calibration
from molvae.predict.classifier import Logistic
from molvae.predict.domain import LEAST_SIMILARITY, domain_threshold


def test_normal_errors_give_the_normal_quantiles():
    fitted = Calibration.fit(np.random.default_rng(0).normal(size=20_000))
    assert fitted.quantile(0.95) == pytest.approx(1.645, abs=0.05)
    assert fitted.quantile(0.5) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("draw", ["laplace", "skewed", "wide"])
def test_ninety_percent_are_ninety_percent(draw):
    rng = np.random.default_rng(1)
    make = {
        "laplace": lambda n: rng.laplace(size=n),
        "skewed": lambda n: rng.exponential(size=n) - 1,
        "wide": lambda n: 3 * rng.normal(size=n),
    }[draw]
    fitted = Calibration.fit(make(2000))
    new = make(20_000)
    share = np.mean((new > fitted.quantile(0.05)) & (new < fitted.quantile(0.95)))
    assert share == pytest.approx(0.9, abs=0.02)
    assert fitted.cdf(np.asarray([1.0]))[0] == pytest.approx(np.mean(new < 1), abs=0.03)


def test_cdf_and_quantile_are_inverse_also_far_out():
    fitted = Calibration.fit(np.random.default_rng(2).laplace(size=300))
    levels = np.asarray([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6])
    z = np.asarray([fitted.quantile(level) for level in levels])
    np.testing.assert_allclose(fitted.cdf(z), levels, rtol=1e-3)
    assert fitted.cdf(np.asarray([-np.inf, np.inf])).tolist() == [0, 1]


@pytest.mark.parametrize("errors", [[], [0.0], [0.0] * 50, [np.nan, 1.0]])
def test_few_or_equal_errors(errors):
    fitted = Calibration.fit(np.asarray(errors, dtype=float))
    assert (np.diff(fitted.quantiles) > 0).all()
    assert Calibration.from_json(fitted.to_json()) == fitted


def test_errors_that_grow_far_from_the_data_are_covered_there():
    rng = np.random.default_rng(4)
    similarity = rng.random(4000)
    errors = rng.normal(size=4000) * np.exp(1.5 - 1.5 * similarity)
    calibration = Calibration.fit(errors, similarity)
    assert calibration.slope == pytest.approx(-1.5, abs=0.35)
    for far in (0.1, 0.9):
        scale = calibration.scale(np.asarray([far]))[0]
        new = rng.normal(size=20_000) * np.exp(1.5 - 1.5 * far)
        low, high = (scale * calibration.quantile(level) for level in (0.05, 0.95))
        assert np.mean((new > low) & (new < high)) == pytest.approx(0.9, abs=0.04)
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_intervals_are_never_narrower_far_from_the_data():
    rng = np.random.default_rng(5)
    similarity = rng.random(500)
    calibration = Calibration.fit(rng.normal(size=500) * np.exp(similarity), similarity)
    assert calibration.scale(np.asarray([0.0, 1.0])).tolist() == [1, 1]


RISING = SCORES.tolist()


@pytest.mark.parametrize(
    "quantiles", [None, [], [0.0] * len(SCORES), ["a"] * len(SCORES), {}, [*RISING[:-1], np.inf]]
)
def test_damaged_quantiles_are_refused(quantiles):
    with pytest.raises(ModelFolderError, match="rising"):
        Calibration.from_json({"quantiles": quantiles, "slope": 0.0, "middle": 0.5})


@pytest.mark.parametrize(
    "data",
    [
        None,
        RISING,
        {"quantiles": RISING},
        {"quantiles": RISING, "slope": 0.5, "middle": 0.5},
        {"quantiles": RISING, "slope": -99, "middle": 0.5},
        {"quantiles": RISING, "slope": "-1", "middle": 0.5},
        {"quantiles": RISING, "slope": -1, "middle": np.nan},
    ],
)
def test_a_damaged_scale_is_refused(data):
    with pytest.raises(ModelFolderError, match=r"slope"):
        Calibration.from_json(data)


def test_logistic_recovers_the_curve():
    rng = np.random.default_rng(3)
    x = rng.normal(size=5000) * 0.2 + 0.4
    y = (rng.random(5000) < 1 / (1 + np.exp(-(8 * x - 3)))).astype(float)
    fitted = Logistic.fit(x, y)
    assert fitted.slope == pytest.approx(8, rel=0.1)
    assert fitted.offset == pytest.approx(-3, rel=0.1)
    assert fitted(x).mean() == pytest.approx(y.mean(), abs=0.01)


@pytest.mark.parametrize(("labels", "share"), [([0.0] * 8, 0.1), ([1.0] * 8, 0.9)])
def test_one_answer_only(labels, share):
    fitted = Logistic.fit(np.arange(8.0), np.asarray(labels))
    assert fitted.slope == 0
    assert fitted(np.asarray([100.0]))[0] == pytest.approx(share)


def test_wrong_way_round_gives_the_base_rate():
    fitted = Logistic.fit(np.arange(40.0), (np.arange(40) < 20).astype(float))
    assert fitted.slope == 0
    assert fitted(np.asarray([-5.0, 50.0])) == pytest.approx(0.5)


def test_domain_threshold():
    assert domain_threshold(np.linspace(0, 1, 101)) == pytest.approx(LEAST_SIMILARITY)
    assert domain_threshold(np.full(10, 0.8)) == pytest.approx(0.8)
    assert domain_threshold(np.zeros(0)) == LEAST_SIMILARITY
