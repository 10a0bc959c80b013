"""Latent evolutionary search: the best molecules so far, changed in several ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.chem.edits import crossed, edited
from molvae.diagnostics import along
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines import CONTRAST, Candidate, Sampling
from molvae.optimize.moves import mutated, spliced
from molvae.optimize.surrogate import Surrogate
from molvae.sampler import Proposer
from molvae.tokens import SPECIAL_TOKENS, split_selfies

__all__ = ["Evolution"]

_Ints = NDArray[np.int64]
_ATOM = re.compile(r"\[([A-Z][a-z]?)\]")

AROUND = (0.2, 0.8)  # noise levels at which a latent around a parent is decoded
BETWEEN = (0.05, 0.5)  # and one between two parents
ELITE = 5  # share of the parents, its inverse, that a move must reach to have won
MEMORY = 0.98  # of a move's record, per call
FLOOR = 0.05  # least share of a move
CHOICE = 8  # candidates per wanted call, of which the most promising are scored


class Evolution(Sampling):
    """Latent evolutionary search: the best molecules so far, changed by several moves.

    ``around`` decodes a parent's latent with noise, ``between`` a latent between two parents;
    ``mutate`` changes symbols of its SELFIES, ``splice`` joins the beginning of one with the end of
    another (Nigam et al. 2021); ``edit`` changes an atom, a bond or a ring of its graph, ``cross``
    joins parts of two graphs (Jensen 2019); ``sample`` draws afresh. How often a move is made
    follows from how often it has led to one of the best.
    """

    latent_moves = ("sample", "around", "between")  # decoded together
    moves: tuple[str, ...] = (*latent_moves, "mutate", "splice", "edit", "cross")

    def __init__(
        self, proposer: Proposer, archive: Archive, *, parents: int = 100, first: int = 100
    ) -> None:
        """``parents`` best molecules are changed, after ``first`` samples."""
        super().__init__(proposer, archive)
        self.parents, self.first = parents, first
        self._round = -1
        self._surrogate = Surrogate()
        self._wins = dict.fromkeys(self.moves, 1.0)
        self._calls = dict.fromkeys(self.moves, 4.0)
        self._alphabet = [t for t in proposer.model.vocabulary.tokens if t not in SPECIAL_TOKENS]
        atoms = (_ATOM.fullmatch(token) for token in self._alphabet)
        self._elements = [atom[1] for atom in atoms if atom is not None]

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Samples at first, then children of the best."""
        self._round = round_
        if not self._begun:
            return super().ask(count, round_)
        items = self.items(CHOICE * count, round_)
        shares = np.cumsum(self.shares())
        u = self.draws.uniform("move", items, 3)
        chosen = np.searchsorted(shares, u[:, 0] * shares[-1])
        parents = [answer.smiles for answer in self.archive.pool[: self.parents]]
        pairs = (u[:, 1:] ** CONTRAST * len(parents)).astype(np.int64)
        texts = np.full(len(items), "", dtype=object)
        latents = np.full((len(items), self.size), np.nan, dtype=np.float32)
        levels, near = np.ones(len(items), dtype=np.float32), np.zeros(len(items), dtype=np.bool_)
        for number, move in enumerate(self.moves):
            which = np.flatnonzero(chosen == number)
            if not len(which):
                continue
            first, second = ([parents[i] for i in column] for column in pairs[which].T)
            if move in self.latent_moves:
                near[which] = True
                latents[which], levels[which] = self._point(move, items[which], first, second)
            else:
                texts[which] = self._changed(move, items[which], first, second)
        texts[near] = self.decoded(items[near], latents[near], levels[near])
        return [Candidate(text, self.moves[i]) for text, i in zip(texts, chosen, strict=True)]

    @property
    def _begun(self) -> bool:
        """Whether enough is known to change and to choose."""
        return len(self.archive) >= self.first and len(self.archive.pool) >= 2

    def choose(self, smiles: Sequence[str], count: int) -> list[str]:
        """The most promising ones."""
        if not self._begun:
            return super().choose(smiles, count)
        return self._surrogate.order(smiles, self.archive.pool)[:count]

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

    def _point(
        self, move: str, items: _Ints, first: list[str], second: list[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents (N, Z) and noise levels (N,) to decode."""
        if move == "around":
            return self._latents(first), self._levels(items, AROUND)
        if move == "between":
            share = self.draws.uniform("between", items, 1)
            latents = along(self._latents(first), self._latents(second), share)[:, 0]
            return latents.astype(np.float32), self._levels(items, BETWEEN)
        nothing = np.full((len(items), self.size), np.nan, dtype=np.float32)
        return nothing, np.ones(len(items), dtype=np.float32)

    def _changed(self, move: str, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        """SELFIES of the moves that do without the decoder."""
        makers: dict[str, Callable[[_Ints, list[str], list[str]], list[str]]] = {
            "mutate": self._mutate,
            "splice": self._splice,
            "edit": self._edit,
            "cross": self._cross,
        }
        return makers[move](items, first, second)

    def _latents(self, smiles: list[str]) -> NDArray[np.float32]:
        return self.proposer.encode_selfies([self.selfies(one) for one in smiles])

    def _levels(self, items: _Ints, ends: tuple[float, float]) -> NDArray[np.float32]:
        u = self.draws.uniform("noise", items, 1)[:, 0]
        return (ends[0] + u * (ends[1] - ends[0])).astype(np.float32)

    def _mutate(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("mutate", items, 10)
        limit = self.proposer.model.max_tokens
        return [
            mutated(split_selfies(self.selfies(one)), self._alphabet, row, limit)
            for one, row in zip(first, u, strict=True)
        ]

    def _splice(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("splice", items, 2)
        limit = self.proposer.model.max_tokens
        return [
            spliced(
                split_selfies(self.selfies(one)), split_selfies(self.selfies(other)), row, limit
            )
            for one, other, row in zip(first, second, u, strict=True)
        ]

    def _edit(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        changes = zip(first, self._generators("edit", items), strict=True)
        return [self._short(edited(one, self._elements, rng)) for one, rng in changes]

    def _cross(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        changes = zip(first, second, self._generators("cross", items), strict=True)
        return [self._short(crossed(one, other, rng)) for one, other, rng in changes]

    def _generators(self, name: str, items: _Ints) -> Iterator[np.random.Generator]:
        """Random numbers of each item, of which an edit takes as many as it likes."""
        for u in self.draws.uniform(name, items, 1)[:, 0]:
            yield np.random.default_rng(int(u * 2**53))

    def _short(self, smiles: str) -> str:
        """The SELFIES, empty where it is longer than the model's."""
        text = self.selfies(smiles) if smiles else ""
        return text if len(split_selfies(text)) <= self.proposer.model.max_tokens else ""
