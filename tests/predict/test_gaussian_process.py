"""The process against dense formulas and scikit-learn, sparse against exact."""

import numpy as np
import pytest

from molvae.predict.gaussian_process import (
    DEFAULT,
    JITTER,
    ExactProcess,
    SparseProcess,
    _cost,
    fit_hyperparameters,
    krige,
    nearest_columns,
)


def gaussian(a, b, length=1.0):
    return np.exp(-0.5 * np.square(a[:, None] - b[None]).sum(-1) / length**2)


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    x, new = rng.normal(size=(60, 2)), rng.normal(size=(7, 2))
    y = 5 + np.sin(2 * x[:, 0]) + x[:, 1] + 0.2 * rng.normal(size=60)
    return x, y, new


def test_prediction_equals_scikit_learns_with_a_vague_constant(problem):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel

    x, y, new = problem
    process = ExactProcess(gaussian(x, x), y, 0.1)
    mean, variance = process.predict(gaussian(new, x))
    vague = ConstantKernel(1e6, "fixed") + RBF(1.0, "fixed")
    other = GaussianProcessRegressor(vague, alpha=0.1 + JITTER, optimizer=None).fit(x, y)
    expected, sd = other.predict(new, return_std=True)
    np.testing.assert_allclose(mean, expected, rtol=1e-4)
    np.testing.assert_allclose(variance / process.amplitude, sd**2 + 0.1, rtol=1e-3)


def test_left_out_equals_fitting_without_each(problem):
    x, y, _ = problem
    whole = ExactProcess(gaussian(x, x), y, 0.1)
    residuals, variance = whole.left_out()
    for i in (0, 17, 59):
        rest = np.arange(60) != i
        part = ExactProcess(gaussian(x[rest], x[rest]), y[rest], 0.1)
        mean, spread = part.predict(gaussian(x[i : i + 1], x[rest]))
        assert y[i] - mean[0] == pytest.approx(residuals[i], rel=1e-3)
        expected = spread[0] / part.amplitude * whole.amplitude
        assert variance[i] == pytest.approx(expected, rel=1e-3)


def test_left_out_clusters_equal_fitting_without_them(problem):
    x, y, _ = problem
    whole = ExactProcess(gaussian(x, x), y, 0.1)
    clusters = np.arange(60) % 7
    residuals, variance = whole.left_out(clusters)
    for cluster in (0, 6):
        inside = clusters == cluster
        part = ExactProcess(gaussian(x[~inside], x[~inside]), y[~inside], 0.1)
        mean, spread = part.predict(gaussian(x[inside], x[~inside]))
        np.testing.assert_allclose(y[inside] - mean, residuals[inside], rtol=1e-3, atol=1e-5)
        expected = spread / part.amplitude * whole.amplitude
        np.testing.assert_allclose(variance[inside], expected, rtol=1e-3)
    single = whole.left_out(np.arange(60))
    np.testing.assert_allclose(single, whole.left_out(), rtol=1e-6)


def test_gradient_is_that_of_the_cost(problem):
    x, y, _ = problem
    parts, y = [gaussian(x, x), gaussian(x, x, 0.3)], (y - y.mean()) / y.std()
    at = np.log([0.6, 0.3, 0.2])
    _, gradient = _cost(parts, y, at)
    for i in range(3):
        step = np.eye(3)[i] * 1e-5
        slope = (_cost(parts, y, at + step)[0] - _cost(parts, y, at - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_marginal_likelihood_finds_the_noise_and_the_relevant_part():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 2))
    smooth, rough = gaussian(x, x), np.eye(300)
    y = np.linalg.cholesky(smooth + 1e-6 * rough) @ rng.normal(size=300)
    y += 0.3 * rng.normal(size=300)
    result = fit_hyperparameters([smooth, gaussian(x, x, 0.05), gaussian(x, x, 0.03)], y)
    assert result.weights[0] > 0.7
    assert 0.03 < result.noise < 0.3
    assert sum(result.weights) == pytest.approx(1)


@pytest.mark.parametrize("values", [np.zeros(0), np.ones(1), np.full(30, 2.0)])
def test_nothing_to_learn_leaves_the_default(values):
    kernel = np.eye(len(values))
    assert fit_hyperparameters([kernel] * 3, values) == DEFAULT


def test_sparse_with_all_molecules_inducing_is_exact(problem):
    x, y, new = problem
    exact = ExactProcess(gaussian(x, x), y, 0.1)
    sparse = SparseProcess(gaussian(x, x), 0.1)
    points = [sparse.add(gaussian(x[i : i + 20], x), y[i : i + 20]) for i in (0, 20, 40)]
    sparse.finish()
    assert sparse.noise == pytest.approx(0.1)
    mean, variance, left = sparse.predict(sparse.project(gaussian(new, x)))
    expected, spread = exact.predict(gaussian(new, x))
    np.testing.assert_allclose(mean, expected, atol=2e-2)
    assert sparse.amplitude == pytest.approx(exact.amplitude, rel=0.02)
    total = variance + sparse.amplitude * (left + 0.1)
    np.testing.assert_allclose(total, spread, rtol=0.05)
    residuals = sparse.left_out(points[1], y[20:40])
    np.testing.assert_allclose(residuals, exact.left_out()[0][20:40], atol=0.1)


def test_kriging_equals_the_dense_formula():
    rng = np.random.default_rng(5)
    x, new, y = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 2)), rng.normal(size=(4, 6))
    between = np.stack([gaussian(one, one) for one in x])
    cross = np.stack([gaussian(q[None], one)[0] for q, one in zip(new, x, strict=True)])
    mean, explained = krige(between, cross, y, 0.5)
    for i in range(4):
        solved = np.linalg.solve(between[i] + 0.5 * np.eye(6), np.stack([y[i], cross[i]], 1))
        np.testing.assert_allclose([mean[i], explained[i]], cross[i] @ solved, rtol=1e-6)


def test_nearest_columns_come_in_order_with_ties_by_number():
    similarity = np.asarray([[0.1, 0.9, 0.5, 0.9], [0.3, 0.3, 0.3, 0.2]])
    assert nearest_columns(similarity, 3).tolist() == [[1, 3, 2], [0, 1, 2]]
    assert nearest_columns(similarity, 9).shape == (2, 4)
