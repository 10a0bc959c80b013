"""Map a function over chunks in worker processes, in order, with bounded memory.

:func:`map_ordered` takes anything that is a ``concurrent.futures.Executor``. :class:`Crew` is for
work on foreign data: it runs on local processes or on a Dask cluster, and outlives its workers.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from molvae.errors import ConfigError, RunError
from molvae.progress import say
from molvae.runtime import available_cpus

__all__ = ["Crew", "Watchdog", "map_ordered", "require_main", "worker_count", "worker_pool"]

PATIENCE = 60  # seconds to wait for the first worker of a cluster
SMALL = 2048  # bytes of a result that a pipe takes whole or not at all, with what goes around it

A = TypeVar("A")
B = TypeVar("B")


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
        with _signals_later():
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


def _kill(pool: ProcessPoolExecutor) -> None:
    """End the workers at once; the library offers that from Python 3.14 on."""
    for process in list((pool._processes or {}).values()):
        process.kill()


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
        raise RunError(_DIED) from None
    finally:
        for future in pending:
            future.cancel()
        if executor is None:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _signals_later() -> Iterator[None]:
    """Ctrl-C waits until the end: RDKit would catch it and give incomplete results."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_DIED = (
    "a worker process died, perhaps for want of memory, over a molecule RDKit crashes on, "
    'or because the calling script lacks `if __name__ == "__main__":`; try --workers 1'
)


class Watchdog:
    """Ends this process when one step of its work takes too long.

    For worker processes of a :class:`Crew`, which survives that. Python cannot interrupt a call
    into RDKit, and no other thread runs meanwhile; the kernel's alarm can.
    """

    def __init__(self, seconds: float | None) -> None:
        """Without ``seconds``, as for work in the main process, nothing is watched."""
        self.seconds = seconds

    def step(self) -> None:
        """A new step begins; the time of the one before is over."""
        if self.seconds is None:
            return
        if hasattr(signal, "setitimer"):  # the default action of SIGALRM ends the process
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
        else:
            faulthandler.dump_traceback_later(self.seconds, exit=True)

    def rest(self) -> None:
        """The work is done; wait for no more steps."""
        if self.seconds is None:
            return
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            faulthandler.cancel_dump_traceback_later()


class Crew:
    """Worker processes for work that may kill them: a context manager.

    A worker may crash, run out of memory, or be ended by its :class:`Watchdog`. An item under way
    when that happened is tried once more, by itself; if that kills its worker too, the result is
    None. All other results are unaffected.
    """

    def __init__(self, workers: int | None = None, *, scheduler: str | None = None) -> None:
        """``workers`` local processes, 0 for none (all work is done here, without protection).

        ``scheduler`` is the address of a running Dask scheduler, whose workers are used instead.
        """
        self.count = 0 if workers == 0 else worker_count(workers)
        self._scheduler = scheduler
        self._client: Any = None
        self._pool: Executor | None = None
        self._alone: ProcessPoolExecutor | None = None  # one process, for items under suspicion
        self._killed: type[BaseException] = BrokenProcessPool  # a cluster has its own name for it

    @property
    def protected(self) -> bool:
        """Whether work runs in other processes, which may be lost."""
        return self._scheduler is not None or self.count > 0

    def __enter__(self) -> Self:
        if self._scheduler is not None:
            self._connect(self._scheduler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pool in (self._pool, self._alone):
            if isinstance(pool, ProcessPoolExecutor):
                if kind is not None and issubclass(kind, KeyboardInterrupt):
                    _kill(pool)  # who asks to stop does not wait for work that hangs
                pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._alone = None
        if self._client is not None:
            self._client.close()

    def _connect(self, address: str) -> None:
        try:
            from distributed import Client
            from distributed.scheduler import KilledWorker
        except ImportError:
            raise ConfigError(
                "a Dask scheduler needs the extra: pip install 'molvae[distributed]'"
            ) from None
        try:
            client: Any = Client
            self._client = client(address, timeout="20s", set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at '{address}' ({error}); expected for example "
                "tcp://127.0.0.1:8786 of a running `dask scheduler`"
            ) from None
        if not self._client.nthreads():
            say(f"waiting for a worker to join the Dask scheduler at {address}")
            try:
                self._client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                self._client.close()
                raise RunError(
                    f"the Dask scheduler at '{address}' has no workers; start some, for example "
                    f"dask worker {address} --nthreads 1"
                ) from None
        self.count = max(1, sum(self._client.nthreads().values()))
        self._killed = KilledWorker
        # Equal chunks are different work: a "pure" task would be computed once for both.
        self._pool = self._client.get_executor(pure=False)

    def map(
        self,
        function: Callable[[A], B],
        items: Iterable[A],
        *,
        ahead: int = 4,
        ordered: bool = True,
    ) -> Iterator[tuple[A, B | None]]:
        """(item, its result, or None if it was lost) in the order of the items.

        Not ``ordered``: as they are done, so that one long item holds up no other.
        """
        if not self.protected:
            for item in items:
                with _signals_later():
                    result = function(item)
                yield item, result
            return
        pending: deque[tuple[A, Future[B], Executor]] = deque()
        try:
            for item in items:
                pending.append((item, *self._submit(function, item)))
                if len(pending) >= ahead * self.count:
                    first, future, pool = self._next(pending, ordered)
                    yield first, self._result(function, first, future, pool)
            while pending:
                first, future, pool = self._next(pending, ordered)
                yield first, self._result(function, first, future, pool)
        finally:
            for _, future, _ in pending:
                future.cancel()

    @staticmethod
    def _next(
        pending: deque[tuple[A, Future[B], Executor]], ordered: bool
    ) -> tuple[A, Future[B], Executor]:
        """Take the first of those under way, or one that is done."""
        if not ordered:
            wait([future for _, future, _ in pending], return_when=FIRST_COMPLETED)
            for index, (_, future, _) in enumerate(pending):
                if future.done():
                    pending.rotate(-index)
                    break
        return pending.popleft()

    def alone(self, function: Callable[[A], B], item: A) -> B | None:
        """The result of an item while no other shares its worker; None if it kills it."""
        if not self.protected:
            return function(item)
        if self._client is not None:
            return self._cluster_result(self._submit(function, item)[0])
        if self._alone is None:
            self._alone = worker_pool(1)
            try:
                self._alone.submit(os.getpid).result()
            except BrokenProcessPool:
                raise RunError(_DIED) from None
        try:
            return self._alone.submit(function, item).result()
        except BrokenProcessPool:
            self._alone.shutdown()
            self._alone = None
            return None

    def _submit(self, function: Callable[[A], B], item: A) -> tuple[Future[B], Executor]:
        if self._client is None and self._pool is None:
            self._pool = worker_pool(self.count)
        assert self._pool is not None
        try:
            return self._pool.submit(function, item), self._pool
        except BrokenProcessPool:
            self._give_up(self._pool)
            return self._submit(function, item)

    def _result(
        self, function: Callable[[A], B], item: A, future: Future[B], pool: Executor
    ) -> B | None:
        if self._client is not None:
            return self._cluster_result(future)
        try:
            return future.result()
        except BrokenProcessPool:
            self._give_up(pool)
            return self.alone(function, item)

    def _give_up(self, pool: Executor) -> None:
        """A pool that lost a worker is of no more use; the next item starts another."""
        if pool is self._pool:
            say("a worker process was lost; trying again what was under way")
            pool.shutdown()
            self._pool = None

    def _cluster_result(self, future: Future[B]) -> B | None:
        try:
            return future.result()
        except self._killed:  # Dask has tried more than once by then
            say("a Dask worker was lost over some rows; trying them one by one")
            return None
        except (CancelledError, OSError) as error:
            raise RunError(
                f"the Dask scheduler at '{self._scheduler}' was lost ({error!r}); finished parts "
                "are kept, continue with --resume"
            ) from None
        except ModuleNotFoundError as error:
            raise RunError(
                f"the Dask workers cannot import '{error.name}'; install the same molvae there"
            ) from None
