"""Gaussian process regression on molecules: exact for a few thousand, sparse with a local
correction for more.

Model: value = constant + f(molecule) + noise, where f has the covariance ``amplitude * K`` and the
noise the variance ``amplitude * noise``. The constant is estimated by generalized least squares,
the amplitude in closed form, the weights of the kernel's parts and the noise by maximum marginal
likelihood (Rasmussen & Williams 2006, section 5.4) with a weak prior.

*Exact* (:class:`ExactProcess`): universal kriging, with leave-one-out residuals in closed form
(Dubrule 1983). *Sparse* (:class:`SparseProcess`): the projected process on inducing molecules
(Seeger et al. 2003; the posterior of Titsias 2009), then simple kriging of its residuals over the
nearest training molecules, the idea of full-scale approximations (Sang & Huang 2012). The inducing
molecules carry the trend, the neighbors what is local; alone, either loses a third of the way from
the mean to the exact process.

Shapes: ``N`` training molecules, ``M`` queries, ``U`` inducing molecules, ``K`` neighbors,
``P`` parts of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molvae.runtime.light import light_optimizer

__all__ = [
    "DEFAULT",
    "ExactProcess",
    "Hyperparameters",
    "SparseProcess",
    "fit_hyperparameters",
    "krige",
    "log_ratio",
    "nearest_columns",
]

_Floats = NDArray[np.float64]
_Singles = NDArray[np.float32]
_Ints = NDArray[np.int64]

PRIOR = 1.5  # standard deviation of the logarithms of weights and noise around the default
LEAST_NOISE = 1e-4  # relative to the amplitude; keeps the Cholesky factor well conditioned
JITTER = 1e-5
NOISES = (1.0, 3.0, 10.0, 30.0)  # multiples of the noise that a sparse process chooses from
_STEPS = 25  # of the optimizer


@dataclass(frozen=True)
class Hyperparameters:
    """What the marginal likelihood decides."""

    weights: tuple[float, ...]  # (P,) of the kernel's parts; they sum to 1
    noise: float  # variance of the noise relative to the amplitude


DEFAULT = Hyperparameters((0.45, 0.25, 0.3), 0.1)


def fit_hyperparameters(parts: Sequence[NDArray[np.floating]], values: _Floats) -> Hyperparameters:
    """Weights and noise of greatest marginal likelihood times prior.

    ``parts`` are the kernel's parts among the molecules, each (N, N). A few molecules, or a
    constant column, leave the default nearly as it is. Takes some ten factorizations of N × N.
    """
    import torch

    scale = float(values.std()) if len(values) > 2 else 0.0
    if not scale > 0:
        return DEFAULT
    scaled = (values - values.mean()) / scale
    matrices = [np.asarray(part, dtype=np.float64) for part in parts]
    start = np.log([*DEFAULT.weights, DEFAULT.noise])
    position = torch.tensor(start, requires_grad=True)
    optimizer = light_optimizer(torch.optim.LBFGS)(
        [position], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-3
    )

    def closure() -> torch.Tensor:
        here = position.detach().numpy()
        cost, gradient = _cost(matrices, scaled, here)
        away = here - start
        position.grad = torch.from_numpy(gradient + away / PRIOR**2)
        return torch.tensor(cost + 0.5 * float(away @ away) / PRIOR**2)

    optimizer.step(closure)
    amplitudes = np.exp(position.detach().numpy())
    if not np.isfinite(amplitudes).all():  # the line search can leave the range of floats
        return DEFAULT
    total = float(amplitudes[:-1].sum())
    weights = tuple(float(weight) / total for weight in amplitudes[:-1])
    return Hyperparameters(weights, max(float(amplitudes[-1]) / total, LEAST_NOISE))


def _cost(parts: list[_Floats], values: _Floats, logs: _Floats) -> tuple[float, _Floats]:
    """(negative log marginal likelihood, its gradient) at log weights and log noise (P + 1,).

    Rasmussen & Williams 2006, equations 2.30 and 5.9; the constant is the best one.
    """
    scales = np.exp(np.clip(logs, -20, 20))
    total = sum(scale * part for scale, part in zip(scales, parts, strict=False))
    noise = max(float(scales[-1]), LEAST_NOISE)
    covariance = total + (noise + JITTER) * np.eye(len(values))
    factor = _cholesky(covariance)
    inverse = _inverse(factor)
    ones = inverse.sum(axis=1)
    solved = inverse @ values - ones * float(ones @ values) / float(ones.sum())
    likelihood = -0.5 * float(values @ solved) - float(np.log(np.diag(factor)).sum())
    gradient = [
        -0.5 * scale * (float(solved @ part @ solved) - float(np.vdot(inverse, part)))
        for scale, part in zip(scales, parts, strict=False)
    ]
    gradient.append(-0.5 * noise * (float(solved @ solved) - float(np.trace(inverse))))
    return -likelihood, np.asarray(gradient)


def _cholesky(matrix: _Floats) -> _Floats:
    """Lower Cholesky factor. torch's is taken: it uses the threads that training uses."""
    import torch

    factor: _Floats = torch.linalg.cholesky(torch.from_numpy(matrix)).numpy()
    return factor


def _inverse(factor: _Floats) -> _Floats:
    """The inverse of the matrix with this Cholesky factor."""
    import torch

    inverse: _Floats = torch.cholesky_inverse(torch.from_numpy(factor)).numpy()
    return inverse


def _solve(factor: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.floating]:
    """``factor^-1 right`` of a lower triangular factor (N, N) and columns (N, M)."""
    import torch

    a, b = torch.from_numpy(factor), torch.from_numpy(np.ascontiguousarray(right))
    solved: NDArray[np.floating] = torch.linalg.solve_triangular(a, b, upper=False).numpy()
    return solved


class ExactProcess:
    """Posterior given all training values."""

    def __init__(self, kernel: NDArray[np.floating], values: _Floats, noise: float) -> None:
        """``kernel`` (N, N) among the training molecules, ``values`` (N,)."""
        covariance = np.array(kernel, dtype=np.float64)
        covariance.flat[:: len(values) + 1] += noise + JITTER
        self.noise = noise
        self._factor = _cholesky(covariance)
        del covariance
        ends = _solve(self._factor, np.stack([np.ones(len(values)), values], axis=1))
        ones, known = ends.T
        self._precision = float(ones @ ones)  # 1ᵀ K⁻¹ 1
        self.constant = float(ones @ known) / self._precision
        self._ones, self._known = ones, known - self.constant * ones
        # One degree of freedom went into the constant.
        self.amplitude = float(self._known @ self._known) / max(len(values) - 1, 1)

    def predict(self, cross: NDArray[np.floating]) -> tuple[_Floats, _Floats]:
        """(mean, variance of a new measurement), both (M,), from kernel rows (M, N)."""
        solved = _solve(self._factor, cross.T.astype(np.float64))  # (N, M)
        mean = self.constant + self._known @ solved
        unsure = (1.0 - self._ones @ solved) ** 2 / self._precision  # of the constant
        variance = 1.0 + self.noise - np.square(solved).sum(axis=0) + unsure
        return mean, self.amplitude * np.maximum(variance, self.noise)

    def left_out(self, clusters: _Ints | None = None) -> tuple[_Floats, _Floats]:
        """Of each training value, both (N,): (its residual, the variance), predicted by the others.

        Dubrule 1983: with P the inverse covariance after the constant is taken out, the residual is
        ``(P y)_i / P_ii`` and its variance ``amplitude / P_ii``. With ``clusters`` (N,), a number
        for each molecule, its whole cluster C is left out: ``P_CC^-1 (P y)_C``. Give at least two.
        """
        inverse = _inverse(self._factor)
        ones = inverse.sum(axis=1)
        solved = _back(self._factor, self._known)
        if clusters is None:
            diagonal = np.diag(inverse) - ones**2 / self._precision
            diagonal = np.maximum(diagonal, 1e-12)  # a single molecule: nothing is left
            return solved / diagonal, self.amplitude / diagonal
        residuals, variance = np.empty(len(ones)), np.empty(len(ones))
        order = np.argsort(clusters, kind="stable")
        for items in np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1):
            block = inverse[np.ix_(items, items)]
            block -= np.outer(ones[items], ones[items]) / self._precision
            inverted = np.linalg.inv(block)
            residuals[items] = inverted @ solved[items]
            variance[items] = self.amplitude * np.diag(inverted)
        return residuals, variance


def _back(factor: _Floats, right: _Floats) -> _Floats:
    """``factor^-T right`` of a lower triangular factor (N, N) and a vector (N,)."""
    import torch

    a, b = torch.from_numpy(factor).T, torch.from_numpy(right)[:, None]
    solved: _Floats = torch.linalg.solve_triangular(a, b, upper=True)[:, 0].numpy()
    return solved


class SparseProcess:
    """Posterior of the projected process, given what N training molecules say of U inducing ones.

    Training molecules are added in blocks by :meth:`add`; :meth:`finish` solves for the weights.
    With ``L`` the Cholesky factor of the kernel among the inducing molecules and
    ``v = L^-1 k(inducing, x)``, the posterior is Bayesian linear regression on ``v``.
    """

    def __init__(self, inducing: NDArray[np.floating], noise: float) -> None:
        """``inducing``: kernel (U, U) among the inducing molecules."""
        kernel = np.array(inducing, dtype=np.float64)
        size = len(kernel)
        kernel.flat[:: size + 1] += JITTER
        self.noise = noise
        self._factor = _cholesky(kernel)
        self._single = self._factor.astype(np.float32)
        # Regression on v and the constant: both are solved for together.
        self._gram = np.zeros((size + 1, size + 1))
        self._right = np.zeros(size + 1)
        self._square, self._count = 0.0, 0
        self.coefficients, self.amplitude = np.zeros(size + 1), 1.0
        self._posterior = np.zeros((0, 0))

    def add(self, cross: NDArray[np.floating], values: _Floats) -> _Singles:
        """Take in training molecules: kernel rows (B, U) and values (B,); returns v, (B, U)."""
        points = self.project(cross)
        extended = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1)
        self._gram += extended.T @ extended
        self._right += extended.T.astype(np.float64) @ values
        self._square += float(values @ values)
        self._count += len(values)
        return points

    def finish(self) -> None:
        """Solve for the posterior once all molecules are in.

        What the inducing molecules cannot follow looks like noise to this process: its noise is the
        multiple of the exact one with the greatest marginal likelihood.
        """
        tried = [(self._solved(self.noise * factor), self.noise * factor) for factor in NOISES]
        (_, self.amplitude, self._posterior, self.coefficients), self.noise = max(
            tried, key=lambda trial: trial[0][0]
        )

    def _solved(self, noise: float) -> tuple[float, float, _Floats, _Floats]:
        """(log marginal likelihood, amplitude, posterior factor, coefficients) at a noise."""
        precision = self._gram / noise
        size = len(precision) - 1
        precision.flat[: size * (size + 1) : size + 2] += 1.0  # prior of v: N(0, I)
        precision[size, size] += 1e-9  # of the constant: flat
        factor = _cholesky(precision)
        forward = _solve(factor, self._right[:, None] / noise)[:, 0].astype(np.float64)
        # yᵀ (K + noise)⁻¹ y and its determinant by the matrix inversion lemma.
        rest = self._square / noise - float(forward @ forward)
        amplitude = max(rest, 1e-300) / max(self._count - 1, 1)
        likelihood = -0.5 * self._count * math.log(amplitude * noise)
        likelihood -= float(np.log(np.diag(factor)).sum())
        return likelihood, amplitude, factor, _back(factor, forward)

    def state(self) -> dict[str, NDArray[np.floating]]:
        """What :meth:`restore` needs; the rest follows from the inducing molecules."""
        return {
            "coefficients": self.coefficients,
            "posterior": self._posterior[np.tril_indices(len(self._posterior))].astype(np.float32),
        }

    def restore(
        self, state: dict[str, NDArray[np.floating]], amplitude: float, noise: float
    ) -> None:
        """Take over a posterior."""
        size = len(self.coefficients)
        factor = np.zeros((size, size))
        factor[np.tril_indices(size)] = state["posterior"]
        self._posterior, self.amplitude = factor, amplitude
        self.noise = noise
        self.coefficients = np.asarray(state["coefficients"], dtype=np.float64)

    def project(self, cross: NDArray[np.floating]) -> _Singles:
        """v of molecules, (B, U), from kernel rows (B, U)."""
        solved = _solve(self._single, cross.T.astype(np.float32))
        return np.asarray(solved.T, dtype=np.float32)

    def predict(self, points: _Singles) -> tuple[_Floats, _Floats, _Floats]:
        """(mean, variance of the trend, share that the inducing molecules leave open), (M,) each.

        ``points``: v of M queries (M, U). The variance is without noise and without that share;
        the share is ``1 - |v|^2``, from 0 to 1.
        """
        extended = np.concatenate([points, np.ones((len(points), 1), np.float32)], axis=1)
        mean = extended.astype(np.float64) @ self.coefficients
        spread = _solve(self._posterior, extended.T.astype(np.float64))
        variance = self.amplitude * np.square(spread).sum(axis=0)
        left = np.clip(1.0 - np.square(points, dtype=np.float64).sum(axis=1), 0.0, 1.0)
        return mean, variance, left

    def left_out(self, points: _Singles, values: _Floats) -> _Floats:
        """Residual of each of these training molecules when the others predict it, (B,).

        Of linear regression: the residual over one minus the leverage.
        """
        mean, variance, _ = self.predict(points)
        leverage = variance / self.amplitude / self.noise
        residual: _Floats = (values - mean) / np.maximum(1.0 - leverage, 0.05)
        return residual


def krige(
    between: NDArray[np.floating],
    cross: NDArray[np.floating],
    values: NDArray[np.floating],
    noise: float,
) -> tuple[_Floats, _Floats]:
    """Simple kriging of each of M queries from its K neighbors.

    ``between`` (M, K, K) covariance among the neighbors, ``cross`` (M, K) with the query,
    ``values`` (M, K) at the neighbors. Returns (mean, share of the variance explained), (M,) each.
    """
    import torch

    covariance = torch.from_numpy(np.asarray(between, dtype=np.float64))
    covariance = covariance + noise * torch.eye(covariance.shape[1], dtype=torch.float64)
    right = torch.from_numpy(np.asarray(cross, dtype=np.float64))[:, :, None]
    weights = torch.cholesky_solve(right, torch.linalg.cholesky(covariance))[:, :, 0].numpy()
    explained = np.clip((weights * cross).sum(axis=1), 0.0, 1.0)
    return (weights * values).sum(axis=1), explained


def nearest_columns(similarity: NDArray[np.floating], count: int) -> _Ints:
    """The ``count`` greatest of each row, most similar first, ties by number; (M, count)."""
    count = min(count, similarity.shape[1])
    if count < similarity.shape[1]:
        top = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    else:
        top = np.tile(np.arange(count), (len(similarity), 1))
    top = np.sort(top, axis=1)
    order = np.argsort(-np.take_along_axis(similarity, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1).astype(np.int64)


def log_ratio(residuals: _Floats, sd: _Floats) -> _Floats:
    """How much larger errors were than stated, as logarithms; bounded below."""
    ratio: _Floats = np.log(np.abs(residuals) / np.maximum(sd, math.ulp(1.0)) + 0.1)
    return ratio
