"""Processes of molvae that start warm: forked from one that has imported what they need.

Python, torch and RDKit take seconds to import, more than most works that tests start, kill and
start again. Each process is a real one all the same: memory, exit code, signals and an end by
SIGKILL; its workers are not forked. How molvae starts by itself is for the tests of the command
line.
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "molvae.cli", "molvae.train.run", "molvae.data.prepare", "molvae.generate.run",
    "molvae.optimize.run", "molvae.evaluate", "molvae.model.checkpoint", "molvae.report",
    "molvae.objectives",
])  # fmt: skip


class Process:
    """``molvae WORDS`` in a new process, with the part of `subprocess.Popen` that tests use.

    Args:
        words: The command line, each word as `str` shows it.
        stdin: A file to read; nothing by default.
        session: Whether it leads a process group, as what a terminal starts does.
        first: Called in the process before molvae; a function that can be imported, or a partial.
        variables: Environment variables beside those of this process.
    """

    def __init__(
        self,
        *words: object,
        stdin: Path | None = None,
        session: bool = False,
        first: Callable[[], None] | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.args = tuple(map(str, words))
        place = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        self._said = place / "stdout", place / "stderr"
        for path in self._said:
            path.touch()
        files = (stdin or Path(os.devnull), *self._said)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
        self._process = _CONTEXT.Process(
            target=_become_molvae,
            args=(self.args, files, Path.cwd(), environment, session, first),
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code: negative for a signal, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def said(self) -> tuple[str, str]:
        """Its standard output and standard error so far."""
        stdout, stderr = (path.read_text(encoding="utf-8", errors="replace") for path in self._said)
        return stdout, stderr


def run(
    *words: object,
    timeout: float = 280,
    stdin: Path | None = None,
    first: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """``molvae WORDS`` to its end; one that hangs is killed, and an error."""
    process = Process(*words, stdin=stdin, first=first)
    try:
        code = process.wait(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, code, *process.said())


def wait_for(
    what: Callable[[], object],
    process: Process | subprocess.Popen | None = None,
    seconds: float = 240,
) -> None:
    """Until it is true, while the process runs."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        if process is not None and process.poll() is not None:
            raise AssertionError(process.said() if isinstance(process, Process) else process.args)
        time.sleep(0.02)


def _become_molvae(
    words: tuple[str, ...],
    files: tuple[Path, Path, Path],
    folder: Path,
    environment: dict[str, str],
    session: bool,
    first: Callable[[], None] | None,
) -> None:
    """In the new process: what a shell and the interpreter do for ``molvae WORDS``."""
    for number, path in enumerate(files):
        handle = os.open(path, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(handle, number)
        os.close(handle)
    # The interpreter made these objects for other files.
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    if session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["molvae", *words]
    sys.modules["__main__"] = types.ModuleType("__main__")  # workers import the main module
    from molvae.cli import main

    if first is not None:
        first()
    try:
        main(list(words), prog_name="molvae")
    finally:
        sys.stdout.flush()
