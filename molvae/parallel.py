"""Map a function over chunks in worker processes, in order, with bounded memory.

Anything that is a ``concurrent.futures.Executor`` will do, so a cluster's executor fits as well.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from molvae.errors import ConfigError, RunError
from molvae.runtime import available_cpus

__all__ = ["map_ordered", "worker_count", "worker_pool"]

A = TypeVar("A")
B = TypeVar("B")


def worker_count(workers: int | None) -> int:
    """``workers`` checked, or the number of CPUs this process may use."""
    if workers is None:
        return available_cpus()
    if workers < 1:
        raise ConfigError(f"workers: got {workers}, expected 1 or more")
    return workers


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes started afresh: forking a process with torch threads can deadlock."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def map_ordered(
    function: Callable[[A], B],
    items: Iterable[A],
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    ahead: int = 4,
) -> Iterator[B]:
    """``function`` of every item, in the order of the items.

    With one worker and no executor everything runs here. At most ``ahead`` items per worker are in
    flight, so an endless or huge ``items`` needs little memory. Work under way is cancelled when
    the consumer stops early.
    """
    count = worker_count(workers)
    if executor is None and count == 1:
        yield from map(function, items)
        return
    pool = worker_pool(count) if executor is None else executor
    pending: deque[Future[B]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool:
        raise RunError(
            "a worker process died, perhaps for want of memory, over a molecule RDKit crashes on, "
            'or because the calling script lacks `if __name__ == "__main__":`; try --workers 1'
        ) from None
    finally:
        for future in pending:
            future.cancel()
        if executor is None:
            pool.shutdown(wait=True, cancel_futures=True)
