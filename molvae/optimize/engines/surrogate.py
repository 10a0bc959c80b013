"""Which candidates to spend the next calls on: a Gaussian process over fingerprints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.optimize.archive import Answer
from molvae.runtime.randomness import normal_quantile

__all__ = ["Surrogate", "gp_posterior", "leaders"]

BEST = 1000  # answers that it is fitted to
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)  # variances, in units of the values', to choose from
HOPE = 0.5  # standard deviations above the mean that a candidate is judged by
SAME = 0.7  # similarity from which on two molecules are of a kind
BITS = 2048


class Surrogate:
    """Predicts how answers rank, by a Tanimoto kernel over count fingerprints.

    A Gaussian process (Rasmussen & Williams 2006, algorithm 2.1) of the quantiles of N(0, 1) of the
    answers' ranks, so that the scale of the objective does not matter; the noise is the one of
    greatest marginal likelihood.
    """

    def __init__(self) -> None:
        self._rows: dict[str, NDArray[np.uint8]] = {}
        self._kernel = np.zeros((0, 0), dtype=np.float32)

    def kinds(self, ranked: Sequence[Answer]) -> list[str]:
        """The best one of each kind; ``ranked`` are the answers so far, best first."""
        self._read(ranked)
        known = list(self._rows)
        return [known[i] for i in leaders(self._kernel)]

    def order(self, smiles: Sequence[str], ranked: Sequence[Answer]) -> list[str]:
        """The molecules, most promising first; ``ranked`` are the answers so far, best first."""
        self._read(ranked)
        share = 1 - (np.arange(len(self._rows)) + 0.5) / len(self._rows)
        known, new = np.stack([*self._rows.values()]), _bits(smiles)
        mean, sd = gp_posterior(self._kernel, normal_quantile(share), tanimoto(known, new))
        promising = np.argsort(-(mean + HOPE * sd), kind="stable")
        return [smiles[i] for i in promising]

    def _read(self, ranked: Sequence[Answer]) -> None:
        """Fingerprints and kernel of the best; those of others are not needed again."""
        known = [answer.smiles for answer in ranked[:BEST]]
        if known == list(self._rows):
            return
        new = [smiles for smiles in known if smiles not in self._rows]
        rows = self._rows | dict(zip(new, _bits(new), strict=True))
        self._rows = {smiles: rows[smiles] for smiles in known}
        bits = np.stack([*self._rows.values()])
        self._kernel = tanimoto(bits, bits)


def leaders(similar: NDArray[np.float32]) -> list[int]:
    """The first one of each kind of N molecules of which each (N, N) is how similar.

    Sphere exclusion (Butina 1999), in the order given: a molecule is of a kind that is there
    already when the first of that kind is at least :data:`SAME` like it.
    """
    free, first_ones = np.ones(len(similar), dtype=np.bool_), []
    for i, row in enumerate(similar):
        if free[i]:
            first_ones.append(i)
            free &= row < SAME
    return first_ones


def _bits(smiles: Sequence[str]) -> NDArray[np.uint8]:
    mols = [mol for text in smiles if (mol := chem.parse(text)) is not None]
    return chem.fingerprints(mols, size=BITS, counts=True)


def gp_posterior(
    kernel: NDArray[np.float32], values: NDArray[np.float64], cross: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (M,) at M points from values (N,) at others.

    ``kernel`` (N, N) is the covariance of these, ``cross`` (N, M) of these with those.
    """
    covariance, shared = torch.from_numpy(kernel).double(), torch.from_numpy(cross).double()
    y, best, chosen = torch.from_numpy(values)[:, None], -math.inf, covariance
    for noise in NOISES:
        factor = torch.linalg.cholesky(covariance + noise * torch.eye(len(covariance)).double())
        solved = torch.linalg.solve_triangular(factor, y, upper=False)
        likelihood = float(-0.5 * solved.square().sum() - factor.diagonal().log().sum())
        if likelihood > best:
            best, chosen, weights = likelihood, factor, solved
    shared = torch.linalg.solve_triangular(chosen, shared, upper=False)
    variance = 1.0 - shared.square().sum(dim=0)
    mean = (shared.T @ weights)[:, 0]
    return mean.numpy(), variance.clamp_min(0.0).sqrt().numpy()
