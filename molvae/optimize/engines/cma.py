"""CMA-ES in the latent space; needs the extra ``bo``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.errors import ConfigError
from molvae.generate.proposer import Proposer
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.base import Candidate, LatentSearch

__all__ = ["LatentCMA"]

SPREAD = 0.5  # of the first generation around the best molecule
STARTS = 100  # best molecules, which it starts at in turn
STALE = 12  # generations without a better molecule before a new start


class LatentCMA(LatentSearch):
    """Covariance matrix adaptation (Hansen & Ostermeier 2001) of latents, by ranks.

    The matrix is diagonal (Ros & Hansen 2008): a full one takes more calls than there are. It
    starts at one of the best molecules and restarts when it stops improving. A latent counts as the
    worst if its molecule may not be scored, and gets the known score if it was scored before.
    """

    ahead = False  # a generation follows from the scores of the one before

    def __init__(self, proposer: Proposer, archive: Archive, *, first: int = 100) -> None:
        """``first`` samples come before the first generation."""
        super().__init__(proposer, archive, first=first)
        self._cma = _library()  # a missing extra is an error before anything is scored
        self._search: Any = None
        self._points: list[Any] = []
        self._begun = self._stale = 0
        self._best = -math.inf

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """A generation of latents, decoded."""
        items = self.items(count, round_)
        self._points = []
        if self.opening(count, round_):
            return self.samples(items)
        if self._search is None or self._stale >= STALE or self._search.stop():
            self._begin(count)
        self._points = self._search.ask(count)
        return self.near(items, np.asarray(self._points, dtype=np.float32), "cma")

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Move the distribution towards the better half."""
        if not self._points:
            return
        costs = [math.inf if a is None or a.failed else -a.value for a in answers]
        known = [cost for cost in costs if math.isfinite(cost)]
        worst = max(known, default=0.0) + 1.0
        if len(set(known)) > 1:
            self._search.tell(self._points, [c if math.isfinite(c) else worst for c in costs])
        best = -min(known, default=math.inf)
        self._stale = 0 if best > self._best else self._stale + 1
        self._best = max(self._best, best)

    def _start(self) -> tuple[Answer, NDArray[np.float32]]:
        """The next of the best molecules that the model can encode."""
        pool = self.archive.pool[:STARTS]
        latents = self.encoded([answer.smiles for answer in pool])
        usable = np.flatnonzero(~np.isnan(latents[:, 0]))
        if not len(usable):
            return pool[0], np.zeros(self.size, dtype=np.float32)
        chosen = usable[self._begun % len(usable)]
        return pool[chosen], latents[chosen]

    def _begin(self, count: int) -> None:
        """Restart around the next of the best molecules."""
        start, point = self._start()
        # Its generator is seeded by the number of the start: 0 would mean the clock.
        seed = int(self.draws.uniform("cma", np.asarray([self._begun]), 1)[0, 0] * 2**31) + 1
        options = {"popsize": count, "seed": seed, "CMA_diagonal": True, "verbose": -9}
        self._search = self._cma.CMAEvolutionStrategy(point.astype(np.float64), SPREAD, options)
        self._begun, self._stale, self._best = self._begun + 1, 0, start.value


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where matplotlib is missing
            import cma
    except ImportError:
        raise ConfigError("--method cma needs the extra: pip install 'molvae[bo]'") from None
    return cma
