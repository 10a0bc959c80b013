"""Candidates, their judgement, and the choice among them, in blocks of wanted molecules."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.hashing import KeySet, keys_of
from molvae.chem.properties import Measured
from molvae.chem.screening import MoleculeScreen, ScreenResult
from molvae.generate.critic import Critic, Starts
from molvae.generate.proposer import Proposer
from molvae.generate.request import SIMILARITY, TRIES, Generated, Request
from molvae.model.checkpoint import SavedModel
from molvae.model.conditions import head_error
from molvae.runtime.processes import map_ordered
from molvae.runtime.randomness import Draws

__all__ = ["BLOCK", "Sampler"]

BLOCK = 1024  # wanted molecules settled together; fixed, so that results do not depend on batches
WALK_NOISE = 0.3  # noise level at which a moved latent is decoded
CORE_SHARE = 0.05  # of a block that may share a scaffold while there is a choice
PARENTS = 0.1  # share of a block's wanted molecules whose nearest candidates later ones start from


class _Candidate(NamedTuple):
    """A molecule that may be written."""

    cost: float
    item: int
    smiles: str
    values: tuple[float, ...]
    similarity: float
    core: str
    selfies: str


@dataclass
class _Slot:
    """One wanted molecule while candidates for it are being drawn."""

    number: int
    tried: int = 0
    found: list[_Candidate] = field(default_factory=list)
    nearest: tuple[float, str] = (math.inf, "")  # cost and SELFIES of the best, hit or miss


class _Starts(NamedTuple):
    """Candidates of one batch about to be decoded, as :meth:`Proposer.texts` takes them."""

    items: NDArray[np.int64]
    latents: NDArray[np.float32]
    levels: NDArray[np.float32]


class _Proposals(NamedTuple):
    """Candidates of one batch on their way through the checks."""

    items: NDArray[np.int64]
    texts: list[str]


class Sampler:
    """Draws molecules from a model for a request, in order.

    Candidates of a wanted molecule depend on its number and the seed alone. Which of them is
    written also depends on what was written before it in its block of wanted molecules, so that
    no molecule is written twice.
    """

    def __init__(
        self,
        model: SavedModel,
        request: Request,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        precision: str = "auto",
        batch_size: int = 1024,
        executor: Executor | None = None,
        workers: int = 1,
        decoders: Executor | None = None,
        decoder_count: int = 1,
        known: KeySet | None = None,
    ) -> None:
        """``executor`` holds ``workers`` for RDKit, ``decoders`` threads for the network.

        ``known`` are the keys (:func:`molvae.chem.hashing.keys_of`) of molecules not to be written.
        """
        self.model, self.request = model, request
        self.proposer = Proposer(
            model, request, draws=Draws(seed), device=device or torch.device("cpu"),
            precision=precision, batch_size=batch_size,
        )  # fmt: skip
        self.batch_size = batch_size
        self.executor, self.workers = executor, workers
        self.decoders, self.decoder_count = decoders, decoder_count
        self.known = known or KeySet()
        self.refused: Counter[str] = Counter()
        self.decoded = 0
        self._written = KeySet()
        self.critic = Critic(model, request, self.proposer)
        self.starts = Starts(request.like, model, self.proposer)
        self._given = set(self.starts.smiles) if request.unique else set()
        self._walks = self._must_walk()
        self._screen = MoleculeScreen(
            names=self.critic.exact,
            constraints=model.constraints,
            rewrite=bool(self.critic.predicted) or self._walks or request.nll,
            alerts=request.alerts,
            elements=request.elements,
            max_ring=request.max_ring,
            scaffold=request.scaffold,
            fingerprint=bool(request.like),
            core=request.compares,
        )

    def _must_walk(self) -> bool:
        """Whether latents are to be moved along the head's gradient."""
        conditions, request = self.model.conditions, self.request
        asked = [t for t in request.targets if t.name in conditions.names]
        if request.walk is not None or not request.critic:
            return bool(request.walk and asked)
        return bool(self.critic.predicted or conditions.warnings(asked))

    def notes(self) -> list[str]:
        """What the user should know about the request before reading the result."""
        notes = self.model.conditions.warnings(self.request.targets)
        if self.proposer.scaffold is not None and not self.proposer.scaffold.grows:
            notes.append(
                f"'{self.request.scaffold}' is a pattern, not a molecule to build around: "
                "molecules without it are refused, which may take many tries"
            )
        for target in self.request.targets:
            if target.name in self.critic.predicted:
                notes.append(self._prediction_note(target.name))
            elif target.name not in (*self.model.conditions.names, SIMILARITY):
                notes.append(f"the model does not know {target.name}: met by selection alone")
        return notes

    def _prediction_note(self, name: str) -> str:
        known = head_error(self.model.training.get("figures"), name) or "unknown"
        return f"{name} is judged by the model's own prediction (held-out {known})"

    def stream(self, n: int, first: int = 0) -> Iterator[Generated]:
        """Molecules for the wanted numbers ``first`` … ``first + n - 1``; fewer if not found."""
        starts = range(first, first + n, BLOCK)
        for block in self.blocks(range(start, min(start + BLOCK, first + n)) for start in starts):
            yield from block

    def blocks(self, numbers: Iterable[range]) -> Iterator[list[Generated]]:
        """The molecules of one block of wanted numbers after the other, each settled by itself.

        While workers check the first candidates of a block, those of the next are decoded.
        """
        coming: deque[tuple[list[_Slot], int]] = deque()  # slots of a block, batches to come

        def first_rounds() -> Iterator[_Starts]:
            for block in numbers:
                slots = [_Slot(number) for number in block]
                items = self._items(slots, self._first_round())
                coming.append((slots, -(-len(items) // self.batch_size)))
                yield from self._batches(items, slots)

        results = self._checked(first_rounds())
        for batch in results:
            slots, count = coming.popleft()
            batches = [batch, *(next(results) for _ in range(count - 1))]
            yield self._settle_block(slots, batches)

    def forbid(self, smiles: Iterable[str]) -> None:
        """Count these canonical SMILES as written."""
        self._written.add(keys_of(smiles))

    # -- rounds ---------------------------------------------------------------------------------

    def _first_round(self) -> int:
        """Candidates per slot before any is judged."""
        if not self.request.compares:
            return 1
        share = 2 if self._walks else 1
        return min(-(-self.request.candidates // share), self.request.tries)

    def _next_round(self, tried: int, before: int) -> int:
        """Candidates per slot after ``tried`` of them, the last round having had ``before``."""
        request = self.request
        if not request.compares:
            size = min(before * 2, request.candidates)
        elif self._walks:
            size = max(request.candidates // 4, 1)
        else:
            size = request.candidates
        return min(size, request.tries - tried)

    def _settle_block(
        self, slots: list[_Slot], batches: list[tuple[_Proposals, list[Measured]]]
    ) -> list[Generated]:
        done: dict[int, _Candidate] = {}
        written: set[str] = set()
        cores: Counter[str] = Counter()
        room = max(int(CORE_SHARE * len(slots)), 2)
        size = self._first_round()
        enough = min(self.request.candidates, self.request.tries)
        while True:
            self._file(slots, size, batches)
            if not self.request.compares or slots[0].tried >= enough:
                slots = self._choose(slots, done, written, cores, room)
            if not slots or slots[0].tried >= self.request.tries:
                break
            size = self._next_round(slots[0].tried, size)
            items = self._items(slots, size)
            batches = list(self._checked(self._batches(items, slots)))
        if slots:
            self.refused["wanted molecules given up after max-tries candidates"] += len(slots)
        self._written.add(keys_of(written))
        return self._generated(dict(sorted(done.items())))

    def _generated(self, done: dict[int, _Candidate]) -> list[Generated]:
        """The chosen molecules with all that is to be told of them, by wanted number."""
        names = [target.name for target in self.request.targets]
        nats: list[float | None] = [None] * len(done)
        if self.request.nll:
            nats = self.proposer.nats_of_selfies([one.selfies for one in done.values()])
        return [
            Generated(
                one.smiles,
                dict(zip(names, one.values, strict=True)),
                self.starts.of(number),
                one.similarity if self.starts else None,
                nll,
            )
            for (number, one), nll in zip(done.items(), nats, strict=True)
        ]

    def _items(self, slots: list[_Slot], size: int) -> NDArray[np.int64]:
        """Numbers of the next ``size`` candidates of every slot."""
        numbers = np.asarray([slot.number for slot in slots], dtype=np.int64)
        return (numbers[:, None] * TRIES + slots[0].tried + np.arange(size)).reshape(-1)

    def _batches(self, items: NDArray[np.int64], slots: list[_Slot]) -> Iterator[_Starts]:
        """Batches of candidates; with walks, those of later rounds start at the nearest so far."""
        size = self.model.network.config.latent_size
        latents = np.full((len(items), size), np.nan, dtype=np.float32)
        levels = self.proposer.levels(items)
        if self.starts:
            latents[:] = self.starts.latents(items)
        if self._walks and slots[0].tried:
            self._move(items, slots, latents, levels)
        for start in range(0, len(items), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield _Starts(items[part], latents[part], levels[part])

    def _decode(self, starts: _Starts) -> _Proposals:
        return _Proposals(starts.items, self.proposer.texts(*starts))

    def _move(
        self,
        items: NDArray[np.int64],
        slots: list[_Slot],
        latents: NDArray[np.float32],
        levels: NDArray[np.float32],
    ) -> None:
        """Let candidates start at the nearest of the block; of their own slot, around a molecule.

        Where the critic believes the head, they walk along its gradient first: candidates that
        please the head alone would breed (docs/experiments.md).
        """
        found = sorted((slot for slot in slots if slot.nearest[1]), key=lambda s: s.nearest[0])
        if self.starts:
            own = {slot.number: slot.nearest[1] for slot in found}
            texts = [own.get(owner, "") for owner in (items // TRIES).tolist()]
        else:
            parents = [slot.nearest[1] for slot in found[: max(int(PARENTS * len(slots)), 1)]]
            chance = self.proposer.draws.uniform("parent", items, 1)[:, 0]
            texts = [parents[int(u * len(parents))] if parents else "" for u in chance]
        begin = self.proposer.encode_selfies(texts)
        usable = ~np.isnan(begin[:, 0])
        if self.critic.predicted:
            begin[usable] = self.proposer.walk(begin[usable], items[usable])
        latents[usable] = begin[usable]
        levels[usable] = WALK_NOISE

    def _checked(self, batches: Iterable[_Starts]) -> Iterator[tuple[_Proposals, list[Measured]]]:
        """Every batch, decoded, with what RDKit found; the next are under way meanwhile."""
        sent: deque[_Proposals] = deque()

        def texts() -> Iterator[list[str]]:
            for batch in map_ordered(
                self._decode, batches, workers=self.decoder_count, executor=self.decoders, ahead=2
            ):
                sent.append(batch)
                yield batch.texts

        for measured in map_ordered(
            self._screen, texts(), workers=self.workers, executor=self.executor
        ):
            batch = sent.popleft()
            self.decoded += len(batch.items)
            yield batch, measured

    # -- judgement ------------------------------------------------------------------------------

    def _file(
        self, slots: list[_Slot], size: int, batches: list[tuple[_Proposals, list[Measured]]]
    ) -> None:
        """Judge the candidates and keep the acceptable ones with their slots."""
        items = np.concatenate([batch.items for batch, _ in batches])
        measured = [one for _, found in batches for one in found]
        texts = [text for batch, _ in batches for text in batch.texts]
        similarity = self.starts.similarity(items, measured)
        values, costs, outside = self.critic.judge(measured, texts, similarity)
        known = self.known.holds(keys_of([one.smiles for one in measured]))
        for i, candidate in enumerate(measured):
            slot = slots[i // size]
            if not candidate.smiles:
                self.refused["not a molecule (no atoms)"] += 1
                continue
            screened: ScreenResult = candidate.screened
            radical = candidate.radical and self.request.critic
            refusal = "unpaired electrons" if radical else screened.refusal
            if refusal:
                self.refused[refusal] += 1
                continue
            if costs[i] < slot.nearest[0]:
                slot.nearest = (float(costs[i]), candidate.selfies)
            if candidate.smiles in self._given:
                self.refused["the given molecule itself"] += 1
            elif known[i]:
                self.refused["not novel"] += 1
            elif outside[i] and not self.request.allow_misses:
                self.refused["outside the requested range"] += 1
            else:
                slot.found.append(
                    _Candidate(
                        float(costs[i]), int(items[i]), candidate.smiles,
                        tuple(values[i].tolist()),
                        float(similarity[i]), screened.core, candidate.selfies,
                    )
                )  # fmt: skip
        for slot in slots:
            slot.tried += size

    def _choose(
        self,
        slots: list[_Slot],
        done: dict[int, _Candidate],
        written: set[str],
        cores: Counter[str],
        room: int,
    ) -> list[_Slot]:
        """Settle the slots that have a candidate not written before; the others are returned."""
        candidates = [one for slot in slots for one in slot.found]
        before = self._written.holds(keys_of([one.smiles for one in candidates]))
        old = {one.smiles for one, seen in zip(candidates, before, strict=True) if seen}
        still_open = []
        for slot in slots:
            ranked = sorted(slot.found, key=lambda one: (one.cost, one.item))
            if self.request.unique:
                ranked = [r for r in ranked if r.smiles not in old and r.smiles not in written]
            if not ranked:
                if slot.found:
                    self.refused["written before"] += len(slot.found)
                    slot.found.clear()
                still_open.append(slot)
                continue
            # One scaffold must not take over; but better a common one than none.
            chosen = next((one for one in ranked if cores[one.core] < room), ranked[0])
            cores[chosen.core] += 1 if chosen.core else 0
            written.add(chosen.smiles)
            done[slot.number] = chosen
        return still_open
