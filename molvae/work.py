"""RDKit's work on many texts, in worker processes that may crash or hang without ending the run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from molvae.parallel import Crew, Watchdog, worker_count
from molvae.progress import Progress, say

__all__ = ["Workers"]

CHUNK = 500  # texts per task of a worker process
INLINE = 2_000  # below this the start of processes costs more than it saves
PATIENCE = 120.0  # seconds a worker may take for one chunk, which usually takes one or two

T = TypeVar("T")


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
