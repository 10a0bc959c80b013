"""Worker processes, and an ordered map over them.

:func:`map_ordered` takes any ``concurrent.futures.Executor``. Work that may crash or hang its
process needs :class:`molvae.runtime.pool.WorkerPool`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, InvalidStateError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from molvae.errors import ConfigError, RunError
from molvae.runtime.device import available_cpus

__all__ = [
    "Deadline",
    "ProcessPool",
    "SingleProcess",
    "delay_interrupts",
    "end_group",
    "map_ordered",
    "process_pool",
    "require_main",
    "results_folder",
    "worker_count",
]

A = TypeVar("A")
B = TypeVar("B")
SMALL = 2048  # bytes of a result that go through the pipe in one write, with the message around it
TERM_WAIT = 0.5  # seconds between SIGTERM and SIGKILL
EXIT_WAIT = 5.0  # seconds for threads and exit handlers of a worker that has no more work
TICK = 0.1  # seconds between two looks at the deadlines of workers
DEADLINE = ".deadline"  # ends the name of the file with the deadline of a worker
DIED = (
    "a worker process died (out of memory, RDKit crashed on a molecule, or the calling script "
    'lacks `if __name__ == "__main__":`); try --workers 1'
)


def require_main() -> None:
    """Refuse work in a worker process that is still importing the calling script.

    A script whose work is not under ``if __name__ == "__main__":`` runs again in each of its
    workers, which then wait for each other.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            "a worker process runs this script a second time: put its work under "
            '`if __name__ == "__main__":`, or pass workers=0'
        )


def worker_count(workers: int | None) -> int:
    """``workers`` checked, 0 counting as 1; by default the number of CPUs of this process."""
    require_main()
    if workers is None:
        return available_cpus()
    if workers < 0:
        raise ConfigError(f"workers: got {workers}, expected 0 (this process alone) or more")
    return max(workers, 1)


def process_pool(workers: int) -> ProcessPool:
    """Spawned processes: forking a process that has torch threads can deadlock."""
    return ProcessPool(workers)


def end_group(group: int, ended: Callable[[], object] = lambda: None) -> None:
    """End a process group: SIGTERM, and SIGKILL to what is left half a second later.

    ``ended`` is called while waiting, to collect child processes that have ended. A process that
    does not lead a group yet is ended alone.
    """
    if not hasattr(os, "killpg"):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        limit = time.monotonic() + TERM_WAIT
        while time.monotonic() < limit:
            ended()
            os.killpg(group, 0)
            time.sleep(0.01)
        os.killpg(group, signal.SIGKILL)


class _Future(Future[Any]):
    """Takes the exception of a lost pool also if it is cancelled.

    The thread that manages the workers would end with an error otherwise, and the program would
    wait for the thread that still feeds the workers.
    """

    def set_exception(self, exception: BaseException | None) -> None:
        with contextlib.suppress(InvalidStateError):
            super().set_exception(exception)


class ProcessPool(ProcessPoolExecutor):
    """A pool that notices a worker killed while it sends a result.

    The standard pool reads half a message and waits for the rest for ever, as the other workers
    hold the pipe open. Here large results travel in files, and the pipe carries only messages
    short enough for one write.

    Processes that the work of a worker has started end with that worker, unless they have left its
    process group.
    """

    def __init__(self, workers: int) -> None:
        self._watch: threading.Thread | None = None
        self._results = tempfile.TemporaryDirectory(prefix="molvae-", ignore_cleanup_errors=True)
        super().__init__(
            workers,
            mp_context=_Context(),
            initializer=_start_worker,
            initargs=(Path(self._results.name),),
        )

    def submit(self, function: Callable[..., B], /, *arguments: Any, **keywords: Any) -> Future[B]:
        """As of the standard library."""
        future = super().submit(_call, function, *arguments, **keywords)
        future.__class__ = _Future
        if self._watch is None:
            arguments = Path(self._results.name), self._processes
            self._watch = threading.Thread(target=_enforce, args=arguments, daemon=True)
            self._watch.start()
        return cast(Future[B], future)  # unpickling a _Result gives its content

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of the standard library; what workers leave behind is ended."""
        workers = list(self._processes or ())
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._results.cleanup()
            for worker in workers:
                end_group(worker)

    def end(self) -> None:
        """End all workers and what they have started, at once."""
        processes = list((self._processes or {}).values())
        groups = [
            threading.Thread(target=end_group, args=(process.pid, process.is_alive))
            for process in processes
        ]
        for thread in groups:
            thread.start()
        for thread, process in zip(groups, processes, strict=True):
            thread.join()
            process.kill()


class SingleProcess:
    """A process for one item at a time, which may kill it; the next item starts another."""

    def __init__(self) -> None:
        self._pool: ProcessPool | None = None

    def run(self, function: Callable[[A], B], item: A) -> B | None:
        """``function(item)``; None if the process died."""
        if self._pool is None:
            self._pool = process_pool(1)
            try:
                self._pool.submit(os.getpid).result()
            except BrokenProcessPool:
                raise RunError(DIED) from None
        pool = self._pool
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            pool.shutdown()
            self._pool = None
            return None

    def close(self) -> None:
        """Let the process end."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._pool is not None:
            self._pool.end()
        self.close()


def _enforce(folder: Path, processes: Mapping[int, BaseProcess]) -> None:
    """End workers whose deadline is over, until the pool is shut down."""
    files: list[Path] = []
    while folder.is_dir():
        with contextlib.suppress(OSError):  # the folder goes with the pool
            files = list(folder.glob(f"*{DEADLINE}"))
        for file in files:
            with contextlib.suppress(OSError, ValueError):  # withdrawn, or being written
                late = time.monotonic() > float(file.read_text(encoding="ascii"))
                process = processes.get(int(file.stem))
                if late and process is not None and process.pid is not None:
                    file.unlink()
                    end_group(process.pid, process.is_alive)
                    process.kill()
        time.sleep(TICK)


class Deadline:
    """A time limit that the parent process of a worker keeps: a context manager.

    Code that runs under it, such as a user's function that uses the alarm clock of the process,
    cannot switch it off. Outside of a worker process nothing is timed.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._file: Path | None = None
        if seconds is not None and _results_folder is not None:
            self._file = _results_folder / f"{os.getpid()}{DEADLINE}"

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Start the clock."""
        if self._file is not None and self.seconds is not None:
            self._file.write_text(repr(time.monotonic() + self.seconds), encoding="ascii")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)


def results_folder() -> Path | None:
    """In a worker: a folder for temporary files, which the parent process removes."""
    return _results_folder


_results_folder: Path | None = None  # in a worker: where it leaves large results


class _Result:
    """A result on its way to the parent process, where it unpickles as its content."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        data = pickle.dumps(self.content, protocol=pickle.HIGHEST_PROTOCOL)
        if len(data) <= SMALL or _results_folder is None:
            return pickle.loads, (data,)
        handle, name = tempfile.mkstemp(dir=_results_folder)
        with open(handle, "wb") as file:
            file.write(data)
        return _receive, (name,)


def _call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> _Result:
    return _Result(function(*arguments, **keywords))


def _receive(name: str) -> Any:
    path = Path(name)
    content = pickle.loads(path.read_bytes())
    path.unlink()
    return content


class _Process(SpawnProcess):
    """A process that starts with Ctrl-C blocked, so that Ctrl-C cannot end it while it imports."""

    def start(self) -> None:
        with delay_interrupts():
            super().start()


class _Context(SpawnContext):
    Process = _Process


def _start_worker(results_folder: Path) -> None:
    """Initialize a worker: leave Ctrl-C to the parent process, and end with it.

    Ignoring the signal is not enough: RDKit catches it in a substructure search, and returns
    the matches up to then.
    """
    global _results_folder
    _results_folder = results_folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if hasattr(os, "setsid"):
        os.setsid()  # signals of the terminal do not reach this process
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    multiprocessing.util.Finalize(None, _limit_exit, exitpriority=0)


def _limit_exit() -> None:
    """Do not wait for ever for threads and processes that foreign code has started."""
    timer = threading.Timer(EXIT_WAIT, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _end_with(parent: Any) -> None:
    parent.join()
    if _results_folder is not None:
        shutil.rmtree(_results_folder, ignore_errors=True)
    with contextlib.suppress(OSError, DeprecationWarning):
        if hasattr(os, "fork") and os.fork() == 0:  # a witness that survives SIGTERM to the group
            group = os.getpgid(0)
            os.setsid()
            end_group(group)
            os._exit(1)
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

    With one worker and no executor everything runs in this process. At most ``ahead`` items per
    worker are in flight, so an endless ``items`` needs little memory. Pending work is cancelled
    when the consumer stops early.
    """
    count = worker_count(workers)
    if executor is None and count == 1:
        yield from map(function, items)
        return
    pool = process_pool(count) if executor is None else executor
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
def delay_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C until the end: RDKit would catch it and return incomplete results."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
