"""Real processes that are killed: at random moments, or just before a change on the disk."""

import functools
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests import warm

TAG = "MOLVAE_WRECK"  # variable by which the workers of a process are known
PATIENCE = 240.0  # seconds after which a process counts as hung
CHANGES = ("fsync", "mkdir", "remove", "rename", "replace", "rmdir", "truncate", "unlink")


def arm(fuse: int) -> None:
    """This process kills itself just before its n-th change on the disk; workers are left alone."""
    count = 0

    def armed(real):
        @functools.wraps(real)
        def call(*arguments, **named):
            nonlocal count
            count += 1
            if count == fuse:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CHANGES:
        setattr(os, name, armed(getattr(os, name)))


@dataclass
class Wreck:
    """A command that is killed and started again until it ends by itself."""

    command: tuple[str, ...]  # of molvae, with --resume
    folder: Path  # by which its workers are known
    kills: int = 0
    logs: list[str] = field(default_factory=list)

    def start(self, first=None) -> warm.Process:
        """The next process."""
        return warm.Process(*self.command, first=first, variables={TAG: str(self.folder)})

    def end(self, process: warm.Process) -> bool:
        """Wait for a process; whether it was killed. Anything but that and success is an error."""
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        said = "".join(process.said())
        self.logs.append(said)
        assert code in (0, -signal.SIGKILL), said
        assert "Traceback" not in said
        self.kills += code != 0
        return code != 0

    def at_random(self, chance: random.Random, longest: float) -> bool:
        """Start it and kill it up to so many seconds later; whether it was killed."""
        process = self.start()
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, longest))
        process.kill()
        return self.end(process)

    def before_change(self, number: int) -> bool:
        """Start it and kill it before its n-th change of the disk, if there are as many."""
        return self.end(self.start(functools.partial(arm, number)))


def processes_of(folder: Path) -> list[psutil.Process]:
    """Worker processes that were started by a Wreck in this folder."""
    result = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.environ().get(TAG) == str(folder):
                result.append(process)
    return result


def seconds_of(command: tuple[str, ...]) -> float:
    """How long an undisturbed process takes."""
    started = time.monotonic()
    done = warm.run(*command, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started
