"""Long work of the app: one molvae command in a child process, with a folder that describes it.

A job folder has

- ``job.json``: arguments of the command, title, time of the start, notes of the page;
- ``stdout.txt`` (the result as JSON) and ``stderr.txt`` (what a terminal would show);
- ``progress.json``: the last progress line and the share of the work that is done;
- ``stop``: one byte for each request to stop;
- ``ended.json``: exit code, time, and whether the job was stopped;

and the uploads and outputs that the page puts there. All state is in these files, so that it does
not depend on a browser tab, and any server that shows the folder can stop or resume its jobs.

A job ends with the server that started it, however that ends: it is then stopped as by the stop
button, saves what it has, and can be resumed. Nothing keeps running unseen.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

import molvae
from molvae.errors import FileError, RunError
from molvae.runtime.files import write_json

__all__ = [
    "ENDED",
    "LOCK",
    "PROCESS",
    "PROGRESS",
    "STOP",
    "Job",
    "Progress",
    "State",
    "all_jobs",
    "load",
    "new_folder",
    "safe_name",
    "start",
]

State = Literal["running", "stopping", "finished", "stopped", "failed", "killed"]
JOB, ENDED, PROCESS, PROGRESS, STOP = "job.json", "ended.json", "pid.json", "progress.json", "stop"
STDOUT, STDERR, LOCK, STARTING = "stdout.txt", "stderr.txt", ".lock", ".starting.lock"
RESUMABLE = frozenset({"train", "generate", "optimize", "prepare"})  # verbs with --resume
LONGEST_NAME, LONGEST_TITLE = 60, 120  # characters
LOG_BYTES = 64 * 1024  # of standard error that are read
START_LIMIT = 60.0  # seconds until the child process has begun, on a busy machine
END_LIMIT = 10.0  # seconds between the record of an end and the end
# The folder of the package is last, so that it replaces no other module.
CODE = "import sys; sys.path.append(sys.argv.pop(1)); import molvae.app.job_process as j; j.main()"


@dataclass(frozen=True)
class Progress:
    """The last progress line of a job, and the share of its present stage that is done."""

    text: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Job:
    """A job as its folder describes it."""

    folder: Path
    arguments: tuple[str, ...]  # of ``molvae``: verb and options
    title: str
    created: float  # seconds since the epoch
    notes: dict[str, Any] = field(default_factory=dict)  # plain data of the page that started it

    @property
    def verb(self) -> str:
        """The molvae command, such as ``train``."""
        return self.arguments[0]

    @property
    def label(self) -> str:
        """Title and time of the first start: never changes, and hardly ever names two jobs."""
        return f"{self.title} · {time.strftime('%d %b %H:%M:%S', time.localtime(self.created))}"

    @property
    def command(self) -> str:
        """The command line to copy."""
        return shlex.join(["molvae", *self.arguments])

    @property
    def state(self) -> State:
        """What the job does now, or how it ended.

        ``killed`` means that its process ended without a word, for example at a power failure.
        """
        if (ended := self._ended()) is not None:
            if ended.get("code") == 0:
                return "finished"
            if ended.get("stopped"):
                return "stopped"
            return "failed" if ended.get("said") else "killed"
        if _locked(self.folder / LOCK) or _locked(self.folder / STARTING):
            return "stopping" if self.stop_requests else "running"
        return "killed" if self._ended() is None else self.state

    @property
    def active(self) -> bool:
        """Whether the process of the job is running."""
        return self.state in ("running", "stopping")

    @property
    def resumable(self) -> bool:
        """Whether :meth:`resume` can continue the job."""
        return self.verb in RESUMABLE and self.state in ("stopped", "failed", "killed")

    @property
    def needs_files(self) -> bool:
        """Whether its command may read its files again: a finished search can be continued."""
        return self.active or self.resumable or self.verb == "optimize"

    @property
    def stop_requests(self) -> int:
        """How often the job was asked to stop."""
        with contextlib.suppress(OSError):
            return (self.folder / STOP).stat().st_size
        return 0

    @property
    def seconds(self) -> float:
        """Time since the start, or from start to end; of a resumed job since it was resumed."""
        ended, begun = self._ended(), _read(self.folder / PROCESS)
        first = _number((begun or {}).get("time"), self.created)
        last = time.time() if ended is None else _number(ended.get("time"), first)
        return max(last - first, 0.0)

    @property
    def progress(self) -> Progress:
        """The progress of the present stage; empty before the first."""
        data = _read(self.folder / PROGRESS) or {}
        share = data.get("share")
        return Progress(
            str(data.get("text", "")), share if isinstance(share, (int, float)) else None
        )

    @property
    def log(self) -> list[str]:
        """The last lines that a terminal would show."""
        with contextlib.suppress(OSError), open(self.folder / STDERR, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - LOG_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
            return [line for line in text.splitlines() if line.strip()]
        return []

    @property
    def error(self) -> str:
        """Why the job failed, in one sentence; empty if it did not."""
        if self.state == "killed":
            return "the process was ended from outside (out of memory, or the machine went off)"
        if self.state not in ("failed", "stopped"):
            return ""
        lines = self.log
        for line in reversed(lines):
            if line.lower().startswith("error: "):
                return line[len("error: ") :]
        return lines[-1] if lines else "it ended without a message"

    @property
    def result(self) -> dict[str, Any] | None:
        """What the command printed with ``--json``; None before the end."""
        return _read(self.folder / STDOUT) if self.state == "finished" else None

    def output(self, name: str) -> Path:
        """Path of an output in the job folder."""
        return self.folder / name

    def stop(self) -> None:
        """Ask the job to stop and save; the second time, to stop at once; then, end it."""
        if not self.active:
            return
        with open(self.folder / STOP, "ab") as file:
            file.write(b".")
        if self.stop_requests > 2:
            process = (_read(self.folder / PROCESS) or {}).get("pid")
            if isinstance(process, int) and process > 1 and _locked(self.folder / LOCK):
                with contextlib.suppress(OSError):
                    os.kill(process, getattr(signal, "SIGKILL", signal.SIGTERM))

    def resume(self, changed: Mapping[str, str] | None = None) -> Job:
        """Continue the job: the same command with ``--resume``.

        ``changed`` gives options new values, such as ``{"--budget": "400"}``.

        Raises:
            RunError: the job is running, or its command cannot be resumed.
        """
        arguments = [text for text in self.arguments if text not in ("--resume", "--force")]
        for option, value in (changed or {}).items():
            arguments[arguments.index(option) + 1] = value
        if self.verb not in RESUMABLE:
            raise RunError(f"molvae {self.verb} cannot be resumed; start it again")
        return start(self.folder, [*arguments, "--resume"], title=self.title, notes=self.notes)

    def remove(self) -> None:
        """Delete the folder with all its files.

        Raises:
            RunError: the job is running, or one that reads its files.
        """
        for job in all_jobs(self.folder.parent):
            if job.active and any(
                str(self.folder) in text for text in (str(job.folder), *job.arguments)
            ):
                raise RunError(f"'{job.title}' is running and uses this folder; stop it first")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ended(self) -> dict[str, Any] | None:
        return _read(self.folder / ENDED)


def safe_name(name: str, fallback: str = "upload") -> str:
    """A file name of letters, digits, dots, dashes and underscores from a name of a stranger.

    >>> safe_name("../../etc/pass wd.csv.gz"), safe_name("-x\\n.csv"), safe_name("é.csv")
    ('pass_wd.csv.gz', 'x_.csv', 'e.csv')
    """
    letters = unicodedata.normalize("NFKD", re.split(r"[/\\]", name)[-1])  # "ö" is "o" and a mark
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", letters).lstrip("._-")
    if len(plain) > LONGEST_NAME:
        stem, dot, suffixes = plain.partition(".")
        suffixes = (dot + suffixes)[-20:]
        plain = stem[: LONGEST_NAME - len(suffixes)] + suffixes
    return plain or fallback


def new_folder(root: str | Path, verb: str) -> Path:
    """A new folder for a job below ``root``, named after the time and the verb."""
    jobs = Path(root)
    jobs.mkdir(parents=True, exist_ok=True)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{safe_name(verb)}"
    for number in range(1, 10_000):
        folder = jobs / (stem if number == 1 else f"{stem}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder.absolute()
    raise FileError(f"'{jobs}': too many jobs of one second")


def start(
    folder: Path,
    arguments: Sequence[str],
    *,
    title: str,
    notes: Mapping[str, Any] | None = None,
) -> Job:
    """Start ``molvae ARGUMENTS`` as the job of ``folder``, which :func:`new_folder` made.

    The result is printed as JSON. Returns when the process has begun.

    Raises:
        RunError: the job of this folder is running, or no process could be started.
    """
    title = " ".join("".join(c if c.isprintable() else " " for c in title).split())[:LONGEST_TITLE]
    before = load(folder)
    created = before.created if before else time.time()
    job = Job(folder, tuple(map(str, arguments)), title, created, dict(notes or {}))
    try:
        with FileLock(folder / STARTING, timeout=0):
            limit = time.monotonic() + END_LIMIT * (folder / ENDED).exists()
            while (running := _locked(folder / LOCK)) and time.monotonic() < limit:
                time.sleep(0.02)
            if running:
                raise RunError(f"'{title}' is running already")
            for name in (ENDED, PROCESS, PROGRESS, STOP):
                (folder / name).unlink(missing_ok=True)
            write_json(
                folder / JOB,
                {
                    "arguments": list(job.arguments),
                    "title": title,
                    "created": created,
                    "notes": job.notes,
                },
            )
            _launch(job)
    except Timeout:
        raise RunError(f"'{title}' is being started already") from None
    except OSError as error:
        raise RunError(f"cannot start molvae {job.verb}: {error.strerror or error}") from None
    return job


def _launch(job: Job) -> None:
    """Start the process of a job and wait until it holds the lock of its folder."""
    root = str(Path(molvae.__file__).parents[1])
    command = [sys.executable, "-P", "-c", CODE, root, str(job.folder)]
    with open(job.folder / STDOUT, "wb") as out, open(job.folder / STDERR, "ab") as err:
        # The child ends when its standard input does, which is held open by the thread below.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
        )
    threading.Thread(target=_await_end, args=(child, job.folder), daemon=True).start()
    limit = time.monotonic() + START_LIMIT
    while child.poll() is None and not (job.folder / PROCESS).exists():
        if time.monotonic() > limit:
            child.kill()
            raise RunError(f"molvae {job.verb} did not start within {START_LIMIT:g} seconds")
        time.sleep(0.02)
    if not (job.folder / PROCESS).exists():
        _record_end(job.folder, child.wait())


def _await_end(child: subprocess.Popen[bytes], folder: Path) -> None:
    """Collect a child process, and record its end if it could not do so itself."""
    code = child.wait()
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()
    # The job may have been resumed, or deleted, in the meantime.
    if (_read(folder / PROCESS) or {}).get("pid") == child.pid and not (folder / ENDED).exists():
        _record_end(folder, code)


def _record_end(folder: Path, code: int) -> None:
    stopped = (folder / STOP).exists()
    with contextlib.suppress(OSError):
        write_json(folder / ENDED, {"code": code, "stopped": stopped, "time": time.time()})


def all_jobs(root: str | Path) -> list[Job]:
    """The jobs below a folder, the newest first; folders of anything else are ignored."""
    folders = sorted(path.parent for path in Path(root).glob(f"*/{JOB}"))
    jobs = [job for folder in folders if (job := load(folder)) is not None]
    return sorted(jobs, key=lambda job: job.created, reverse=True)


def load(folder: Path) -> Job | None:
    """The job of a folder; None if there is none."""
    data = _read(folder / JOB)
    if data is None:
        return None
    arguments, notes = data.get("arguments"), data.get("notes")
    if not isinstance(arguments, list) or not arguments:
        return None
    return Job(
        folder,
        tuple(map(str, arguments)),
        str(data.get("title", "")),
        _number(data.get("created"), 0.0),
        notes if isinstance(notes, dict) else {},
    )


def _locked(path: Path) -> bool:
    """Whether a process holds this lock."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _number(value: object, fallback: float) -> float:
    return float(value) if isinstance(value, (int, float)) else fallback
