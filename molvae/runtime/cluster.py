"""The workers of a Dask cluster as an executor; needs the extra ``distributed``.

A worker does its work in a separate child process. A crash, a hang or a time limit ends the child
and not the worker, what foreign code does to its process stays there, and the worker answers its
scheduler while RDKit holds Python's lock.

A function travels once to every worker, pickled by value where a script defines it. A worker that
joins later asks for it. Nothing else is kept on the cluster, so a client that is killed leaves
nothing there but child processes, which end when they are idle.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import pickle
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from enum import Enum
from functools import partial
from typing import Any, TypeVar

from molvae.errors import ConfigError, RunError
from molvae.runtime.device import versions
from molvae.runtime.plugins import used_packages, versions_of
from molvae.runtime.processes import SingleProcess
from molvae.runtime.progress import say

__all__ = ["Cluster"]

B = TypeVar("B")

FIRST_WORKER = 60  # seconds to wait for the first worker of a cluster
WATCH = 5.0  # seconds between two looks at the number of workers
IDLE = 300.0  # seconds after which a child process without work ends
KEPT = 4  # functions that a worker and a child process remember
EQUAL = ("molvae", "rdkit", "selfies")  # what must have the same version on all machines


class _Sign(Enum):
    """What a worker returns in place of a result."""

    UNKNOWN = "it does not have the function"
    LOST = "its child process died"


class Cluster(Executor):
    """Runs functions on the workers of a running Dask scheduler.

    A lost worker costs a retry on another one. Of an item that kills its process, or several
    workers in turn, the future raises BrokenProcessPool, as that of a local pool does.
    """

    def __init__(self, address: str) -> None:
        """Connect, and wait for the first worker.

        Raises:
            ConfigError: no scheduler answers, or the extra is not installed.
            RunError: no worker joins within a minute.
        """
        try:
            import cloudpickle
            from distributed import Client
            from distributed.scheduler import KilledWorker
        except ImportError:
            raise ConfigError(
                "a Dask scheduler needs the extra: pip install 'molvae[distributed]'"
            ) from None
        self.address, self._killed, self._dumps = address, KilledWorker, cloudpickle.dumps
        client: Any = Client
        try:
            self._client = client(address, timeout="20s", set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at '{address}' ({error}); expected for example "
                "tcp://127.0.0.1:8786 of a running `dask scheduler`"
            ) from None
        if not self._client.nthreads():
            say(f"waiting for a worker to join the Dask scheduler at {address}")
            try:
                self._client.wait_for_workers(1, timeout=FIRST_WORKER)
            except TimeoutError:
                self._client.close()
                raise RunError(
                    f"the Dask scheduler at '{address}' has no workers; start some, for example "
                    f"dask worker {address}"
                ) from None
        self.count = max(1, sum(self._client.nthreads().values()))
        self._tasks: Executor = self._client.get_executor(pure=False)  # equal items differ
        self._session, self._folder = uuid.uuid4().hex, os.getcwd()
        self._sent: dict[str, bytes] = {}
        self._last: tuple[object, str] = (None, "")
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def submit(self, function: Callable[..., B], /, *items: Any, **keywords: Any) -> Future[B]:
        """A future of ``function(item)``; the function travels once, the item with its task."""
        (item,) = items
        future: Future[B] = Future()
        self._start(future, self._send(function), None, item, **keywords)
        return future

    def each(self, function: Callable[[None], B]) -> dict[str, B]:
        """The result of ``function(None)`` by the address of every worker that is not lost."""
        futures = {
            address: self.submit(function, None, workers=[address], allow_other_workers=False)
            for address in self._client.nthreads()
        }
        for address, future in futures.items():
            while not wait([future], timeout=WATCH).done:
                if address not in self._client.nthreads():
                    future.cancel()
                    break
        return {
            address: future.result()
            for address, future in futures.items()
            if not future.cancelled()
        }

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the child processes on the workers, and the connection."""
        self._closed.set()
        if self._client.status == "running":
            with contextlib.suppress(Exception):  # workers and scheduler may be lost by now
                self._client.run(_end_session, self._session, on_error="ignore")
        self._client.close()

    def _watch(self) -> None:
        """Follow the number of threads; say when there are none."""
        missing = False
        while not self._closed.wait(WATCH):
            with contextlib.suppress(Exception):  # of a connection that closes meanwhile
                count = sum(self._client.nthreads().values())
                self.count = max(1, count)
                if not count and not missing:
                    say(f"no worker is left at {self.address}; waiting for one to join")
                missing = not count

    def _send(self, function: Callable[..., Any]) -> str:
        """Give all workers a function; its name there."""
        last, name = self._last
        if last is function:
            return name
        payload = self._dumps(function)
        name = hashlib.sha256(payload).hexdigest()
        if name not in self._sent:
            arguments = (name, payload, _versions(used_packages()))
            replies = self._client.run(_install, *arguments, on_error="return")
            for address, error in replies.items():
                if isinstance(error, Exception):
                    self._client.close()
                    raise self._translated(error, f"Dask worker {address}")
            self._sent[name] = payload
        self._last = function, name
        return name

    def _start(
        self, future: Future[Any], name: str, payload: bytes | None, item: Any, **where: Any
    ) -> None:
        expected = _versions(used_packages()) if payload is not None else {}
        arguments = (self._session, name, payload, expected, self._folder, item)
        task = self._tasks.submit(_call, *arguments, **where)
        task.add_done_callback(partial(self._settle, future, name, item, where))
        future.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)

    def _settle(
        self, future: Future[Any], name: str, item: Any, where: Mapping[str, Any], task: Future[Any]
    ) -> None:
        """Pass the outcome of a task on; give the function to a worker that lacks it."""
        if future.cancelled():
            return
        try:
            result = task.result()
            if result is _Sign.UNKNOWN:
                self._start(future, name, self._sent[name], item, **where)
                return
            if result is _Sign.LOST:
                raise BrokenProcessPool(result.value)
        except BaseException as error:
            with contextlib.suppress(Exception):  # cancelled in the meantime
                future.set_exception(self._translated(error, "a Dask worker"))
        else:
            with contextlib.suppress(Exception):
                future.set_result(result)

    def _translated(self, error: BaseException, worker: str) -> BaseException:
        if isinstance(error, self._killed):  # Dask has tried several workers by then
            return BrokenProcessPool(str(error))
        if isinstance(error, CancelledError | OSError):
            return RunError(
                f"the Dask scheduler at '{self.address}' was lost ({error!r}); finished work is "
                "kept where --resume can continue it"
            )
        if isinstance(error, ModuleNotFoundError):
            return RunError(
                f"{worker} cannot import '{error.name}'; install the same molvae, and the packages "
                "that your functions import, on every worker"
            )
        return error


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """What must be equal on all machines: with the packages whose plugins are used."""
    here = versions()
    python = here["python"].rpartition(".")[0]  # functions travel as bytecode of one version
    return {"python": python, **{name: here[name] for name in EQUAL}, **versions_of(packages)}


def _named(versions: Mapping[str, str], names: Iterable[str]) -> str:
    return ", ".join(f"{key} {versions[key]}" if versions[key] else f"no {key}" for key in names)


# -- on the workers -------------------------------------------------------------------------------

_functions: dict[str, bytes] = {}  # in a worker: pickled functions by their hash
_loaded: dict[str, Callable[[Any], Any]] = {}  # in a child process
_children: dict[tuple[str, int], _Child] = {}  # in a worker, by session and thread


def _install(name: str, payload: bytes, expected: Mapping[str, str]) -> None:
    """In a worker: keep a function, if this machine would compute the same."""
    here = _versions(expected.keys() - {"python", *EQUAL})
    if wrong := [key for key in expected if here[key] != expected[key]]:
        raise RunError(
            f"the Dask worker on {socket.gethostname()} has {_named(here, wrong)}, the command "
            f"{_named(expected, wrong)}; install the same versions, as others may give other "
            "results"
        )
    _remember(_functions, name, payload)


def _call(
    session: str,
    name: str,
    payload: bytes | None,
    expected: Mapping[str, str],
    folder: str,
    item: Any,
) -> Any:
    """In a worker: the result of a function in this thread's child process."""
    if payload is not None:
        _install(name, payload, expected)
    known = _functions.get(name)
    if known is None:
        return _Sign.UNKNOWN
    child = _children.setdefault((session, threading.get_ident()), _Child())
    result = child.run(partial(_run, name, None, folder), item)
    if result is _Sign.UNKNOWN:
        result = child.run(partial(_run, name, known, folder), item)
    return _Sign.LOST if result is None else result


def _end_session(session: str) -> None:
    """In a worker: end the child processes of a client that has finished or stops."""
    for key in [key for key in list(_children) if key[0] == session]:
        _children.pop(key).end()


class _Child:
    """The child process in which one thread of a worker works for one client."""

    def __init__(self) -> None:
        # Dask starts its workers as daemons, which may have no children. Ours end with the worker.
        with contextlib.suppress(AssertionError):
            multiprocessing.current_process().daemon = False
        self._process = SingleProcess()
        self._busy = threading.Lock()
        self._timer: threading.Timer | None = None

    def run(self, function: Callable[[Any], Any], item: Any) -> Any:
        """``function(item)``; None if the child died."""
        if self._timer is not None:
            self._timer.cancel()
        with self._busy:
            try:
                return self._process.run(function, item)
            finally:
                self._timer = threading.Timer(IDLE, self._end_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_idle(self) -> None:
        if self._busy.acquire(blocking=False):
            try:
                self._process.end()
            finally:
                self._busy.release()

    def end(self) -> None:
        """End the process, whatever it does; work after that starts another one."""
        if self._timer is not None:
            self._timer.cancel()
        self._process.end()


def _run(name: str, payload: bytes | None, folder: str, item: Any) -> Any:
    """In a child process: ``function(item)``, in the folder of the command if there is one."""
    function = _loaded.get(name)
    if function is None:
        if payload is None:
            return _Sign.UNKNOWN
        with contextlib.suppress(OSError):
            os.chdir(folder)
        function = pickle.loads(payload)
        _remember(_loaded, name, function)
    return function(item)


def _remember(known: dict[str, Any], name: str, value: Any) -> None:
    """Put a value last in ``known``, which forgets its first ones."""
    known.pop(name, None)
    known[name] = value
    for old in list(known)[:-KEPT]:
        del known[old]
