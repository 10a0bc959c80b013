"""Shared by benchmarks in turns: contestants as processes, ratios of a round, a result file."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from watching import machine  # type: ignore[import-not-found]


class Stages:
    """Seconds of each stage of a program, measured where its functions are called."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Count the time of a function of a class or module from now on."""
        function = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            started = self._clock()
            try:
                return function(*args, **options)
            finally:
                self.seconds[stage] += self._clock() - started

        setattr(owner, name, call)


def place() -> dict[str, Any]:
    """Where a benchmark ran, for the head of its results."""
    return {"machine": machine(), "omp_num_threads": os.environ.get("OMP_NUM_THREADS")}


def child(command: list[str]) -> dict[str, Any]:
    """The JSON output of a process, which must succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def ratio(mine: Iterable[float], others: Iterable[float], digits: int = 2) -> str:
    """How many times as fast, round by round: median and range."""
    ratios = [my_speed / other_speed for my_speed, other_speed in zip(mine, others, strict=False)]
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every benchmark that runs in rounds against the code of MOSES."""
    parser.add_argument("--baseline", metavar="PYTHON", help="of the environment of MOSES")
    parser.add_argument("--smiles", type=Path, metavar="FILE", help="molecules, for MOSES")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what this process is for


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line; an error if half of the baseline is given."""
    given = parser.parse_args()
    if (given.baseline is None) != (given.smiles is None):
        parser.error("--baseline and --smiles go together")
    return given


def save(result: dict[str, Any], path: Path | None) -> None:
    """Write the results so far, if there is a file for them; a long run may be cut off."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
