"""Candidates, their judgement, and the choice among them, in blocks of wanted molecules."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.checkpoint import SavedModel
from molvae.conditions import hit, misfit
from molvae.dataset import pad_tokens
from molvae.errors import TargetError
from molvae.model import noisy_latent
from molvae.parallel import map_ordered
from molvae.properties import PROPERTIES, Measured, measure_selfies
from molvae.runtime import Draws
from molvae.sampler.decoding import decode_tokens
from molvae.sampler.request import TRIES, Generated, Request
from molvae.tokens import EOS, PAD, split_selfies

__all__ = ["Sampler"]

BLOCK = 1024  # wanted molecules settled together; fixed, so that results do not depend on batches


@dataclass
class _Slot:
    """One wanted molecule while candidates for it are being drawn."""

    number: int
    tried: int = 0
    found: list[tuple[float, int, Measured]] = field(default_factory=list)


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
        batch_size: int = 256,
        executor: Executor | None = None,
        workers: int = 1,
    ) -> None:
        self.model, self.request = model, request
        self.draws = Draws(seed)
        self.device = device or torch.device("cpu")
        self.network = model.network.to(self.device).eval()
        self.batch_size = batch_size
        self.executor, self.workers = executor, workers
        self.refused: Counter[str] = Counter()
        self.decoded = 0
        self._written: set[bytes] = set()
        self._exact = tuple(t.name for t in request.targets if t.name in PROPERTIES)
        known = model.conditions.names
        unknown = [t.name for t in request.targets if t.name not in (*PROPERTIES, *known)]
        if unknown:
            raise TargetError(f"unknown property '{unknown[0]}'")

    def notes(self) -> list[str]:
        """What the user should know about the request before reading the result."""
        notes = self.model.conditions.warnings(self.request.targets)
        for target in self.request.targets:
            if target.name not in self._exact:
                notes.append(self._prediction_note(target.name))
            if target.name not in self.model.conditions.names:
                notes.append(f"the model does not know {target.name}: met by selection alone")
        return notes

    def _prediction_note(self, name: str) -> str:
        figures = self.model.training.get("figures") or {}
        error = (figures.get("head") or {}).get(name, {})
        known = ", ".join(f"{k} {v:.3g}" for k, v in error.items() if k != "n")
        return f"{name} is judged by the model's own prediction (held-out {known or 'unknown'})"

    def stream(self, n: int, first: int = 0) -> Iterator[Generated]:
        """Molecules for the wanted numbers ``first`` … ``first + n - 1``; fewer if not found."""
        for start in range(first, first + n, BLOCK):
            yield from self._block(range(start, min(start + BLOCK, first + n)))

    def _block(self, numbers: range) -> list[Generated]:
        slots = [_Slot(number) for number in numbers]
        done: dict[int, Generated] = {}
        patient = self._must_compare()
        round_size = self.request.candidates if patient else 1
        while slots and slots[0].tried < self.request.tries:
            size = min(round_size, self.request.tries - slots[0].tried)
            self._propose(slots, size)
            still_open = []
            for slot in slots:
                chosen = self._settle(slot)
                if chosen is None:
                    still_open.append(slot)
                else:
                    done[slot.number] = chosen
            slots = still_open
            if not patient:
                round_size = min(round_size * 2, self.request.candidates)
        if slots:
            self.refused["wanted molecules given up after max-tries candidates"] += len(slots)
        return [done[number] for number in sorted(done)]

    def _must_compare(self) -> bool:
        """Whether the best of several candidates is wanted, and not the first that will do."""
        request = self.request
        points = any(t.is_point for t in request.targets)
        return request.critic and (points or (request.allow_misses and bool(request.targets)))

    def _propose(self, slots: list[_Slot], size: int) -> None:
        """Draw ``size`` more candidates for every slot and file the acceptable ones."""
        numbers = np.asarray([slot.number for slot in slots], dtype=np.int64)
        tries = slots[0].tried + np.arange(size)
        items = (numbers[:, None] * TRIES + tries[None, :]).reshape(-1)
        owners = np.repeat(np.arange(len(slots)), size)
        measured, ids = self._candidates(items)
        values = self._values(measured, ids)
        costs, outside = self._judge(values, len(items))
        for i, candidate in enumerate(measured):
            if not candidate.smiles:
                self.refused["not a molecule (no atoms)"] += 1
            elif candidate.radical and self.request.critic:
                self.refused["unpaired electrons"] += 1
            elif outside[i] and not self.request.allow_misses:
                self.refused["outside the requested range"] += 1
            else:
                exact = Measured(candidate.smiles, tuple(float(v[i]) for v in values.values()))
                slots[owners[i]].found.append((float(costs[i]), int(items[i]), exact))
        for slot in slots:
            slot.tried += size

    def _settle(self, slot: _Slot) -> Generated | None:
        """The best candidate that was not written before, if there is one."""
        names = [target.name for target in self.request.targets]
        for _, _, candidate in sorted(slot.found, key=lambda entry: entry[:2]):
            # A hash, not the text: millions of molecules must fit.
            key = hashlib.blake2b(candidate.smiles.encode(), digest_size=8).digest()
            if self.request.unique and key in self._written:
                continue
            self._written.add(key)
            return Generated(candidate.smiles, dict(zip(names, candidate.values, strict=True)))
        if slot.found:
            self.refused["written before"] += len(slot.found)
            slot.found.clear()
        return None

    def _candidates(
        self, items: NDArray[np.int64]
    ) -> tuple[list[Measured], list[NDArray[np.int64]]]:
        """Decode candidates on the device while workers check those decoded before."""
        ids: list[NDArray[np.int64]] = []

        def texts() -> Iterator[list[str]]:
            for start in range(0, len(items), self.batch_size):
                rows = self._decode(items[start : start + self.batch_size])
                ids.extend(rows)
                yield [self.model.vocabulary.selfies(row.tolist()) for row in rows]

        work = functools.partial(
            measure_selfies,
            names=self._exact,
            constraints=self.model.constraints,
            rewrite=len(self._exact) < len(self.request.targets),
        )
        measured: list[Measured] = []
        for part in map_ordered(work, texts(), workers=self.workers, executor=self.executor):
            measured += part
        self.decoded += len(items)
        return measured, ids

    def _decode(self, items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        request, draws = self.request, self.draws
        # Nothing longer than the longest training molecule: what is not finished ends there.
        size, limit = self.network.config.latent_size, self.model.max_tokens
        z = self._tensor(draws.normal("latent", items, size))
        noise = self._tensor(draws.normal("channel", items, size))
        t = torch.full((len(items),), request.noise, device=self.device)
        wanted = self.model.conditions.draw(request.targets, items, draws)
        conditions, mask = self.model.conditions.standardize(wanted)
        uniform = draws.uniform("token", items, limit)
        if self.device.type == "mps":  # which has no double precision
            uniform = np.minimum(uniform.astype(np.float32), np.float32(1 - 2**-24))
        with torch.no_grad():
            context = self.network.make_context(
                noisy_latent(z, t, noise), t, self._tensor(conditions), self._tensor(mask)
            )
            tokens = decode_tokens(
                self.network,
                context,
                limit,
                temperature=request.temperature,
                uniform=self._tensor(uniform),
            )
        return list(tokens.cpu().numpy())

    def _values(
        self, measured: list[Measured], ids: list[NDArray[np.int64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Every requested property of every candidate: exact, or the head's prediction.

        The prediction is that of the molecule, not of the string it was sampled as.
        """
        values = {}
        predicted: NDArray[np.float64] | None = None
        for target in self.request.targets:
            if target.name in self._exact:
                k = self._exact.index(target.name)
                column = [m.values[k] if m.smiles else np.nan for m in measured]
                values[target.name] = np.asarray(column, dtype=np.float64)
            else:
                if predicted is None:
                    rows = [self._canonical(m, row) for m, row in zip(measured, ids, strict=True)]
                    predicted = self.predict(rows)
                k = self.model.conditions.names.index(target.name)
                values[target.name] = predicted[:, k]
        return values

    def _canonical(self, measured: Measured, sampled: NDArray[np.int64]) -> NDArray[np.int64]:
        """Token ids of the canonical SMILES; of the sampled string if a token is unknown."""
        symbols = split_selfies(measured.selfies)
        if not symbols or self.model.vocabulary.unknown(symbols):
            return sampled
        return self.model.vocabulary.encode_symbols(symbols)

    @torch.no_grad()
    def predict(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
        """The property head's values for token rows (ids up to <eos>), shape (N, C)."""
        conditions, parts = self.model.conditions, []
        for start in range(0, len(ids), self.batch_size):
            block = [_trim(row) for row in ids[start : start + self.batch_size]]
            _, targets, lengths = pad_tokens(block)
            posterior = self.network.encode(self._tensor(targets), self._tensor(lengths))
            mean, _ = self.network.predict(posterior.mean)
            scaled = mean.cpu().double().numpy()
            share = 1.0 / (1.0 + np.exp(-scaled))
            parts.append(np.where(conditions.yesno, share, conditions.restore(scaled)))
        return np.concatenate(parts)

    def _judge(
        self, values: dict[str, NDArray[np.float64]], n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """(distance to the request in spreads, outside a requested range), each shape (n,)."""
        costs, outside = np.zeros(n), np.zeros(n, dtype=np.bool_)
        if not self.request.critic:
            return costs, outside
        for target in self.request.targets:
            costs += misfit(target, values[target.name], self._spread(target.name))
            if not target.is_point:
                outside |= ~hit(target, values[target.name])
        return costs, outside

    def _spread(self, name: str) -> float:
        if name in self.model.conditions.names:
            return self.model.conditions[name].std
        return (PROPERTIES[name].high - PROPERTIES[name].low) / 6

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _trim(row: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ids before <eos>."""
    ends = np.flatnonzero((row == EOS) | (row == PAD))
    return row[: ends[0]] if len(ends) else row
