"""The protocol of engines, and the simplest engine: sampling.

An engine proposes candidates and learns their scores. It reads the past from the archive, so that
a resumed run has the same memory. Random numbers are addressed by round and candidate number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import selfies_of
from molvae.errors import ConfigError
from molvae.generate.critic import seed_molecules
from molvae.generate.proposer import Proposer
from molvae.generate.request import SIMILARITY, TRIES
from molvae.model.checkpoint import SavedModel
from molvae.optimize.archive import Answer, Archive

__all__ = ["CONTRAST", "Candidate", "Engine", "LatentSearch", "Sampling", "TunesModel"]

_Ints = NDArray[np.int64]

SPARE = 1.5  # samples per wanted call
CONTRAST = 2.0  # parents are drawn by uniform numbers to this power: the best ones more often


class Candidate(NamedTuple):
    """A SELFIES string to be checked and scored, and the move that made it."""

    text: str
    origin: str


class Engine(Protocol):
    """Proposes molecules and learns from their scores.

    With ``--ahead`` some more rounds are asked for before the first of them is answered, in their
    order; an engine that allows this has the attribute ``ahead = True``.
    """

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Candidates for ``count`` calls, and some more, as some are known or may not be scored."""

    def choose(self, smiles: Sequence[str], count: int) -> list[str]:
        """Up to ``count`` of the new molecules, to be scored."""

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Learn from the answers to candidates, new or old; None for those that were rejected.

        The archive already has the new answers.
        """

    def restore(self, answers: Sequence[Answer]) -> None:
        """Learn from the answers of a run that is resumed; the archive already has them."""


@runtime_checkable
class TunesModel(Protocol):
    """An engine that tunes the generator, which ``--save-model`` writes."""

    def tuned_model(self) -> SavedModel:
        """The tuned copy of the model; the score is its last condition."""


class Sampling:
    """Samples of the model: the baseline of every search."""

    ahead = True  # rounds may be asked for before earlier ones are answered

    def __init__(self, proposer: Proposer, archive: Archive, *, first: int = 0) -> None:
        """``first`` samples come before an engine does anything else."""
        self.proposer, self.archive, self.draws = proposer, archive, proposer.draws
        self.size = proposer.network.config.latent_size
        self.first, self.opened = first, False
        # Computed once, as it is part of every cache key.
        self._limits = tuple(proposer.model.constraints.items())
        self.leads = self._leads()

    def _leads(self) -> list[str]:
        """Given molecules, if all scored molecules must be similar to them."""
        request = self.proposer.request
        if all(target.name != SIMILARITY for target in request.targets):
            return []
        return [chem.to_smiles(mol) for mol in seed_molecules(request.like)]

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Samples from the prior, conditioned on the constraints."""
        return self.samples(self.items(int(SPARE * count), round_))

    def opening(self, count: int, round_: int) -> bool:
        """Whether this round still consists of samples only.

        True until ``first`` molecules are scored, or until enough rounds for that many are over:
        with narrow constraints, hardly any sample meets them.
        """
        self.opened = bool(self.archive.pool) and (
            max(len(self.archive), round_ * count) >= self.first
        )
        return not self.opened

    def choose(self, smiles: Sequence[str], count: int) -> list[str]:
        """The first ``count``."""
        return list(smiles[:count])

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Nothing is learned."""

    def restore(self, answers: Sequence[Answer]) -> None:
        """There is nothing to remember."""

    def selfies(self, smiles: str) -> str:
        """The SELFIES of a molecule that has been scored."""
        return selfies_of(smiles, self._limits)

    @staticmethod
    def items(count: int, round_: int) -> _Ints:
        """Addresses of the random numbers of a round."""
        return np.int64(round_) * TRIES + np.arange(count, dtype=np.int64)

    def samples(self, items: _Ints) -> list[Candidate]:
        """One sample per item: from the prior, or around given molecules that all must resemble."""
        latents = self.encoded(self.leads)
        latents = latents[~np.isnan(latents[:, 0])]
        if not len(latents):
            return [Candidate(text, "sample") for text in self.drawn(items, self.proposer)]
        levels = self.proposer.levels(items)
        texts = self.decoded(items, latents[items % len(latents)], levels)
        return [Candidate(text, "sample") for text in texts]

    def encoded(self, smiles: Sequence[str]) -> NDArray[np.float32]:
        """Latents (N, Z) of molecules; NaN for what the model cannot encode."""
        return self.proposer.encode_selfies([self.selfies(text) for text in smiles])

    def drawn(self, items: _Ints, proposer: Proposer) -> list[str]:
        """SELFIES sampled from the prior."""
        latents = np.full((len(items), self.size), np.nan, dtype=np.float32)
        return self.decoded(items, latents, np.ones(len(items), dtype=np.float32), proposer)

    def decoded(
        self,
        items: _Ints,
        latents: NDArray[np.float32],
        levels: NDArray[np.float32],
        proposer: Proposer | None = None,
    ) -> list[str]:
        """SELFIES of latents at noise levels, in batches; by the engine's proposer unless given."""
        proposer, texts = proposer or self.proposer, []
        for start in range(0, len(items), proposer.batch_size):
            part = slice(start, start + proposer.batch_size)
            texts += proposer.texts(items[part], latents[part], levels[part])
        return texts


class LatentSearch(Sampling):
    """Base of engines that choose latents and decode them almost without noise."""

    noise = 0.1  # level at which latents are decoded

    def __init__(self, proposer: Proposer, archive: Archive, *, first: int = 100) -> None:
        """``first`` samples come before the first latent is chosen."""
        super().__init__(proposer, archive, first=first)
        if archive.pareto:
            raise ConfigError("--pareto needs an engine that keeps many: --method evolution")

    def near(self, items: _Ints, latents: NDArray[np.float32], origin: str) -> list[Candidate]:
        """Candidates decoded from latents (N, Z)."""
        levels = np.full(len(items), self.noise, dtype=np.float32)
        return [Candidate(text, origin) for text in self.decoded(items, latents, levels)]
