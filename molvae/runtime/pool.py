"""Map a function over chunks in worker processes, in order, with bounded memory.

:func:`map_ordered` takes anything that is a ``concurrent.futures.Executor``.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, TypeVar, cast

from molvae.errors import ConfigError, RunError
from molvae.runtime.device import available_cpus

__all__ = ["map_ordered", "require_main", "signals_later", "worker_count", "worker_pool"]

A = TypeVar("A")
B = TypeVar("B")
SMALL = 2048  # bytes of a result that a pipe takes whole or not at all, with what goes around it


def require_main() -> None:
    """Refuse work that a worker process does while it reads the calling script again.

    A script whose work stands outside of ``if __name__ == "__main__":`` would be run anew by each
    of its own workers, which then wait for each other.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "this script is run a second time, by a worker process of its own: put its work under "
            '`if __name__ == "__main__":`, or pass workers=0'
        )


def worker_count(workers: int | None) -> int:
    """``workers`` checked, or the number of CPUs this process may use; 0 is as good as 1."""
    require_main()
    if workers is None:
        return available_cpus()
    if workers < 0:
        raise ConfigError(f"workers: got {workers}, expected 0 (this process alone) or more")
    return max(workers, 1)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes started afresh: forking a process with torch threads can deadlock."""
    return _Pool(workers)


class _Pool(ProcessPoolExecutor):
    """A pool that notices a worker killed while it sends a result.

    The library reads half a message from the pipe and waits for the rest, which never comes, as
    the other workers hold the pipe open. So results travel in files, and the pipe has only
    messages that are written at one stroke.
    """

    def __init__(self, workers: int) -> None:
        self._post = tempfile.TemporaryDirectory(prefix="molvae-", ignore_cleanup_errors=True)
        super().__init__(
            workers, mp_context=_Context(), initializer=_settle, initargs=(Path(self._post.name),)
        )

    def submit(self, function: Callable[..., B], /, *arguments: Any, **keywords: Any) -> Future[B]:
        future = super().submit(_call, function, *arguments, **keywords)
        return cast(Future[B], future)  # a parcel opens as it is received

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._post.cleanup()


_post: Path | None = None  # in a worker: where it leaves large results


class _Parcel:
    """A result on its way to the parent, where it arrives as what is inside."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        data = pickle.dumps(self.content, protocol=pickle.HIGHEST_PROTOCOL)
        if len(data) <= SMALL or _post is None:
            return pickle.loads, (data,)
        handle, name = tempfile.mkstemp(dir=_post)
        with open(handle, "wb") as file:
            file.write(data)
        return _receive, (name,)


def _call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> _Parcel:
    return _Parcel(function(*arguments, **keywords))


def _receive(name: str) -> Any:
    path = Path(name)
    content = pickle.loads(path.read_bytes())
    path.unlink()
    return content


class _Process(SpawnProcess):
    """A process that is begun with Ctrl-C blocked, so that it does not die of it half made."""

    def start(self) -> None:
        with signals_later():
            super().start()


class _Context(SpawnContext):
    Process = _Process


def _settle(post: Path) -> None:
    """First thing in a worker: leave Ctrl-C to the parent, and do not outlive it.

    To ignore the signal is not enough: RDKit catches it while it searches for substructures, and
    then goes on with what it has found so far.
    """
    global _post
    _post = post
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "setsid"):
        os.setsid()  # what a terminal sends does not come here
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    if _post is not None:
        shutil.rmtree(_post, ignore_errors=True)
    os._exit(1)


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
        raise RunError(DIED) from None
    finally:
        for future in pending:
            future.cancel()
        if executor is None:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def signals_later() -> Iterator[None]:
    """Ctrl-C waits until the end: RDKit would catch it and give incomplete results."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


DIED = (
    "a worker process died, perhaps for want of memory, over a molecule RDKit crashes on, "
    'or because the calling script lacks `if __name__ == "__main__":`; try --workers 1'
)
