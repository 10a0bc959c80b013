"""The process of a job: a molvae command that reports its progress and its end in its folder.

It stops, as at Ctrl-C, when its folder asks for it or when the server that started it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from molvae.app.jobs import ENDED, LOCK, PROCESS, PROGRESS, STOP, load
from molvae.runtime.files import write_json
from molvae.runtime.progress import set_listener

__all__ = ["main"]

TICK = 0.2  # seconds between two looks at the file of stop requests
PATIENCE = 30.0  # seconds between requests to stop when the server has ended


def main() -> None:
    """Run the job of the folder that is the only argument."""
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a server in the background ignores
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    job = load(folder)
    lock = FileLock(folder / LOCK)
    lock.acquire(timeout=10)
    if job is None:
        raise SystemExit(f"'{folder}': not the folder of a job")
    write_json(folder / PROCESS, {"pid": os.getpid(), "time": time.time()})
    watch = _Watch(folder)
    code = 1
    try:
        watch.begin()
        set_listener(_Listener(folder))
        sys.argv = ["molvae", *job.arguments, "--json"]
        runpy.run_module("molvae", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
    except Exception as error:  # a fault of molvae: the page shows one line, the log has the rest
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        watch.over = True
        sys.stdout.flush()
        write_json(
            folder / ENDED,
            {"code": code, "stopped": watch.requests > 0, "said": True, "time": time.time()},
        )
        lock.release()
    sys.exit(code)


class _Listener:
    """Writes progress to the file of the job; a disk without space does not end the work."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self.draft = folder / f".{PROGRESS}.new"

    def __call__(self, text: str, share: float | None) -> None:
        with contextlib.suppress(OSError):
            self.draft.write_text(json.dumps({"text": text, "share": share}), encoding="utf-8")
            os.replace(self.draft, self.path)


class _Watch:
    """Interrupts this process when a stop is requested, and when its server has ended."""

    def __init__(self, folder: Path) -> None:
        self.stop, self.requests, self.over = folder / STOP, 0, False

    def begin(self) -> None:
        """Take standard input, which the server holds open, and start to watch."""
        server = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        threading.Thread(target=self._files, daemon=True).start()
        threading.Thread(target=self._server, args=(server,), daemon=True).start()

    def _files(self) -> None:
        seen = 0
        while not self.over:
            with contextlib.suppress(OSError):
                if (size := self.stop.stat().st_size) > seen:
                    seen = size
                    self._interrupt()
            time.sleep(TICK)

    def _server(self, server: int) -> None:
        with contextlib.suppress(OSError):
            while os.read(server, 1):
                pass
        for _ in range(2):
            self._interrupt()
            time.sleep(PATIENCE)
        os._exit(1)

    def _interrupt(self) -> None:
        self.requests += 1
        if self.over:
            return
        kill: Any = getattr(os, "kill", None)
        if os.name == "posix":
            kill(os.getpid(), signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
