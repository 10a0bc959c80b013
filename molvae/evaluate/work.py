"""RDKit's work on many texts, in worker processes that may crash or hang without ending the run."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.metrics import MoleculeSet, Wanted, describe
from molvae.parallel import Crew, Watchdog, worker_count
from molvae.progress import Progress, say

__all__ = ["Scan", "Workers", "among", "description", "key_of", "keys_of", "scan"]

CHUNK = 500  # texts per task of a worker process
INLINE = 2_000  # below this the start of processes costs more than it saves
PATIENCE = 120.0  # seconds a worker may take for one chunk, which usually takes one or two

T = TypeVar("T")


@dataclass(frozen=True)
class Scan:
    """What the cheap first look at some texts finds: the valid ones and what they are."""

    total: int
    positions: NDArray[np.int64]  # (N,) places of the valid ones
    keys: NDArray[np.uint64]  # (N,) hash of the canonical SMILES
    disconnected: int


def key_of(smiles: str) -> int:
    """64 bits that stand for a canonical SMILES.

    Two of ten million molecules share a key with a probability of 3 in a million.
    """
    return int.from_bytes(hashlib.blake2b(smiles.encode(), digest_size=8).digest(), "little")


def keys_of(smiles: Sequence[str]) -> NDArray[np.uint64]:
    """The keys of canonical SMILES, in their order."""
    return np.fromiter(map(key_of, smiles), dtype=np.uint64, count=len(smiles))


def among(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each key is among some ascending ones."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: NDArray[np.bool_] = known[at] == keys
    return found


def scan(texts: Sequence[str]) -> Scan:
    """Parse texts, and hash the canonical SMILES of those that are molecules."""
    found = [(i, mol) for i, mol in enumerate(map(chem.parse, texts)) if mol is not None]
    return Scan(
        total=len(texts),
        positions=np.asarray([i for i, _ in found], dtype=np.int64),
        keys=keys_of([chem.to_smiles(mol) for _, mol in found]),
        disconnected=sum(chem.fragment_count(mol) > 1 for _, mol in found),
    )


def description(wanted: Wanted) -> Callable[[Sequence[str]], MoleculeSet]:
    """:func:`molvae.metrics.describe` as a task for :meth:`Workers.map`."""
    return functools.partial(describe, wanted=wanted)


class Workers:
    """A context manager; its processes start when there is enough to do for them."""

    def __init__(self, workers: int | None = None) -> None:
        count = worker_count(workers)
        self._crew = Crew(count if count > 1 else 0)
        self.lost = 0  # texts that killed their worker, counted as not valid

    def __enter__(self) -> Self:
        self._crew.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._crew.__exit__(kind, error, trace)

    def map(
        self,
        role: str,
        function: Callable[[Sequence[str]], T],
        texts: Iterable[str],
        total: int | None = None,
    ) -> Iterator[tuple[Sequence[str], T]]:
        """(chunk of texts, what the function makes of it), in order, with bounded memory."""
        left = iter(texts)
        first = list(itertools.islice(left, INLINE))
        few = len(first) < INLINE
        chunks = _chunks(itertools.chain(first, left))
        with Progress(role, total) as progress:
            if few or not self._crew.protected:
                for chunk in chunks:
                    yield chunk, function(chunk)
                    progress.advance(len(chunk))
                return
            task = functools.partial(_watched, function)
            for chunk, result in self._crew.map(task, chunks):
                if result is None:
                    for text in chunk:
                        yield [text], self._alone(task, text)
                else:
                    yield chunk, result
                progress.advance(len(chunk))

    def _alone(self, task: Callable[[Sequence[str]], T], text: str) -> T:
        result = self._crew.alone(task, [text])
        if result is not None:
            return result
        self.lost += 1
        say(f"RDKit crashes or hangs on '{text[:60]}', which is counted as not valid")
        return task([""])


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(itertools.islice(texts, CHUNK)):
        yield chunk


def _watched(function: Callable[[Sequence[str]], T], chunk: Sequence[str]) -> T:
    dog = Watchdog(PATIENCE)
    dog.step()
    try:
        return function(chunk)
    finally:
        dog.rest()
