"""Logistic regression with a Gaussian prior on sparse rows, by Newton's method.

Minimized over weights w (D,) and an intercept b:

    sum_i s_i log(1 + exp(-y_i (x_i w + b))) + |w - m|^2 / (2 C)

with y = ±1, m the prior mean (0: the usual L2 penalty) and s_i such that both classes weigh the
same, N / 2 each; with m = 0 this is the objective of scikit-learn's LogisticRegression with
``class_weight="balanced"``. Each Newton step is solved by conjugate gradients that see the Hessian
in products only (truncated Newton; Lin, Weng & Keerthi 2008), preconditioned by its diagonal.

Shapes: ``N`` rows, ``D`` inputs; the intercept is the last entry of vectors (D + 1,).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from molvae.realism.inputs import SparseRows

__all__ = ["Fit", "decision", "fit_logistic", "log_loss", "some_rows"]

_Vector = NDArray[np.float64]

MOST_NEWTON = 50
MOST_GRADIENTS = 200  # conjugate gradient steps within a Newton step
SUFFICIENT = 1e-4  # share of the predicted decrease that a step must reach (Armijo 1966)
ROUNDING = 1e-13  # relative change of the loss that is no more than rounding


class Fit(NamedTuple):
    """A fitted regression."""

    weights: _Vector  # (D,)
    intercept: float


def some_rows(rows: SparseRows, chosen: NDArray[np.int64]) -> SparseRows:
    """The chosen rows, in their order."""
    sizes = np.diff(rows.offsets)[chosen]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    places = np.repeat(rows.offsets[:-1][chosen], sizes) + inside
    return SparseRows(offsets, rows.columns[places], rows.values[places], rows.width)


def decision(rows: SparseRows, fit: Fit) -> _Vector:
    """x w + b of every row, (N,)."""
    return _Product(rows).forward(np.append(fit.weights, fit.intercept))


def log_loss(logits: _Vector, real: NDArray[np.bool_]) -> float:
    """Mean of −log p(class) in nats, both classes weighing the same."""
    loss = np.logaddexp(0.0, np.where(real, -logits, logits))
    return float((loss[real].mean() + loss[~real].mean()) / 2)


class _Product:
    """Products with the matrix (N, D + 1), whose last column is all ones."""

    def __init__(self, rows: SparseRows) -> None:
        self.rows, self.sizes = rows, np.diff(rows.offsets)

    def forward(self, w: _Vector) -> _Vector:
        """X w, (N,). No row is empty: every molecule has a bin for its mass."""
        terms = self.rows.values * w[self.rows.columns]
        sums: _Vector = np.add.reduceat(terms, self.rows.offsets[:-1]) + w[-1]
        return sums

    def backward(self, r: _Vector, *, squared: bool = False) -> _Vector:
        """Xᵀ r, (D + 1,); ``squared``: of the matrix with its entries squared."""
        values = self.rows.values**2 if squared else self.rows.values
        spread = values * np.repeat(r, self.sizes)
        sums = np.bincount(self.rows.columns, weights=spread, minlength=self.rows.width)
        return np.append(sums, r.sum())


def fit_logistic(
    rows: SparseRows,
    real: NDArray[np.bool_],
    *,
    c: float,
    mean: _Vector | None = None,
    start: Fit | None = None,
    tolerance: float = 1e-4,
) -> Fit:
    """Weights and intercept for rows of which ``real`` (N,) says the class.

    ``mean`` (D,) is the prior mean, ``start`` where to begin. The fit ends when no entry of the
    gradient exceeds ``tolerance`` times N.
    """
    n, product = len(real), _Product(rows)
    counts = real.sum(), (~real).sum()
    if min(counts) == 0:
        raise ValueError("both classes need molecules")
    sample = np.where(real, n / (2 * counts[0]), n / (2 * counts[1]))
    sign = np.where(real, 1.0, -1.0)
    center = np.append(np.zeros(rows.width) if mean is None else mean, 0.0)
    penalty = np.append(np.full(rows.width, 1.0 / c), 0.0)

    def loss(w: _Vector, logits: _Vector) -> float:
        fitting = sample @ np.logaddexp(0.0, -sign * logits)
        return float(fitting + 0.5 * penalty @ (w - center) ** 2)

    w = center.copy() if start is None else np.append(start.weights, start.intercept)
    logits = product.forward(w)
    for _ in range(MOST_NEWTON):
        p = 0.5 * (1.0 + np.tanh(0.5 * logits))
        gradient = product.backward(sample * (p - real)) + penalty * (w - center)
        if np.abs(gradient).max() <= tolerance * n:
            break
        curvature = sample * p * (1.0 - p)
        step = _conjugate_gradients(product, curvature, penalty, gradient)
        # Searched along the line in logits, which costs one product for all lengths.
        along, before, slope, length = product.forward(step), loss(w, logits), gradient @ step, 1.0
        while loss(w + length * step, logits + length * along) > (
            before + SUFFICIENT * length * slope + ROUNDING * abs(before)
        ):
            length /= 2
            if length < 1e-6:  # only rounding errors are left
                return Fit(w[:-1], float(w[-1]))
        w, logits = w + length * step, logits + length * along
    return Fit(w[:-1], float(w[-1]))


def _conjugate_gradients(
    product: _Product, curvature: _Vector, penalty: _Vector, gradient: _Vector
) -> _Vector:
    """About −H⁻¹ gradient, H = Xᵀ diag(curvature) X + diag(penalty)."""

    def hessian(v: _Vector) -> _Vector:
        return product.backward(curvature * product.forward(v)) + penalty * v

    diagonal = product.backward(curvature, squared=True) + penalty
    norm = float(np.sqrt(gradient @ (gradient / diagonal)))
    # Looser far from the minimum, where the quadratic model is not worth solving exactly.
    enough = min(0.1, float(np.sqrt(np.abs(gradient).max() / len(curvature)))) * norm
    return _solve(hessian, -gradient, 1.0 / diagonal, enough)


def _solve(
    matrix: Callable[[_Vector], _Vector], right: _Vector, inverse: _Vector, enough: float
) -> _Vector:
    """x with matrix(x) = right, preconditioned by ``inverse``, to a residual norm of ``enough``."""
    x, residual = np.zeros_like(right), right.copy()
    scaled = inverse * residual
    direction, size = scaled.copy(), float(residual @ scaled)
    for _ in range(MOST_GRADIENTS):
        image = matrix(direction)
        rate = size / float(direction @ image)
        x += rate * direction
        residual -= rate * image
        scaled = inverse * residual
        before, size = size, float(residual @ scaled)
        if np.sqrt(size) <= enough:
            break
        direction = scaled + (size / before) * direction
    return x
