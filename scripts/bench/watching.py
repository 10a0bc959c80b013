"""Memory of a process tree while it works, shared by the benchmarks."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

MIB = 2**20


class Watch:
    """Peak memory of a process tree and peak size of the folders it writes."""

    def __init__(self, pid: int, folder: Path, work: Path) -> None:
        """``folder`` holds all that is written, ``work`` is one folder in it."""
        self.process, self.folder, self.work = psutil.Process(pid), folder, work
        self.peaks = dict.fromkeys(("rss", "own", "uss", "pss", "work", "disk"), 0)
        self.when = dict.fromkeys(self.peaks, 0.0)
        self.processes = 0
        self.own: list[tuple[float, int]] = []  # seconds since the start, bytes
        self._begun = time.monotonic()
        self._next_full = self._next_disk = 0.0

    def look(self) -> None:
        """Take a sample; slow measurements are not taken every time."""
        try:
            tree = [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        self.processes = max(self.processes, len(tree))
        now = [_memory(process, full=False) for process in tree]
        self.note("rss", sum(process.get("rss", 0) for process in now))
        # Resident bytes without pages of files.
        own = sum(process.get("rss", 0) - process.get("shared", 0) for process in now)
        self.note("own", own)
        self.own.append((time.monotonic() - self._begun, own))
        if time.monotonic() >= self._next_full:
            begun = time.monotonic()
            detailed = [_memory(process, full=True) for process in tree]
            for name in ("uss", "pss"):
                self.note(name, sum(process.get(name, 0) for process in detailed))
            self._next_full = _later(begun)
        if time.monotonic() >= self._next_disk:
            begun = time.monotonic()
            self.note("work", folder_size(self.work))
            self.note("disk", folder_size(self.folder))
            self._next_disk = _later(begun)

    def follow(self, child: subprocess.Popen[Any]) -> None:
        """Look until the child has ended; whoever interrupts this ends it too."""
        try:
            while child.poll() is None:
                self.look()
                try:
                    child.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            child.terminate()
            child.wait()
            raise

    def note(self, name: str, value: int) -> None:
        """Keep the value if it is the greatest of its kind."""
        if value > self.peaks[name]:
            self.peaks[name], self.when[name] = value, time.monotonic() - self._begun


def _later(begun: float) -> float:
    """When to look again: after a second, or so late that looking takes a fiftieth of the time."""
    return begun + max(1.0, 50 * (time.monotonic() - begun))


def _memory(process: Any, *, full: bool) -> dict[str, int]:
    """Bytes of a process by kind; none if it has ended."""
    try:
        memory = process.memory_full_info() if full else process.memory_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
    return {str(name): int(value) for name, value in memory._asdict().items()}


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder, some of which may vanish meanwhile; 0 without it."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        total += folder_size(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        pass
    return total


def counts(text: str) -> list[int]:
    """A list of counts on a command line, such as 10000,100000."""
    numbers = [int(word.replace("_", "")) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return numbers


def append(path: Path, case: dict[str, Any]) -> None:
    """Add a case to a JSON list on disk, which is whole at any time."""
    cases = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps([*cases, case], indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def machine() -> dict[str, Any]:
    """Settings that the results depend on."""
    return {
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("rdkit", "selfies", "numpy")},
    }
