"""A scoring function that is another program."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from molvae.errors import RunError
from molvae.objectives import guard
from molvae.runtime.processes import TERM_WAIT, end_group, results_folder

__all__ = ["ProcessScorer", "as_scores", "split_command"]

MAX_OUTPUT = 100_000_000  # bytes that a program may print for one batch


@dataclass(frozen=True)
class ProcessScorer:
    """Another program: SMILES on its standard input, one per line; JSON on its output.

    The protocol of REINVENT 4's ExternalProcess: ``{"version": 1, "payload": {"NAME": [...]}}``,
    one number per SMILES or null. If the payload has several lists, ``process:NAME=COMMAND``
    chooses one. The program is started for every batch. It and the child processes it leaves
    are ended when it has answered, when it takes longer than ``timeout`` seconds per molecule, and
    when this process dies.
    """

    command: str
    key: str = ""
    timeout: float | None = None
    bounded: bool = False

    @property
    def name(self) -> str:
        """The name in tables."""
        return self.key or "process"

    def words(self) -> list[str]:
        """The words of the command; an error if there is no such program."""
        words = split_command(self.command)
        if shutil.which(words[0]) is None:
            raise RunError(f"objective: cannot run '{self.command}': no program '{words[0]}'")
        return words

    def __call__(self, smiles: Sequence[str]) -> list[float]:
        """The scores that the program prints; an error if it fails or prints anything else."""
        words = self.words()
        # Files, because a pipe ends only when all child processes of the program have closed it.
        with tempfile.TemporaryDirectory(prefix="molvae-", dir=results_folder()) as folder:
            given, output, errors = (Path(folder, name) for name in ("in", "out", "err"))
            given.write_text("".join(f"{text}\n" for text in smiles), encoding="utf-8")
            with open(output, "wb") as out, open(errors, "wb") as err:
                code = self._run(words, given, out, err, len(smiles))
            if code:
                last = (_read_text(errors).strip().splitlines() or ["no message"])[-1]
                raise RunError(f"objective: '{self.command}' ended with {code}: {last}")
            text = _read_text(output)
        return as_scores(self._payload(text), len(smiles))

    def _run(
        self, words: list[str], given: Path, out: IO[bytes], err: IO[bytes], count: int
    ) -> int:
        """Run the program on the file ``given``, of ``count`` molecules; its exit status."""
        guarded = hasattr(os, "killpg") and hasattr(os, "posix_spawnp")
        launcher = [sys.executable, "-I", "-S", guard.__file__, str(TERM_WAIT), str(given)]
        with ExitStack() as stack:
            source = subprocess.PIPE if guarded else stack.enter_context(open(given, "rb"))
            try:
                program = subprocess.Popen(
                    [*launcher, *words] if guarded else words,
                    stdin=source,
                    stdout=out,
                    stderr=err,
                    start_new_session=guarded,
                )
            except OSError as error:
                raise RunError(f"objective: cannot run '{self.command}': {error}") from None
            limit = None if self.timeout is None else self.timeout * count
            with program:
                try:
                    return program.wait(limit)
                except subprocess.TimeoutExpired:
                    raise RunError(
                        f"objective: '{self.command}' took longer than {limit:g} s"
                    ) from None
                finally:
                    end_group(program.pid, program.poll)
                    if program.poll() is None:
                        program.kill()

    def _payload(self, text: str) -> Any:
        try:
            payload = json.loads(text)["payload"]
            if self.key:
                return payload[self.key]
            (only,) = payload.values()
        except (ValueError, KeyError, TypeError, AttributeError):
            wanted = f'"{self.key}"' if self.key else "one name"
            raise RunError(
                f"objective: '{self.command}' printed {text[:80]!r}; expected JSON such as "
                f'{{"version": 1, "payload": {{"NAME": [0.5, null]}}}} with {wanted} in it'
            ) from None
        return only


def _read_text(file: Path) -> str:
    with open(file, "rb") as handle:
        data = handle.read(MAX_OUTPUT + 1)
    if len(data) > MAX_OUTPUT:
        raise RunError(f"objective: the program printed more than {MAX_OUTPUT:,} bytes")
    return data.decode("utf-8", "replace")


def split_command(command: str) -> list[str]:
    """The words of a command line; a ValueError if a quotation mark is missing."""
    return shlex.split(command, posix=os.name != "nt")


def as_scores(result: Any, count: int) -> list[float]:
    """The result of a user's function as a list of floats; an error if it is none."""
    try:
        if isinstance(result, str | bytes | set | frozenset | dict):
            raise TypeError
        scores = [math.nan if score is None else float(score) for score in result]
    except (TypeError, ValueError):
        raise RunError(
            f"objective: got {type(result).__name__} {str(result)[:60]!r}, expected a list of "
            f"{count} numbers"
        ) from None
    if len(scores) != count:
        raise RunError(f"objective: got {len(scores)} scores for {count} molecules")
    return [score if math.isfinite(score) else math.nan for score in scores]
