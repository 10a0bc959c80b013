"""Worker processes for work that may crash or hang without ending the run.

:class:`WorkerPool` survives the loss of its workers; :class:`Timeout` ends a worker that hangs.
"""

from __future__ import annotations

import faulthandler
import functools
import itertools
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from molvae.runtime.processes import (
    ProcessPool,
    SingleProcess,
    delay_interrupts,
    process_pool,
    worker_count,
)
from molvae.runtime.progress import Progress, say

if TYPE_CHECKING:
    from molvae.runtime.cluster import Cluster

__all__ = ["Stream", "Timeout", "WorkerPool"]

A = TypeVar("A")
B = TypeVar("B")

CHUNK = 500  # texts per task of a worker process
INLINE = 2_000  # fewer texts than these are faster without worker processes
CHUNK_TIMEOUT = 120.0  # seconds for one chunk of texts, which usually takes one or two


class Timeout:
    """Ends this process when a step of its work takes too long: a context manager.

    For the worker processes of a :class:`WorkerPool`, which survives that. Python cannot interrupt
    a call into RDKit, and no other thread runs meanwhile; the kernel's alarm can.
    """

    def __init__(self, seconds: float | None) -> None:
        """Nothing is timed if ``seconds`` is None, as for work in the main process."""
        self.seconds = seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def restart(self) -> None:
        """Start the clock for the next step."""
        if self.seconds is None:
            return
        if hasattr(signal, "setitimer"):  # the default action of SIGALRM ends the process
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
        else:
            faulthandler.dump_traceback_later(self.seconds, exit=True)

    def cancel(self) -> None:
        """Stop the clock."""
        if self.seconds is None:
            return
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            faulthandler.cancel_dump_traceback_later()


class WorkerPool:
    """Worker processes that their work may kill: a context manager.

    A worker may crash, run out of memory, or be ended by its :class:`Timeout`. An item in progress
    when that happened is tried once more, by itself; if that kills its worker too, the result is
    None. All other results are unaffected. Processes start with the first item.
    """

    def __init__(self, workers: int | None = None, *, scheduler: str | None = None) -> None:
        """``workers`` local processes, 0 for none (all work runs here, without protection).

        ``scheduler`` is the address of a running Dask scheduler, whose workers are used instead.
        """
        self._local = 0 if workers == 0 else worker_count(workers)
        self.lost = 0  # texts that killed their worker, counted as invalid
        self._scheduler = scheduler
        self.cluster: Cluster | None = None
        self._pool: Executor | None = None
        self._single = SingleProcess()  # for suspected items

    @property
    def count(self) -> int:
        """Processes that work at a time; 0 if none but this one."""
        return self._local if self.cluster is None else self.cluster.count

    @property
    def protected(self) -> bool:
        """Whether work runs in other processes, which may be lost."""
        return self._scheduler is not None or self._local > 0

    def __enter__(self) -> Self:
        if self._scheduler is not None:
            from molvae.runtime.cluster import Cluster

            self.cluster = Cluster(self._scheduler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.cluster is not None:
            self.cluster.shutdown()
        elif kind is not None and issubclass(kind, KeyboardInterrupt):
            self.end()  # Ctrl-C does not wait for work that hangs
        else:
            self._shut_down()

    def end(self) -> None:
        """End all worker processes of this machine, whatever they do."""
        if isinstance(self._pool, ProcessPool):
            self._pool.end()
        self._single.end()
        self._shut_down()

    def _shut_down(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        self._single.close()

    def map(
        self,
        function: Callable[[A], B],
        items: Iterable[A],
        *,
        ahead: int = 4,
        ordered: bool = True,
        delay: bool = True,
    ) -> Iterator[tuple[A, B | None]]:
        """(item, its result, or None if it was lost) in the order of the items.

        Not ``ordered``: as they are done, so that one long item holds up no other. Without
        workers, ``delay`` lets Ctrl-C wait for the end of an item.
        """
        stream = Stream(self, function, ordered=ordered, delay=delay)
        limit = ahead * self.count if self.protected else 1
        try:
            for item in items:
                stream.put(item)
                if len(stream) >= limit:
                    yield stream.take()
            while stream:
                yield stream.take()
        finally:
            stream.cancel()

    def map_texts(
        self,
        label: str,
        function: Callable[[Sequence[str]], B],
        texts: Iterable[str],
        total: int | None = None,
    ) -> Iterator[tuple[Sequence[str], B]]:
        """(chunk of texts, ``function`` of the chunk), in order, with a progress bar ``label``.

        A text that kills its worker counts as an empty, thus invalid text. Few texts, and those
        of a pool with a single worker, are worked on in this process.
        """
        left = iter(texts)
        first = list(itertools.islice(left, INLINE))
        chunks = _chunks(itertools.chain(first, left))
        with Progress(label, total) as progress:
            if len(first) < INLINE or (self.cluster is None and self.count < 2):
                for chunk in chunks:
                    yield chunk, function(chunk)
                    progress.advance(len(chunk))
                return
            task = functools.partial(_timed, function)
            for chunk, result in self.map(task, chunks):
                if result is None:
                    for text in chunk:
                        yield [text], self._single_text(task, text)
                else:
                    yield chunk, result
                progress.advance(len(chunk))

    def _single_text(self, task: Callable[[Sequence[str]], B], text: str) -> B:
        result = self.run_alone(task, [text])
        if result is not None:
            return result
        self.lost += 1
        say(f"RDKit crashes or hangs on '{text[:60]}', which is counted as not valid")
        return task([""])

    def run_alone(self, function: Callable[[A], B], item: A) -> B | None:
        """The result of an item while no other shares its worker; None if it kills the worker."""
        if not self.protected:
            return function(item)
        if self.cluster is not None:
            return self.result(function, item, self.cluster.submit(function, item), self.cluster)
        return self._single.run(function, item)

    def submit(self, function: Callable[[A], B], item: A) -> tuple[Future[B], Executor]:
        """Start an item; the future and pool are for :meth:`result`."""
        if self._pool is None:
            self._pool = self.cluster or process_pool(self._local)
        try:
            return self._pool.submit(function, item), self._pool
        except BrokenProcessPool:
            self._discard(self._pool)
            return self.submit(function, item)

    def result(
        self, function: Callable[[A], B], item: A, future: Future[B], pool: Executor
    ) -> B | None:
        """The result of an item; None if it killed its worker."""
        try:
            return future.result()
        except BrokenProcessPool:
            if pool is self.cluster:  # nothing else ran in the process that died
                return None
            self._discard(pool)
            return self.run_alone(function, item)

    def _discard(self, pool: Executor) -> None:
        """Drop a pool that lost a worker; the next item starts another."""
        if pool is self._pool:
            say("a worker process was lost; trying its items again")
            if isinstance(pool, ProcessPool):
                pool.end()  # the others may ignore the SIGTERM of the standard library
            pool.shutdown()
            self._pool = None


class Stream(Generic[A, B]):
    """Items on their way through a pool: put in as they come, taken out with their results."""

    def __init__(
        self, pool: WorkerPool, function: Callable[[A], B], *, ordered: bool, delay: bool
    ) -> None:
        """Results come in the order of the items, or as they are done; see :meth:`WorkerPool.map`.

        Without workers an item is worked on when it is taken.
        """
        self._pool, self._function = pool, function
        self._ordered, self._delay = ordered, delay
        self._begun: deque[tuple[A, Future[B], Executor]] = deque()
        self._waiting: deque[A] = deque()

    def __len__(self) -> int:
        return len(self._begun) + len(self._waiting)

    def put(self, item: A) -> None:
        """Start an item."""
        if self._pool.protected:
            self._begun.append((item, *self._pool.submit(self._function, item)))
        else:
            self._waiting.append(item)

    def take(self) -> tuple[A, B | None]:
        """Wait for an item and its result, None if it was lost."""
        if not self._pool.protected:
            item = self._waiting.popleft()
            with delay_interrupts() if self._delay else nullcontext():
                return item, self._function(item)
        if not self._ordered:
            wait([future for _, future, _ in self._begun], return_when=FIRST_COMPLETED)
            done = (i for i, (_, future, _) in enumerate(self._begun) if future.done())
            self._begun.rotate(-next(done))
        item, future, pool = self._begun.popleft()
        return item, self._pool.result(self._function, item, future, pool)

    def cancel(self) -> None:
        """Drop what has not begun."""
        for _, future, _ in self._begun:
            future.cancel()


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(itertools.islice(texts, CHUNK)):
        yield chunk


def _timed(function: Callable[[Sequence[str]], B], chunk: Sequence[str]) -> B:
    with Timeout(CHUNK_TIMEOUT) as timeout:
        timeout.restart()
        return function(chunk)
