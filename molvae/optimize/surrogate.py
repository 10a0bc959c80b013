"""Which candidates to spend the next calls on: a Gaussian process over fingerprints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.metrics import tanimoto
from molvae.optimize.archive import Answer
from molvae.runtime import normal_quantile

__all__ = ["Surrogate", "foretold"]

BEST, OTHERS = 500, 500  # answers that it is fitted to: the best ones, and the latest of the rest
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)  # variances, in units of the values', to choose from
HOPE = 0.5  # standard deviations above the mean that a candidate is judged by
BITS = 2048


class Surrogate:
    """Foretells how answers rank, from the Tanimoto kernel over counted fingerprints.

    A Gaussian process (Rasmussen & Williams 2006, algorithm 2.1) of the quantiles of N(0, 1) of the
    answers' ranks, so that the scale of the objective does not matter; the noise is the one of
    greatest marginal likelihood.
    """

    def __init__(self) -> None:
        self._rows: dict[str, NDArray[np.uint8]] = {}

    def order(self, smiles: Sequence[str], ranked: Sequence[Answer]) -> list[str]:
        """The molecules, most promising first; ``ranked`` are the answers so far, best first."""
        latest = sorted(range(BEST, len(ranked)), key=lambda i: -ranked[i].number)[:OTHERS]
        known = [ranked[i].smiles for i in [*range(min(BEST, len(ranked))), *sorted(latest)]]
        share = 1 - (np.arange(len(known)) + 0.5) / len(known)
        new = [one for one in known if one not in self._rows]
        rows = self._rows | dict(zip(new, _bits(new), strict=True))
        self._rows = {one: rows[one] for one in known}  # those of others are not needed again
        bits = np.stack([rows[one] for one in known])
        mean, sd = foretold(bits, normal_quantile(share), _bits(smiles))
        promising = np.argsort(-(mean + HOPE * sd), kind="stable")
        return [smiles[i] for i in promising]


def _bits(smiles: Sequence[str]) -> NDArray[np.uint8]:
    mols = [mol for one in smiles if (mol := chem.parse(one)) is not None]
    return chem.fingerprints(mols, size=BITS, counts=True)


def foretold(
    known: NDArray[np.uint8], values: NDArray[np.float64], new: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (M,) of M new from N known fingerprints and their values (N,)."""
    kernel = torch.from_numpy(tanimoto(known, known)).double()
    y, best, chosen = torch.from_numpy(values)[:, None], -math.inf, kernel
    for noise in NOISES:
        factor = torch.linalg.cholesky(kernel + noise * torch.eye(len(kernel)).double())
        solved = torch.linalg.solve_triangular(factor, y, upper=False)
        likelihood = float(-0.5 * solved.square().sum() - factor.diagonal().log().sum())
        if likelihood > best:
            best, chosen, weights = likelihood, factor, solved
    cross = torch.from_numpy(tanimoto(known, new)).double()
    shared = torch.linalg.solve_triangular(chosen, cross, upper=False)
    variance = 1.0 - shared.square().sum(dim=0)
    mean = (shared.T @ weights)[:, 0]
    return mean.numpy(), variance.clamp_min(0.0).sqrt().numpy()
