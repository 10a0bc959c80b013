"""A plane through the latent space: the two widest directions of some molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plane"]


@dataclass(frozen=True)
class Plane:
    """The first two principal components (Pearson 1901) of latent points, by singular values."""

    center: NDArray[np.float64]  # (Z,)
    axes: NDArray[np.float64]  # (2, Z), of length 1, or 0 where there is no such direction
    shares: tuple[float, float]  # of the variance of all Z dimensions, per axis

    @classmethod
    def fit(cls, means: NDArray[np.floating[Any]]) -> Plane:
        """The plane of points (N, Z), N at least 1.

        The sign of an axis is such that its largest loading is positive.
        """
        points = np.asarray(means, dtype=np.float64)
        centred = points - (center := points.mean(axis=0))
        axes, shares = np.zeros((2, points.shape[1])), [0.0, 0.0]
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        total = float((singular**2).sum())
        for k in range(min(2, len(singular)) if total > 0 else 0):
            axes[k] = np.sign(directions[k][np.abs(directions[k]).argmax()]) * directions[k]
            shares[k] = float(singular[k] ** 2) / total
        return cls(center, axes, (shares[0], shares[1]))

    def place(self, means: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Where points (N, Z) lie on the plane, (N, 2)."""
        placed: NDArray[np.float64] = (np.asarray(means, dtype=np.float64) - self.center) @ (
            self.axes.T
        )
        return placed
