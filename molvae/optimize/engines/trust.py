"""Bayesian optimization in a trust region of the latent space; needs the extra ``bo``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.errors import ConfigError
from molvae.generate.proposer import Proposer
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.base import CONTRAST, Candidate, LatentSearch

__all__ = ["TrustRegion"]

BEST, RECENT = 128, 128  # answers that the surrogate is fitted to
FEWEST = 4  # molecules that a surrogate needs; with fewer, neighbors are decoded
NEAR = 0.4  # noise level of these neighbors
CANDIDATES = 2000  # latents that a surrogate's samples are maximised over
EDGE = 3.0  # latents of N(0, 1) within it become the unit cube
PARENTS = 20  # best molecules that candidates lie between
STEPS = 50  # of the fit of a surrogate; convergence takes twenty times as long and gains nothing
FIRST, WIDEST, NARROWEST = 0.2, 0.8, 0.05  # sides of the region, in the unit cube
SUCCESSES, FAILURES = 3, 5  # rounds in a row after which it grows and shrinks


class TrustRegion(LatentSearch):
    """Thompson sampling from a Gaussian process around the best molecules.

    The region of TuRBO (Eriksson et al. 2019): it grows while rounds improve on the best and
    shrinks while they do not; when it is too small, it restarts. Each candidate has another center:
    one of the best molecules with some dimensions of a second one, as the search would otherwise
    stay around the first good molecule. The surrogate sees the latents that molecules encode
    to, not those they were decoded from, and the quantiles of their ranks, so that the scale of the
    objective does not matter.
    """

    def __init__(self, proposer: Proposer, archive: Archive, *, first: int = 100) -> None:
        """``first`` samples come before the first surrogate."""
        super().__init__(proposer, archive, first=first)
        self._botorch()  # a missing extra is an error before anything is scored
        self.side = FIRST
        self._successes = self._failures = 0
        self._best = -np.inf
        self._latents: dict[str, NDArray[np.float32]] = {}

    @staticmethod
    def _botorch() -> Any:
        try:
            with _quiet():
                import botorch
        except ImportError:
            raise ConfigError("--method trust needs the extra: pip install 'molvae[bo]'") from None
        return botorch

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Latents where samples of the surrogate are highest, decoded."""
        items = self.items(count, round_)
        known = self._known()
        if self.opening(count, round_) or not known:
            return self.samples(items)
        if len(known) < FEWEST:
            latents = np.stack([self._latents[molecule] for molecule in known])[items % len(known)]
            levels = np.full(len(items), NEAR, dtype=np.float32)
            return [Candidate(text, "near") for text in self.decoded(items, latents, levels)]
        smiles = list(dict.fromkeys(known[:BEST] + sorted(known, key=self._recent)[:RECENT]))
        points = np.stack([self._latents[molecule] for molecule in smiles])
        scores = self.archive.normal_scores()
        values = np.asarray([scores[molecule] for molecule in smiles])
        parents = np.stack([self._latents[molecule] for molecule in known[:PARENTS]])
        latents = self._chosen(points, values, parents, count, round_)
        return self.near(items, latents, "trust")

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Grow or shrink the region."""
        if not self.opened:
            return
        best = self.archive.pool[0].value if self.archive.pool else -np.inf
        if best > self._best:
            self._successes, self._failures = self._successes + 1, 0
        else:
            self._successes, self._failures = 0, self._failures + 1
        self._best = max(best, self._best)
        if self._successes >= SUCCESSES:
            self.side, self._successes = min(2 * self.side, WIDEST), 0
        if self._failures >= FAILURES:
            self.side, self._failures = self.side / 2, 0
        if self.side < NARROWEST:
            self.side = FIRST

    def restore(self, answers: Sequence[Answer]) -> None:
        """Start with a new region around the best."""
        self._best = self.archive.pool[0].value if self.archive.pool else -np.inf

    def _recent(self, smiles: str) -> int:
        return -self.archive.answers[smiles].number

    def _known(self) -> list[str]:
        """Molecules of the pool that the model can encode, the best first."""
        new = [answer.smiles for answer in self.archive.pool if answer.smiles not in self._latents]
        latents = self.encoded(new)
        self._latents.update(zip(new, latents, strict=True))
        return [
            answer.smiles
            for answer in self.archive.pool
            if not np.isnan(self._latents[answer.smiles][0])
        ]

    def _chosen(
        self,
        points: NDArray[np.float32],
        values: NDArray[np.float64],
        parents: NDArray[np.float32],
        count: int,
        round_: int,
    ) -> NDArray[np.float32]:
        """Latents (count, Z): each the best of the candidates for one sample of the surrogate."""
        from botorch.fit import fit_gpytorch_mll
        from botorch.generation.sampling import MaxPosteriorSampling
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        x = torch.from_numpy(_to_cube(points))
        y = torch.from_numpy(values).unsqueeze(-1)
        numbers = np.arange(CANDIDATES, dtype=np.int64)
        u = self.draws.uniform("trust", numbers, 3 + 2 * self.size, epoch=round_)
        pairs = (u[:, :2] ** CONTRAST * len(parents)).astype(np.int64)
        mother, father = (_to_cube(parents)[which] for which in pairs.T)
        mixed, offset = u[:, 3 : 3 + self.size], u[:, 3 + self.size :] - 0.5
        centres = np.where(mixed < u[:, 2:3] / 2, father, mother)
        near = np.clip(centres + self.side * offset, 0.0, 1.0)
        # The library draws from torch's global generator.
        with _quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(u[0, 0] * 2**31))
            surrogate = SingleTaskGP(x, y)
            fit_gpytorch_mll(
                ExactMarginalLogLikelihood(surrogate.likelihood, surrogate),
                optimizer_kwargs={"options": {"maxiter": STEPS}},
            )
            with torch.no_grad():
                pick = MaxPosteriorSampling(model=surrogate, replacement=False)
                chosen = pick(torch.from_numpy(near), num_samples=count)
        scaled: NDArray[np.float32] = (EDGE * (2 * chosen.numpy() - 1)).astype(np.float32)
        return scaled


def _to_cube(latents: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.clip(latents.astype(np.float64) / (2 * EDGE) + 0.5, 0.0, 1.0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the warnings of the library, which do not concern the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
