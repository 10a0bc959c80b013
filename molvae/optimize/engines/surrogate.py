"""Which candidates to spend the next calls on: a Gaussian process over fingerprints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.fingerprints import tanimoto
from molvae.optimize.archive import Answer
from molvae.runtime.randomness import normal_quantile
from molvae.runtime.recent import Recent

__all__ = ["Fingerprints", "Surrogate", "gp_posterior", "leaders"]

BEST = 1000  # answers that it is fitted to
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)  # variances, in units of the values', to choose from
HOPE = 0.5  # standard deviations above the mean that a candidate is judged by
SAME = 0.7  # similarity from which on two molecules are of a kind
BITS = 2048
RECENT = 20_000  # fingerprints kept


class Fingerprints:
    """Packed count fingerprints by SMILES; the most recently used ones are kept."""

    def __init__(self) -> None:
        self._rows = Recent[bytes](RECENT)

    def add(self, rows: Mapping[str, bytes]) -> None:
        """Keep rows of ``BITS`` bits, as :func:`molvae.chem.fingerprints` packs them."""
        self._rows.keep(rows)

    def of(self, smiles: Sequence[str]) -> NDArray[np.uint8]:
        """The fingerprints (N, BITS / 8) of molecules; those that are not kept are computed."""
        rows = self._rows.of(smiles)
        new = [text for text in dict.fromkeys(smiles) if text not in rows]
        mols = [mol for text in new if (mol := chem.parse(text)) is not None]
        computed = chem.fingerprints(mols, size=BITS, counts=True)
        rows |= {text: row.tobytes() for text, row in zip(new, computed, strict=True)}
        self.add(rows)
        packed = b"".join(rows[text] for text in smiles)
        return np.frombuffer(packed, dtype=np.uint8).reshape(len(smiles), BITS // 8)


class Surrogate:
    """Predicts how answers rank, by a Tanimoto kernel over count fingerprints.

    A Gaussian process (Rasmussen & Williams 2006, algorithm 2.1) of the quantiles of N(0, 1) of the
    answers' ranks, so that the scale of the objective does not matter; the noise is the one of
    greatest marginal likelihood.
    """

    def __init__(self) -> None:
        self.fingerprints = Fingerprints()
        self._known: list[str] = []
        self._bits = self.fingerprints.of([])
        self._kernel = np.zeros((0, 0), dtype=np.float32)

    def kinds(self, ranked: Sequence[Answer], count: int | None = None) -> list[str]:
        """The best one of each kind, at most ``count``; ``ranked`` are the answers, best first."""
        self._read(ranked)
        return [self._known[i] for i in leaders(self._kernel, count)]

    def order(self, smiles: Sequence[str], ranked: Sequence[Answer]) -> list[str]:
        """The molecules, most promising first; ``ranked`` are the answers so far, best first."""
        self._read(ranked)
        share = 1 - (np.arange(len(self._known)) + 0.5) / len(self._known)
        cross = tanimoto(self._bits, self.fingerprints.of(smiles))
        mean, sd = gp_posterior(self._kernel, normal_quantile(share), cross)
        promising = np.argsort(-(mean + HOPE * sd), kind="stable")
        return [smiles[i] for i in promising]

    def _read(self, ranked: Sequence[Answer]) -> None:
        """Fingerprints and kernel of the best; pairs of which both were among them are kept."""
        known = [answer.smiles for answer in ranked[:BEST]]
        if known == self._known:
            return
        before = {smiles: i for i, smiles in enumerate(self._known)}
        old = np.asarray([before.get(smiles, -1) for smiles in known], dtype=np.int64)
        new, kept = np.flatnonzero(old < 0), np.flatnonzero(old >= 0)
        bits = np.empty((len(known), BITS // 8), dtype=np.uint8)
        bits[kept] = self._bits[old[kept]]
        bits[new] = self.fingerprints.of([known[i] for i in new])
        kernel = np.empty((len(known), len(known)), dtype=np.float32)
        kernel[np.ix_(kept, kept)] = self._kernel[np.ix_(old[kept], old[kept])]
        if len(new):
            kernel[new] = tanimoto(bits[new], bits)
            kernel[:, new] = kernel[new].T
        self._known, self._bits, self._kernel = known, bits, kernel


def leaders(similar: NDArray[np.float32], count: int | None = None) -> list[int]:
    """The first one of each kind of N molecules of which each (N, N) is how similar.

    Sphere exclusion (Butina 1999), in the order given: a molecule is of a kind that is there
    already when the first of that kind is at least :data:`SAME` like it. With ``count`` those of
    the first kinds alone.
    """
    free, first_ones = np.ones(len(similar), dtype=np.bool_), list[int]()
    for i, row in enumerate(similar):
        if len(first_ones) == count:
            break
        if free[i]:
            first_ones.append(i)
            free &= row < SAME
    return first_ones


def gp_posterior(
    kernel: NDArray[np.float32], values: NDArray[np.float64], cross: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (M,) at M points from values (N,) at others.

    ``kernel`` (N, N) is the covariance of these, ``cross`` (N, M) of these with those.
    """
    covariance, shared = torch.from_numpy(kernel).double(), torch.from_numpy(cross).double()
    y, best, chosen = torch.from_numpy(values)[:, None], -math.inf, covariance
    diagonal = covariance.diagonal().clone()
    for noise in NOISES:
        covariance.diagonal().copy_(diagonal + noise)
        factor = torch.linalg.cholesky(covariance)
        solved = torch.linalg.solve_triangular(factor, y, upper=False)
        likelihood = float(-0.5 * solved.square().sum() - factor.diagonal().log().sum())
        if likelihood > best:
            best, chosen, weights = likelihood, factor, solved
    shared = torch.linalg.solve_triangular(chosen, shared, upper=False)
    variance = 1.0 - shared.square().sum(dim=0)
    mean = (shared.T @ weights)[:, 0]
    return mean.numpy(), variance.clamp_min(0.0).sqrt().numpy()
