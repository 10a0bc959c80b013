"""The solver: against scikit-learn, and against the conditions of a minimum."""

import numpy as np
import pytest

from molvae.realism.inputs import SparseRows
from molvae.realism.logistic import Fit, decision, fit_logistic, log_loss, some_rows


@pytest.fixture(scope="module")
def data():
    """(dense matrix, the same as rows, classes), 400 rows of 30 inputs, classes of unequal size."""
    draw = np.random.default_rng(0)
    dense = draw.poisson(0.4, size=(400, 30)) * draw.uniform(0.5, 2.0, size=(400, 30))
    dense[:, 0] = 1.0  # no row is empty
    chance = 1 / (1 + np.exp(-(dense @ draw.normal(size=30) - 1.0)))
    return dense, rows_of(dense), draw.uniform(size=400) < chance * 0.6


def rows_of(dense):
    places = np.nonzero(dense)
    offsets = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    return SparseRows(offsets, places[1], dense[places], dense.shape[1])


@pytest.mark.parametrize("c", [0.001, 0.1, 10.0])
def test_weights_are_those_of_scikit_learn(data, c):
    linear_model = pytest.importorskip("sklearn.linear_model")
    dense, rows, real = data
    theirs = linear_model.LogisticRegression(
        C=c, class_weight="balanced", tol=1e-10, max_iter=10_000
    ).fit(dense, real)
    ours = fit_logistic(rows, real, c=c, tolerance=1e-10)
    np.testing.assert_allclose(ours.weights, theirs.coef_[0], atol=5e-5)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=5e-5)
    np.testing.assert_allclose(decision(rows, ours), theirs.decision_function(dense), atol=1e-4)


def test_a_prior_mean_shifts_the_penalty(data):
    """The gradient of what is minimized, written out densely, is zero."""
    dense, rows, real = data
    mean = np.random.default_rng(1).normal(size=30)
    fit = fit_logistic(rows, real, c=0.05, mean=mean, tolerance=1e-10)
    p = 1 / (1 + np.exp(-(dense @ fit.weights + fit.intercept)))
    sample = np.where(real, 400 / (2 * real.sum()), 400 / (2 * (~real).sum()))
    gradient = dense.T @ (sample * (p - real)) + (fit.weights - mean) / 0.05
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    assert abs(sample @ (p - real)) < 1e-4


def test_a_strong_penalty_leaves_the_prior_mean(data):
    _, rows, real = data
    mean = np.random.default_rng(1).normal(size=30)
    fit = fit_logistic(rows, real, c=1e-9, mean=mean, tolerance=1e-9)
    np.testing.assert_allclose(fit.weights, mean, atol=1e-4)


def test_where_it_starts_does_not_matter(data):
    _, rows, real = data
    start = Fit(np.full(30, 3.0), -5.0)
    one = fit_logistic(rows, real, c=0.1, tolerance=1e-9)
    other = fit_logistic(rows, real, c=0.1, tolerance=1e-9, start=start)
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-5)


def test_separable_classes_converge():
    dense = np.column_stack([np.ones(100), np.arange(100) >= 50])
    fit = fit_logistic(rows_of(dense), np.arange(100) >= 50, c=1.0)
    assert np.isfinite(fit.weights).all()
    assert fit.weights[1] > 1


def test_one_class_alone_is_an_error(data):
    _, rows, real = data
    with pytest.raises(ValueError, match="both classes"):
        fit_logistic(rows, np.ones_like(real), c=1.0)


def test_rows_can_be_chosen(data):
    dense, rows, _ = data
    chosen = np.asarray([5, 3, 399])
    fit = Fit(np.arange(30.0), 2.0)
    np.testing.assert_allclose(
        decision(some_rows(rows, chosen), fit), dense[chosen] @ fit.weights + 2
    )


def test_the_loss_is_that_of_scikit_learn(data):
    metrics = pytest.importorskip("sklearn.metrics")
    dense, _, real = data
    logits = np.round(dense.sum(axis=1) / 10 - 1, 1)
    p = 1 / (1 + np.exp(-logits))
    sample = np.where(real, 1 / real.sum(), 1 / (~real).sum())
    assert log_loss(logits, real) == pytest.approx(metrics.log_loss(real, p, sample_weight=sample))
