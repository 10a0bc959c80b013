"""A Dask scheduler and worker processes, started as the documentation says."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.warm import wait_for

DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """The address of a scheduler, and the processes that started it and its workers."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"tcp://127.0.0.1:{self.port}"
        self.log = open(folder / "dask.log", "w", encoding="utf-8")  # noqa: SIM115
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )
        self.workers: list[subprocess.Popen] = []

    def _start(self, *words: str) -> subprocess.Popen:
        quiet = {"stdout": self.log, "stderr": self.log, "cwd": self.folder}
        return subprocess.Popen([*DASK, *words], start_new_session=True, **quiet)

    def add_worker(self, *words: str) -> subprocess.Popen:
        """Start a worker; it joins the scheduler when it can."""
        place = self.folder / f"worker-{len(self.workers)}"
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-dashboard",
            "--local-directory", str(place), *words,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for process in (self.scheduler, *self.workers):
            kill_tree(process)
        self.log.close()


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a process and all that it started, parents first: a nanny restarts a dead worker."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):  # a program of an objective may just have ended
                child.kill()
    process.wait()


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A running scheduler, and workers that are about to join it."""
    started = Cluster(folder)
    try:
        wait_for(lambda: _listens(started.port), started.scheduler)
        for _ in range(workers):
            started.add_worker()
        yield started
    finally:
        started.close()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
