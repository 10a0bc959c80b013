"""The sampler's loop: propose candidates, screen and judge them, choose, in blocks."""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.chem.hashing import KeySet, keys_of
from molvae.chem.properties import Measured
from molvae.chem.screening import NO_ATOMS, RADICAL, Decoded, MoleculeScreen
from molvae.generate.blocks import BLOCK
from molvae.generate.candidates import Batch, Candidate, Proposals, Wanted
from molvae.generate.critic import Critic, SeedMolecules
from molvae.generate.evidence import features_of, held_out_words
from molvae.generate.proposer import Proposer
from molvae.generate.realism import Thresholds, applicable, realism_note, realism_screen, thresholds
from molvae.generate.refusals import Refusals
from molvae.generate.remote import RemoteBatches
from molvae.generate.request import SIMILARITY, TRIES, Generated, Request
from molvae.model.checkpoint import SavedModel
from molvae.runtime.processes import map_ordered
from molvae.runtime.randomness import Draws

__all__ = ["Listener", "Sampler"]

Listener = Callable[[int, Sequence[Generated]], None]

WALK_NOISE = 0.3  # noise level at which a moved latent is decoded
SCAFFOLD_SHARE = 0.05  # largest share of a block with one scaffold, while there is a choice
ONE_BY_ONE = 3  # candidates before rounds grow if realism refuses a share: fewer are in excess
PARENTS = 0.1  # share of a block's wanted molecules whose best candidates start later ones


class Sampler:
    """Draws molecules from a model for a request, in order: rejection sampling with a choice.

    For each wanted molecule the network proposes candidates x ~ p(x | z, t, c): decoded from a
    latent z (of the prior, or of a seed molecule) at noise level t, with the requested conditions
    c shown. RDKit screens them and computes their true properties. Without point targets the first
    candidate that passes is taken. With point targets, or ranges that may be missed, several are
    drawn, and the one of lowest cost is taken:

        cost(x) = sum over targets of |property(x) - target| / spread,  0 inside a range

    The spread is the property's standard deviation in the training data. A measured column with a
    predictor costs −log of the probability that its true value meets the target. Where nothing
    passes, more candidates follow, up to ``max_tries``; with walks these start at the best so far.

    Candidates of a wanted molecule depend on its number and the seed alone. Which of them is
    chosen also depends on what was chosen before it in its block of ``BLOCK`` wanted molecules, so
    that no molecule is written twice.
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
        elsewhere: bool = False,
        known: KeySet | None = None,
        listener: Listener | None = None,
    ) -> None:
        """``executor`` has ``workers`` processes for RDKit, ``decoders`` threads for the network.

        With ``elsewhere`` the workers are on other machines and decode too.
        ``known`` holds the keys (:func:`molvae.chem.hashing.keys_of`) of molecules to exclude.
        ``listener`` gets the candidates decoded so far and the molecules just settled, if any.
        """
        self._listener = listener
        self._realism_note = realism_note(request, model)
        self.model, self.request = model, (request := applicable(request, model))
        self.proposer = Proposer(
            model,
            request,
            draws=Draws(seed),
            device=device or torch.device("cpu"),
            precision=precision,
            batch_size=batch_size,
        )
        self.batch_size = batch_size
        self.executor, self.workers = executor, workers
        self.decoders, self.decoder_count = decoders, decoder_count
        self._elsewhere = elsewhere
        self.known = known or KeySet()
        self.refused = Refusals()
        self.decoded = 0
        self._written = KeySet()
        read = functools.partial(features_of, workers=workers, executor=executor)
        self.critic = Critic(model, request, self.proposer, read)
        self.seed_molecules = SeedMolecules(request.like, model, self.proposer)
        self._excluded = set(self.seed_molecules.smiles) if request.unique else set()
        self._walks = self._must_walk()

    @functools.cached_property
    def _screen(self) -> MoleculeScreen:
        request, given = self.request, self.seed_molecules.smiles
        return MoleculeScreen(
            names=self.critic.exact,
            constraints=self.model.constraints,
            rewrite=bool(self.critic.predicted) or self._walks or request.nll,
            alerts=request.alerts,
            elements=request.elements,
            max_ring=request.max_ring,
            scaffolds=request.scaffolds,
            fill=request.fill,
            realism=realism_screen(self.model, request, self._thresholds.log_m, given),
            fingerprint=bool(request.like),
            core=request.compares,
        )

    @functools.cached_property
    def _thresholds(self) -> Thresholds:
        scaffold = self.proposer.scaffold
        return thresholds(
            self.model,
            self.request,
            self.seed_molecules.smiles,
            # In one batch, whatever its size is otherwise: rounding must not move the threshold.
            lambda items: self._decode(Batch(items, *self._starts(items))).texts,
            grows=scaffold is not None and scaffold.grows,
        )

    def _must_walk(self) -> bool:
        """Whether latents are to be moved along the head's gradient."""
        conditions, request = self.model.conditions, self.request
        targets = [t for t in request.targets if t.name in conditions.names]
        if request.walk is not None or not request.critic:
            return bool(request.walk and targets)
        return bool(self.critic.predicted or conditions.warnings(targets))

    def notes(self) -> list[str]:
        """Warnings about the request, for the user."""
        notes = self._realism_note + self.model.conditions.warnings(self.request.targets)
        if self.proposer.scaffold is not None:
            notes += self.proposer.scaffold.notes
        for target in self.request.targets:
            if target.name in self.critic.predicted:
                known = held_out_words(self.model, target.name) or "quality unknown"
                notes.append(
                    f"{target.name} is predicted by the model (held-out molecules: {known})"
                )
            elif target.name not in (*self.model.conditions.names, SIMILARITY):
                notes.append(
                    f"the model does not know {target.name}: it is handled by rejection sampling"
                )
        return notes

    def stream(self, n: int, first: int = 0) -> Iterator[Generated]:
        """Molecules for the wanted numbers ``first`` … ``first + n - 1``; fewer if not found."""
        starts = range(first, first + n, BLOCK)
        for block in self.blocks(range(start, min(start + BLOCK, first + n)) for start in starts):
            yield from block

    def blocks(self, numbers: Iterable[range]) -> Iterator[list[Generated]]:
        """The molecules of one block of wanted numbers after the other.

        While workers screen the first candidates of a block, those of the next are decoded.
        """
        pending: deque[tuple[list[Wanted], int]] = deque()  # a block, number of its batches

        def first_rounds() -> Iterator[Batch]:
            for block in numbers:
                wanted = [Wanted(number) for number in block]
                items = self._items(wanted, self._first_round())
                pending.append((wanted, -(-len(items) // self.batch_size)))
                yield from self._batches(items, wanted)

        results = self._screened(first_rounds())
        for batch in results:
            wanted, count = pending.popleft()
            batches = [batch, *(next(results) for _ in range(count - 1))]
            yield self._settle_block(wanted, batches)

    def forbid(self, smiles: Iterable[str]) -> None:
        """Count these canonical SMILES as written."""
        self._written.add(keys_of(smiles))

    # -- rounds ---------------------------------------------------------------------------------

    def _first_round(self) -> int:
        """Candidates per wanted molecule before any is judged."""
        if not self.request.compares:
            return 1
        share = 2 if self._walks else 1  # the second half starts at the best of the first
        return min(-(-self.request.drawn // share), self.request.tries)

    def _next_round(self, tried: int, before: int) -> int:
        """Candidates per wanted molecule after ``tried``, of which ``before`` in the last round."""
        request = self.request
        if not request.compares:  # few are missing, and these may be hard: double
            single = request.realism is not None and tried < ONE_BY_ONE
            size = 1 if single else min(before * 2, request.candidates)
        elif self._walks:
            size = max(request.drawn // 4, 1)
        else:
            size = request.drawn
        return min(size, request.tries - tried)

    def _settle_block(
        self, wanted: list[Wanted], batches: list[tuple[Proposals, list[Measured]]]
    ) -> list[Generated]:
        """Choose a molecule for each wanted one, round by round; ``batches`` are the first round.

        All members of ``wanted`` have had the same number of candidates.
        """
        chosen: dict[int, Candidate] = {}
        written: set[str] = set()
        scaffold_counts: Counter[str] = Counter()
        # With few wanted molecules a share would allow none twice.
        scaffold_limit = max(int(SCAFFOLD_SHARE * len(wanted)), 2)
        size = self._first_round()
        enough = min(self.request.drawn, self.request.tries)
        while True:
            self._judge(wanted, size, batches)
            # A choice made before all candidates are known would miss the better ones to come.
            if not self.request.compares or wanted[0].tried >= enough:
                before = set(chosen)
                wanted = self._choose(wanted, chosen, written, scaffold_counts, scaffold_limit)
                self._report({number: chosen[number] for number in chosen.keys() - before})
            if not wanted or wanted[0].tried >= self.request.tries:
                break
            # Only those without a molecule get another round.
            size = self._next_round(wanted[0].tried, size)
            items = self._items(wanted, size)
            batches = list(self._screened(self._batches(items, wanted)))
        if wanted:
            self.refused["wanted molecules given up after max-tries candidates"] += len(wanted)
        # Added at the end: within the block ``written`` finds repeats.
        self._written.add(keys_of(written))
        return self._generated(dict(sorted(chosen.items())))

    def _generated(self, chosen: dict[int, Candidate]) -> list[Generated]:
        """The chosen candidates, by wanted number, as molecules to write."""
        names = [target.name for target in self.request.targets]
        nats: list[float | None] = [None] * len(chosen)
        if self.request.nll:
            nats = self.proposer.nats_of_selfies([c.selfies for c in chosen.values()])
        return [
            Generated(
                candidate.smiles,
                dict(zip(names, candidate.values, strict=True)),
                self.seed_molecules.of(number),
                candidate.similarity if self.seed_molecules else None,
                nll,
                candidate.evidence,
            )
            for (number, candidate), nll in zip(chosen.items(), nats, strict=True)
        ]

    def _items(self, wanted: list[Wanted], size: int) -> NDArray[np.int64]:
        """Numbers of the next ``size`` candidates of every wanted molecule."""
        numbers = np.asarray([w.number for w in wanted], dtype=np.int64)
        return (numbers[:, None] * TRIES + wanted[0].tried + np.arange(size)).reshape(-1)

    def _batches(self, items: NDArray[np.int64], wanted: list[Wanted]) -> Iterator[Batch]:
        """Batches of candidates; with walks, those of later rounds start at the best so far."""
        latents, levels = self._starts(items)
        if self._walks and wanted[0].tried:
            self._move(items, wanted, latents, levels)
        for start in range(0, len(items), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(items[part], latents[part], levels[part])

    def _starts(self, items: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Latents (N, Z), NaN where one is to be drawn, and noise levels (N,) of candidates."""
        size = self.model.network.config.latent_size
        latents = np.full((len(items), size), np.nan, dtype=np.float32)
        if self.seed_molecules:
            latents[:] = self.seed_molecules.latents(items)
        return latents, self.proposer.levels(items)

    def _decode(self, batch: Batch) -> Proposals:
        return Proposals(batch.items, self.proposer.texts(*batch))

    def _move(
        self,
        items: NDArray[np.int64],
        wanted: list[Wanted],
        latents: NDArray[np.float32],
        levels: NDArray[np.float32],
    ) -> None:
        """Start candidates at the best of the block; with seed molecules, at the best of their own.

        Columns that only the property head can judge also walk along its gradient. Other targets
        do not: candidates that only the head rates well would dominate (research/log.md).
        """
        judged = sorted((w for w in wanted if w.nearest[1]), key=lambda w: w.nearest[0])
        if self.seed_molecules:
            nearest = {w.number: w.nearest[1] for w in judged}
            texts = [nearest.get(owner, "") for owner in (items // TRIES).tolist()]
        else:
            parents = [w.nearest[1] for w in judged[: max(int(PARENTS * len(wanted)), 1)]]
            chance = self.proposer.draws.uniform("parent", items, 1)[:, 0]
            texts = [parents[int(u * len(parents))] if parents else "" for u in chance]
        begin = self.proposer.encode_selfies(texts)
        usable = ~np.isnan(begin[:, 0])
        if self.critic.predicted:
            begin[usable] = self.proposer.walk(begin[usable], items[usable])
        latents[usable] = begin[usable]
        levels[usable] = WALK_NOISE

    def _screened(self, batches: Iterable[Batch]) -> Iterator[tuple[Proposals, list[Measured]]]:
        """Every batch, decoded and measured by RDKit, while the next ones are decoded."""
        for batch, measured in (self._afar if self._elsewhere else self._nearby)(batches):
            self.decoded += len(batch.items)
            self._report({})
            yield batch, measured

    def _nearby(self, batches: Iterable[Batch]) -> Iterator[tuple[Proposals, list[Measured]]]:
        """Decoded in threads of this process, measured by its workers."""
        sent: deque[Proposals] = deque()

        def decoded() -> Iterator[Decoded]:
            for batch in map_ordered(
                self._decode, batches, workers=self.decoder_count, executor=self.decoders, ahead=2
            ):
                sent.append(batch)
                yield Decoded(batch.texts, self._numbers(batch.items))

        for measured in map_ordered(
            self._screen, decoded(), workers=self.workers, executor=self.executor
        ):
            yield sent.popleft(), measured

    def _afar(self, batches: Iterable[Batch]) -> Iterator[tuple[Proposals, list[Measured]]]:
        """Decoded and measured by workers on other machines."""
        sent: deque[NDArray[np.int64]] = deque()

        def tasks() -> Iterator[tuple[Batch, list[float]]]:
            for batch in batches:
                sent.append(batch.items)
                yield batch, self._numbers(batch.items)

        for texts, measured in map_ordered(
            self._remote, tasks(), workers=self.workers, executor=self.executor
        ):
            yield Proposals(sent.popleft(), texts), measured

    @functools.cached_property
    def _remote(self) -> RemoteBatches:
        return RemoteBatches.of(self.proposer, self._screen)

    def _numbers(self, items: NDArray[np.int64]) -> list[float]:
        """The number of each candidate that realism compares with its margin."""
        uniform = self.proposer.draws.uniform("realism", items, 1)[:, 0]
        numbers: list[float] = self._thresholds.numbers(items, uniform).tolist()
        return numbers

    def _report(self, settled: Mapping[int, Candidate]) -> None:
        """Tell the listener what was decoded and settled; what it raises ends the work."""
        if self._listener is not None:
            self._listener(self.decoded, self._generated(dict(sorted(settled.items()))))

    # -- judgement ------------------------------------------------------------------------------

    def _judge(
        self, wanted: list[Wanted], size: int, batches: list[tuple[Proposals, list[Measured]]]
    ) -> None:
        """Give each wanted molecule those of its ``size`` new candidates that are acceptable."""
        items = np.concatenate([batch.items for batch, _ in batches])
        measured = [molecule for _, molecules in batches for molecule in molecules]
        texts = [text for batch, _ in batches for text in batch.texts]
        similarity = self.seed_molecules.similarity(items, measured)
        values, costs, outside, evidence = self.critic.judge(measured, texts, similarity)
        known = self.known.holds(keys_of([molecule.smiles for molecule in measured]))
        for i, candidate in enumerate(measured):
            owner = wanted[i // size]
            if not candidate.smiles:
                self.refused[NO_ATOMS] += 1
                continue
            screened = candidate.screened
            if candidate.radical and self.request.critic:
                self.refused[RADICAL] += 1
                continue
            if screened.refusal:
                self.refused.add(screened)
                continue
            # Misses count too: later candidates may start at a molecule outside the range.
            if costs[i] < owner.nearest[0]:
                owner.nearest = (float(costs[i]), candidate.selfies)
            if candidate.smiles in self._excluded:
                self.refused["the given molecule itself"] += 1
            elif known[i]:
                self.refused["not novel"] += 1
            elif outside[i] and not self.request.allow_misses:
                self.refused["outside the requested range"] += 1
            else:
                owner.candidates.append(
                    Candidate(
                        cost=float(costs[i]),
                        item=int(items[i]),
                        smiles=candidate.smiles,
                        values=tuple(values[i].tolist()),
                        similarity=float(similarity[i]),
                        scaffold=screened.core,
                        selfies=candidate.selfies,
                        evidence={} if evidence is None else evidence.cells(i),
                    )
                )
        for owner in wanted:
            owner.tried += size

    def _choose(
        self,
        wanted: list[Wanted],
        chosen: dict[int, Candidate],
        written: set[str],
        scaffold_counts: Counter[str],
        scaffold_limit: int,
    ) -> list[Wanted]:
        """Choose where there is a candidate not written before, count it, return the others."""
        smiles = [candidate.smiles for w in wanted for candidate in w.candidates]
        before = self._written.holds(keys_of(smiles))
        repeats = {text for text, seen in zip(smiles, before, strict=True) if seen}
        remaining = []
        for owner in wanted:
            ranked = sorted(owner.candidates, key=lambda c: (c.cost, c.item))
            if self.request.unique:
                ranked = [c for c in ranked if c.smiles not in repeats and c.smiles not in written]
            if not ranked:
                if owner.candidates:
                    self.refused["written before"] += len(owner.candidates)
                    owner.candidates.clear()
                remaining.append(owner)
                continue
            # No scaffold may dominate, but a common scaffold is better than no molecule.
            rare = (c for c in ranked if scaffold_counts[c.scaffold] < scaffold_limit)
            best = next(rare, ranked[0])
            scaffold_counts[best.scaffold] += 1 if best.scaffold else 0
            written.add(best.smiles)
            chosen[owner.number] = best
        return remaining
