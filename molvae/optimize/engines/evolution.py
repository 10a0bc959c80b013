"""Latent evolutionary search: mutations and crossovers of the best molecules so far."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from molvae.chem.mutations import crossed, edited
from molvae.chem.selfies import split_selfies
from molvae.chem.vocabulary import SPECIAL_TOKENS
from molvae.generate.proposer import Proposer
from molvae.latent.interpolate import along
from molvae.optimize.archive import Answer, Archive
from molvae.optimize.engines.base import CONTRAST, Candidate, Sampling
from molvae.optimize.engines.surrogate import Surrogate

__all__ = ["Evolution", "mutated", "spliced"]

_Ints = NDArray[np.int64]
_ATOM = re.compile(r"\[([A-Z][a-z]?)\]")

AROUND = (0.2, 0.8)  # noise levels at which a latent around a parent is decoded
BETWEEN = (0.05, 0.5)  # and one between two parents
ELITE = 5  # a move wins if its molecule is in the best 1/ELITE of the parents
MEMORY = 0.98  # of a move's record, per call
FLOOR = 0.05  # smallest share of a move
LEAST = 1e-6  # smallest record, so that shares are finite
OPENING = frozenset({"sample", "given"})  # origins in rounds before the first moves
FEWEST = 10  # parents, of a kind or not
TOGETHER = 8  # parents encoded together
KEPT = 5000  # latents of parents in memory
CHOICE = 8  # candidates per call, of which the most promising are scored


class Evolution(Sampling):
    """Latent evolutionary search: the best molecules so far, changed by several moves.

    ``around`` decodes a parent's latent with noise, ``between`` a latent between two parents;
    ``mutate`` changes symbols of its SELFIES, ``splice`` joins the beginning of one with the end of
    another (Nigam et al. 2021); ``edit`` changes an atom, a bond or a ring of its graph, ``cross``
    joins parts of two graphs (Jensen 2019); ``sample`` draws afresh. How often a move is made
    follows from how often it has led to one of the best. Parents are the best of their kinds.
    """

    latent_moves = ("sample", "around", "between")  # decoded together
    moves: tuple[str, ...] = (*latent_moves, "mutate", "splice", "edit", "cross")

    def __init__(
        self, proposer: Proposer, archive: Archive, *, parents: int = 100, first: int = 100
    ) -> None:
        """``parents`` best molecules at most are changed, after ``first`` samples."""
        super().__init__(proposer, archive, first=first)
        self.parents = parents
        self._latents: dict[str, NDArray[np.float32]] = {}
        self._moving: dict[int, bool] = {}  # rounds without answers: whether they made moves
        self._last_round = -1
        self._surrogate = Surrogate()
        self.fingerprints = self._surrogate.fingerprints
        self._wins = dict.fromkeys(self.moves, 1.0)
        self._calls = dict.fromkeys(self.moves, 4.0)
        self._alphabet = [t for t in proposer.model.vocabulary.tokens if t not in SPECIAL_TOKENS]
        atoms = (_ATOM.fullmatch(token) for token in self._alphabet)
        self._elements = [atom[1] for atom in atoms if atom is not None]

    def ask(self, count: int, round_: int) -> list[Candidate]:
        """Samples at first, then offspring of the best; at once if there are lead molecules."""
        opening = self.opening(count, round_)
        self._moving[round_] = bool(self.leads) or not opening
        if not self._moving[round_]:
            return super().ask(count, round_)
        parents = self._chosen_parents() or self.leads
        items = self.items(CHOICE * count, round_)
        shares = np.cumsum(self.shares())
        u = self.draws.uniform("move", items, 3)
        chosen = np.searchsorted(shares, u[:, 0] * shares[-1])
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

    def choose(self, smiles: Sequence[str], count: int) -> list[str]:
        """The most promising ones."""
        if not self.opened:
            return super().choose(smiles, count)
        return self._surrogate.order(smiles, self.archive.pool)[:count]

    def _chosen_parents(self) -> list[str]:
        """The best of each kind, so that the search does not converge on one kind."""
        pool = [answer.smiles for answer in self.archive.pool]
        if not pool or self.archive.pareto:  # a front is spread already
            return pool[: self.parents]
        kinds = self._surrogate.kinds(self.archive.pool, self.parents)
        if len(kinds) >= FEWEST:
            return kinds
        return kinds + [smiles for smiles in pool if smiles not in kinds][: FEWEST - len(kinds)]

    def tell(self, candidates: Sequence[Candidate], answers: Sequence[Answer | None]) -> None:
        """Count how often each move leads to one of the best."""
        last = max((answer.round for answer in answers if answer is not None), default=-1)
        if last <= self._last_round:  # no molecule of this round is new
            return
        self._last_round = last
        new = {answer for answer in answers if answer is not None and answer.round == last}
        # A round that was asked for before the run was resumed says by its origins what it made.
        if self._moving.pop(last, any(answer.origin not in OPENING for answer in new)):
            self._count(new, self.archive.pool)

    def restore(self, answers: Sequence[Answer]) -> None:
        """Count the moves of earlier rounds as they were counted then."""
        so_far = Archive(pareto=self.archive.pareto)
        so_far.seed({}, self.archive.known)
        ordered = sorted(answers, key=lambda answer: answer.number)
        for _, group in itertools.groupby(ordered, key=lambda answer: answer.round):
            new = list(group)
            if any(answer.origin != "given" for answer in new):
                self._last_round = new[0].round
            opened = any(answer.origin not in OPENING for answer in new)
            so_far.add(new)
            if opened:
                self._count(set(new), so_far.pool)

    def _count(self, answers: set[Answer], pool: Sequence[Answer]) -> None:
        """Count, for every move, its share of the candidates and how many are among the best.

        By share, not by calls: the record of a move that is never chosen would never change.
        """
        best = {answer.smiles for answer in pool[: max(self.parents // ELITE, 3)]}
        won = Counter(answer.origin for answer in answers if answer.smiles in best)
        shares = self.shares()
        for move, share in zip(self.moves, shares / shares.sum(), strict=True):
            offered = float(share) * len(answers)
            decay = MEMORY**offered
            self._calls[move] = self._calls[move] * decay + offered
            self._wins[move] = max(self._wins[move] * decay + won[move], LEAST)

    def shares(self) -> NDArray[np.float64]:
        """Relative frequency of each move."""
        rates = np.asarray([self._wins[m] / max(self._calls[m], 1.0) for m in self.moves])
        shares: NDArray[np.float64] = np.maximum(rates / rates.sum(), FLOOR)
        return shares

    def _point(
        self, move: str, items: _Ints, first: list[str], second: list[str]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents (N, Z) and noise levels (N,) to decode."""
        if move == "around":
            return self._latents_of(first), self._levels(items, AROUND)
        if move == "between":
            share = self.draws.uniform("between", items, 1)
            ends = self._latents_of(first + second)
            latents = along(ends[: len(first)], ends[len(first) :], share)[:, 0]
            return latents.astype(np.float32), self._levels(items, BETWEEN)
        nothing = np.full((len(items), self.size), np.nan, dtype=np.float32)
        return nothing, np.ones(len(items), dtype=np.float32)

    def _latents_of(self, smiles: list[str]) -> NDArray[np.float32]:
        """As :meth:`encoded`, but a parent is encoded once; alone, whatever is encoded with it."""
        new = [text for text in dict.fromkeys(smiles) if text not in self._latents]
        if len(self._latents) > KEPT:
            new, self._latents = list(dict.fromkeys(smiles)), {}
        texts = [self.selfies(text) for text in new]
        latents = self.proposer.encode_selfies(texts, rows=TOGETHER)
        self._latents.update(zip(new, latents, strict=True))
        return np.stack([self._latents[text] for text in smiles])

    def _changed(self, move: str, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        """SELFIES of the moves that need no decoder."""
        makers: dict[str, Callable[[_Ints, list[str], list[str]], list[str]]] = {
            "mutate": self._mutate,
            "splice": self._splice,
            "edit": self._edit,
            "cross": self._cross,
        }
        return makers[move](items, first, second)

    def _levels(self, items: _Ints, ends: tuple[float, float]) -> NDArray[np.float32]:
        u = self.draws.uniform("noise", items, 1)[:, 0]
        return (ends[0] + u * (ends[1] - ends[0])).astype(np.float32)

    def _mutate(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("mutate", items, 10)
        limit = self.proposer.model.max_tokens
        return [
            mutated(split_selfies(self.selfies(smiles)), self._alphabet, row, limit)
            for smiles, row in zip(first, u, strict=True)
        ]

    def _splice(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        u = self.draws.uniform("splice", items, 2)
        limit = self.proposer.model.max_tokens
        return [
            spliced(
                split_selfies(self.selfies(head)), split_selfies(self.selfies(tail)), row, limit
            )
            for head, tail, row in zip(first, second, u, strict=True)
        ]

    def _edit(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        changes = zip(first, self._generators("edit", items), strict=True)
        return [self._short(edited(smiles, self._elements, rng)) for smiles, rng in changes]

    def _cross(self, items: _Ints, first: list[str], second: list[str]) -> list[str]:
        changes = zip(first, second, self._generators("cross", items), strict=True)
        return [self._short(crossed(smiles, partner, rng)) for smiles, partner, rng in changes]

    def _generators(self, name: str, items: _Ints) -> Iterator[np.random.Generator]:
        """A random generator per item, as an edit needs a varying number of draws."""
        for u in self.draws.uniform(name, items, 1)[:, 0]:
            yield np.random.default_rng(int(u * 2**53))

    def _short(self, smiles: str) -> str:
        """The SELFIES, empty where it is longer than the model's."""
        text = self.selfies(smiles) if smiles else ""
        return text if len(split_selfies(text)) <= self.proposer.model.max_tokens else ""


EDITS = 3  # at most


def mutated(
    symbols: Sequence[str], alphabet: Sequence[str], u: NDArray[np.float64], limit: int
) -> str:
    """SELFIES after one to three edits: a symbol replaced, put in, or taken out.

    ``u`` are ten uniform numbers: of the number of edits, and of kind, place and symbol of each.
    ``limit`` symbols at most are returned.
    """
    result = list(symbols)
    for edit in range(1 + int(u[0] * EDITS)):
        kind, place, symbol = u[1 + 3 * edit : 4 + 3 * edit]
        new = alphabet[int(symbol * len(alphabet))]
        if kind < 1 / 3 or len(result) < 2:
            result.insert(int(place * (len(result) + 1)), new)
        elif kind < 2 / 3:
            result[int(place * len(result))] = new
        else:
            del result[int(place * len(result))]
    return "".join(result[:limit])


def spliced(first: Sequence[str], second: Sequence[str], u: NDArray[np.float64], limit: int) -> str:
    """The beginning of one SELFIES and the end of another, cut at random; ``limit`` symbols."""
    start = 1 + int(u[0] * len(first))
    end = int(u[1] * len(second))
    return "".join([*first[:start], *second[end:]][:limit])
