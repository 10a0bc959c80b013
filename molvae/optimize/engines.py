"""What every engine of the search is, and the two simplest: samples alone, and evolution.

An engine is asked for candidates and told what became of them. What it knows of the past it reads
from the archive, so that a resumed run has the same memory. Random numbers are addressed by the
round and the number of the candidate in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from molvae.diagnostics import along
from molvae.errors import ConfigError
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.moves import mutated, spliced
from molvae.sampler import TRIES, Proposer
from molvae.tokens import SPECIAL_TOKENS, split_selfies, to_selfies, use_constraints

__all__ = ["CONTRAST", "Candidate", "Engine", "Evolution", "LatentSearch", "Sampling", "selfies_of"]

_Ints = NDArray[np.int64]

AROUND = (0.2, 0.8)  # noise levels at which a latent around a parent is decoded
BETWEEN = (0.05, 0.5)  # and one between two parents
CONTRAST = 2.0  # parents are drawn by uniform numbers to this power: the best ones more often
ELITE = 5  # share of the parents, its inverse, that a move must reach to have won
MEMORY = 0.98  # of a move's record, per call
FLOOR = 0.05  # least share of a move


@functools.lru_cache(maxsize=20_000)
def selfies_of(smiles: str, limits: tuple[tuple[str, int], ...]) -> str:
    """SELFIES under bonding limits, pairs of atom and bonds; empty where there are none."""
    with use_constraints(dict(limits)):
        return to_selfies(smiles) or ""


class Candidate(NamedTuple):
    """A SELFIES string to be checked and scored, and the move that made it."""

    text: str
    origin: str


class Engine(Protocol):
    """Proposes molecules and learns from their scores."""

    spare: float  # candidates to ask for per wanted call: some are known or may not be scored

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """About so many candidates."""

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """What became of candidates: an answer, new or old, or None for those turned away.

        The archive has the new answers already.
        """

    def restore(self, answers: Sequence[Answer]) -> None:
        """What was answered before a resumed run began; the archive has it."""


class Sampling:
    """Molecules from the model alone: what every search must beat."""

    spare = 1.5

    def __init__(self, proposer: Proposer, archive: Archive) -> None:
        self.proposer, self.archive, self.draws = proposer, archive, proposer.draws
        self.size = proposer.network.config.latent_size

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Samples from the prior, with the constraints shown."""
        return self.samples(self.items(count, round_))

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Nothing is learned."""

    def restore(self, answers: Sequence[Answer]) -> None:
        """There is nothing to remember."""

    def selfies(self, smiles: str) -> str:
        """The SELFIES of a molecule that has been scored."""
        return selfies_of(smiles, tuple(self.proposer.model.constraints.items()))

    @staticmethod
    def items(count: int, round_: int) -> _Ints:
        """Addresses of the random numbers of a round."""
        return np.int64(round_) * TRIES + np.arange(count, dtype=np.int64)

    def samples(self, items: _Ints) -> list[Candidate]:
        """As many samples."""
        return [Candidate(text, "sample") for text in self.drawn(items, self.proposer)]

    def drawn(self, items: _Ints, proposer: Proposer) -> list[str]:
        """SELFIES that a model draws afresh."""
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
    """What engines share that choose latents and decode them almost without noise."""

    spare = 1.0  # what they ask for is what they learn from
    noise = 0.1  # level at which latents are decoded

    def __init__(self, proposer: Proposer, archive: Archive, *, first: int = 100) -> None:
        """``first`` samples come before the first latent is chosen."""
        super().__init__(proposer, archive)
        if archive.pareto:
            raise ConfigError("--pareto needs an engine that keeps many: --method evolution")
        self.first = first

    def near(self, items: _Ints, latents: NDArray[np.float32], origin: str) -> list[Candidate]:
        """Candidates decoded from latents (N, Z)."""
        levels = np.full(len(items), self.noise, dtype=np.float32)
        return [Candidate(text, origin) for text in self.decoded(items, latents, levels)]


class Evolution(Sampling):
    """Latent evolutionary search: the best molecules so far, changed by several moves.

    ``around`` decodes a parent's latent with noise, ``between`` a latent between two parents;
    ``mutate`` changes symbols of its SELFIES, ``splice`` joins the beginning of one with the end of
    another (Nigam et al. 2021); ``sample`` draws afresh. How often a move is made follows from how
    often it has led to one of the best.
    """

    moves: tuple[str, ...] = ("sample", "around", "between", "mutate", "splice")

    def __init__(
        self, proposer: Proposer, archive: Archive, *, parents: int = 100, first: int = 100
    ) -> None:
        """``parents`` best molecules are changed, after ``first`` samples."""
        super().__init__(proposer, archive)
        self.parents, self.first = parents, first
        self._round = -1
        self._wins = dict.fromkeys(self.moves, 1.0)
        self._calls = dict.fromkeys(self.moves, 4.0)
        self._alphabet = [t for t in proposer.model.vocabulary.tokens if t not in SPECIAL_TOKENS]

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Samples at first, then children of the best."""
        self._round = round_
        items = self.items(count, round_)
        if len(self.archive) < self.first or len(self.archive.pool) < 2:
            return self.samples(items)
        shares = np.cumsum(self.shares())
        u = self.draws.uniform("move", items, 3)
        chosen = np.searchsorted(shares, u[:, 0] * shares[-1])
        texts = self._parents()
        pairs = (u[:, 1:] ** CONTRAST * len(texts)).astype(np.int64)
        # In the order of the items: the last ones may find no room in the round.
        found: dict[int, Candidate] = {}
        for number, move in enumerate(self.moves):
            which = np.flatnonzero(chosen == number)
            if len(which):
                made = self._make(move, items[which], pairs[which], texts)
                found |= {
                    i: Candidate(text, move) for i, text in zip(which.tolist(), made, strict=True)
                }
        return [found[i] for i in range(count)]

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Count how often each move leads to one of the best."""
        self._count({a for a in answers if a is not None and a.round == self._round})

    def restore(self, answers: Sequence[Answer]) -> None:
        """Count the moves of earlier calls."""
        self._count(set(answers))

    def _count(self, answers: set[Answer]) -> None:
        best = {answer.smiles for answer in self.archive.pool[: max(self.parents // ELITE, 3)]}
        for answer in sorted(answers, key=lambda one: one.number):
            if answer.origin in self._calls:
                for record in (self._wins, self._calls):
                    record[answer.origin] *= MEMORY
                self._calls[answer.origin] += 1.0
                self._wins[answer.origin] += answer.smiles in best

    def shares(self) -> NDArray[np.float64]:
        """How often each move is to be made."""
        rates = np.asarray([self._wins[m] / max(self._calls[m], 1.0) for m in self.moves])
        shares: NDArray[np.float64] = np.maximum(rates / rates.sum(), FLOOR)
        return shares

    def _parents(self) -> list[str]:
        return [self.selfies(answer.smiles) for answer in self.archive.pool[: self.parents]]

    def _make(self, move: str, items: _Ints, pairs: _Ints, texts: list[str]) -> list[str]:
        makers: dict[str, Callable[[_Ints, list[str], list[str]], list[str]]] = {
            "around": self._around,
            "between": self._between,
            "mutate": self._mutate,
            "splice": self._splice,
        }
        if move == "sample":
            return self.drawn(items, self.proposer)
        first, second = ([texts[i] for i in column] for column in pairs.T)
        return makers[move](items, first, second)

    def _around(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        return self.decoded(items, self.proposer.encode_selfies(first), self._levels(items, AROUND))

    def _between(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        share = self.draws.uniform("between", items, 1)
        ends = self.proposer.encode_selfies(first), self.proposer.encode_selfies(second)
        latents = along(*ends, share)[:, 0].astype(np.float32)
        return self.decoded(items, latents, self._levels(items, BETWEEN))

    def _levels(self, items: _Ints, ends: tuple[float, float]) -> NDArray[np.float32]:
        u = self.draws.uniform("noise", items, 1)[:, 0]
        return (ends[0] + u * (ends[1] - ends[0])).astype(np.float32)

    def _mutate(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("mutate", items, 10)
        limit = self.proposer.model.max_tokens
        return [
            mutated(split_selfies(text), self._alphabet, row, limit)
            for text, row in zip(first, u, strict=True)
        ]

    def _splice(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("splice", items, 2)
        limit = self.proposer.model.max_tokens
        return [
            spliced(split_selfies(one), split_selfies(other), row, limit)
            for one, other, row in zip(first, second, u, strict=True)
        ]
