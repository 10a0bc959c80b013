"""Real processes that are killed: at random moments, or just before a change on the disk."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MOLVAE = (sys.executable, "-m", "molvae")
TAG = "MOLVAE_WRECK"  # variable by which a process and its workers are known
PATIENCE = 240.0  # seconds after which a process counts as hung

# Python reads this before anything else. Workers inherit the environment and are left alone.
BOMB = """
import atexit, os, signal

if os.environ.setdefault("WRECK_PROCESS", str(os.getpid())) == str(os.getpid()):
    fuse, count = int(os.environ["WRECK_BEFORE"]), 0

    def armed(real):
        def call(*arguments, **named):
            global count
            count += 1
            if count == fuse:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)
        return call

    for name in ("fsync", "mkdir", "remove", "rename", "replace", "rmdir", "truncate", "unlink"):
        setattr(os, name, armed(getattr(os, name)))
"""


@dataclass
class Wreck:
    """A command that is killed and started again until it ends by itself."""

    command: tuple[str, ...]  # of molvae, with --resume
    folder: Path  # for what the processes say, and the bomb
    kills: int = 0
    starts: int = 0
    logs: list[str] = field(default_factory=list)

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        """The next process."""
        self.starts += 1
        log = self.folder / f"log-{self.starts}"
        with open(log, "wb") as handle:
            return subprocess.Popen(
                [*MOLVAE, *self.command], stdout=handle, stderr=handle,
                env={**os.environ, "OMP_NUM_THREADS": "1", TAG: str(self.folder), **variables},
            )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait for a process; whether it was killed. Anything but that and success is an error."""
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        said = (self.folder / f"log-{self.starts}").read_text(encoding="utf-8", errors="replace")
        self.logs.append(said)
        assert code in (0, -signal.SIGKILL), said
        assert "Traceback" not in said
        self.kills += code != 0
        return code != 0

    def at_random(self, chance: random.Random, longest: float) -> bool:
        """Start it and kill it up to so many seconds later; whether it was killed."""
        process = self.start()
        try:
            process.wait(chance.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        return self.end(process)

    def before_change(self, number: int) -> bool:
        """Start it and kill it before its n-th change of the disk, if there are as many."""
        place = self.folder / "bomb"
        place.mkdir(exist_ok=True)
        (place / "sitecustomize.py").write_text(BOMB, encoding="utf-8")
        path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
        return self.end(self.start(PYTHONPATH=path, WRECK_BEFORE=str(number)))


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes that a Wreck in this folder started, or that were started by one of them."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended, or is another user's
            if process.environ().get(TAG) == str(folder):
                found.append(process)
    return found


def seconds_of(command: tuple[str, ...]) -> float:
    """How long an undisturbed process takes."""
    started = time.monotonic()
    subprocess.run(
        [*MOLVAE, *command], check=True, capture_output=True, timeout=PATIENCE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return time.monotonic() - started
