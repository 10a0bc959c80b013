"""How time and memory of each command grow with the number of molecules, and with the cores.

Each cell is one run of the command line in a new process: a command, a number of molecules, a
number of cores. Its results are kept in a JSON file, and cells that are in it are not run again.

    python scripts/bench/growth.py moses_train.csv.gz -o growth.json --sizes 10000,100000
    python scripts/bench/growth.py moses_train.csv.gz -o growth.json --cores 1,2 --sizes 10000
    python scripts/bench/growth.py moses_train.csv.gz -o growth.json --page docs/growth.md

The last one also writes the tables into the page, between the lines that begin with ``<!--``.

The molecules are the first of the file. `prepare`, `encode` and `predict` read them, `train`
passes over them once (preset tiny), and `generate` makes as many. `evaluate` compares as many from
the end of the file with them as the training set (empty cache). `fit` fits the predictor of a
column to them (``predictor_size.py``). `optimize` scores a tenth as many (objective qed). `predict`
uses a model of 2,000 molecules with QED as a measured column, trained here.

Seconds are wall time with the start of the program; CPU seconds, of all its processes, depend less
on other programs. Memory is the largest resident memory without pages of files, summed over the
processes. On one core the command and its worker process share it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from prepare_memory import first_rows, write_lines  # type: ignore[import-not-found]
from watching import MIB, Watch, counts, machine  # type: ignore[import-not-found]

BENCH = Path(__file__).parent
COMMANDS = ("prepare", "train", "generate", "evaluate", "encode", "fit", "predict", "optimize")
CALLS = 10  # optimize scores one molecule for so many of a size
TAUGHT = 2_000  # molecules with a measured column, for predict
START, END = "<!-- growth.py: tables -->", "<!-- growth.py: end -->"

Cell = dict[str, Any]


class Bench:
    """The inputs of the commands, made when they are needed, and the cells."""

    def __init__(self, source: Path, folder: Path, model: str) -> None:
        self.source, self.folder, self.model = source, folder, model

    def rows(self, size: int) -> Path:
        """The first molecules of the source, as a CSV."""
        path = self.folder / f"rows-{size}.csv"
        if not path.is_file():
            write_lines(path, first_rows(self.source, size))
            with open(path, encoding="utf-8") as file:
                lines = sum(1 for _ in file) - 1
            if lines < size:
                path.unlink()
                raise SystemExit(f"'{self.source}' has {lines:,} molecules, expected {size:,}")
        return path

    def last_rows(self, size: int) -> Path:
        """The last molecules of the source; they overlap with the first where it is too short."""
        path = self.folder / f"last-{size}.csv"
        if not path.is_file():
            lines = list(first_rows(self.source, sys.maxsize))
            write_lines(path, ["smiles", *lines[1:][-size:]])
        return path

    def dataset(self, size: int) -> Path:
        """The prepared molecules."""
        path = self.folder / f"rows-{size}.ds"
        if not path.is_dir():
            quiet([*MOLVAE, "prepare", str(self.rows(size)), "-o", str(path)])
        return path

    def taught(self) -> Path:
        """A small model with a predictor of QED."""
        from molvae import chem
        from molvae.chem.properties import compute

        path = self.folder / "taught"
        if not (path / "model").is_dir():
            table = self.folder / "taught.csv"
            with (
                open(self.rows(TAUGHT), encoding="utf-8", newline="") as file,
                open(table, "w", encoding="utf-8", newline="") as output,
            ):
                writer = csv.writer(output)
                writer.writerow(["smiles", "assay"])
                for row in csv.DictReader(file):
                    if (mol := chem.parse(row["smiles"])) is not None:
                        writer.writerow([row["smiles"], compute(mol, ["qed"])[0]])
            options = ["-p", "assay", "--preset", "tiny", "--epochs", "1"]
            quiet([*MOLVAE, "train", str(table), "-o", str(path), *options])
        return path

    def command(self, name: str, size: int) -> list[str]:
        """The command of a cell, without its output and workers."""
        match name:
            case "prepare":
                return [name, str(self.rows(size))]
            case "train":
                return [name, str(self.dataset(size)), "--preset", "tiny", "--epochs", "1"]
            case "generate":
                return [name, "-m", self.model, "-n", str(size)]
            case "evaluate":
                files = [str(self.last_rows(size)), "--train", str(self.rows(size))]
                return [name, *files, "--no-fcd"]
            case "encode":
                return [name, str(self.rows(size)), "-m", self.model]
            case "predict":
                return [name, str(self.rows(size)), "-m", str(self.taught())]
        budget = str(size // CALLS)
        return ["optimize", "-m", self.model, "--objective", "qed", "--budget", budget]

    def measure(self, name: str, size: int, cores: int) -> Cell:
        """Run a cell; it must succeed."""
        output = self.folder / "out"
        shutil.rmtree(output, ignore_errors=True)  # of a cell that was interrupted
        output.mkdir()
        if name == "fit":
            script = str(BENCH / "predictor_size.py")
            command = [sys.executable, script, str(self.source), "--one", str(size)]
        else:
            ending = {"prepare": "data.ds", "train": "run", "evaluate": "out.json"}
            target = str(output / ending.get(name, "out.npy" if name == "encode" else "out.csv"))
            options = ["-o", target, "--workers", str(cores)]
            command = [*MOLVAE, *self.command(name, size), *options]
        cell = watched(command, output, cores)
        if name == "fit":  # its own time, without the reading of the file
            figures = json.loads((output / "log").read_text(encoding="utf-8").splitlines()[-1])
            cell["seconds"], cell["cpu"] = figures["features"] + figures["fit"], None
        shutil.rmtree(output)
        return {"command": name, "size": size, "cores": cores, **cell}


MOLVAE = (sys.executable, "-m", "molvae")


def quiet(command: list[str]) -> None:
    """Run a command that only makes an input."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Processes started here run on so many cores, where the system can restrict them."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(islice(sorted(before), count)))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def watched(command: list[str], folder: Path, cores: int) -> Cell:
    """Seconds and memory of a command that runs on so many cores with an empty cache."""
    environment = {**os.environ, "MOLVAE_CACHE": str(folder / "cache")}
    environment.pop("OMP_NUM_THREADS", None)
    if cores == 1:
        environment["OMP_NUM_THREADS"] = "1"
    cpu, started = _cpu(), time.perf_counter()
    with (
        open(folder / "log", "w+", encoding="utf-8", errors="replace") as log,
        on_cores(cores),
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        ) as child,
    ):
        watch = Watch(child.pid, folder, folder / "none")
        watch.follow(child)
        seconds = time.perf_counter() - started
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
    return {"seconds": seconds, "cpu": _cpu() - cpu, "memory": watch.peaks["own"]}


def _cpu() -> float:
    """CPU seconds of all processes that have been waited for, with their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- tables ---------------------------------------------------------------------------------------


def exponent(cell: Cell, before: Cell, key: str) -> str:
    """The power of the number of molecules with which a figure grows."""
    growth = math.log(cell[key] / before[key]) / math.log(cell["size"] / before["size"])
    return f"{growth:.2f}"


def growth_table(cells: list[Cell], cores: int) -> list[str]:
    """One row per command and size, of the cells with so many cores."""
    lines = [
        "| command | molecules | s | CPU s | molecules/s | exponent of the time | memory, MiB "
        "| bytes per further molecule |",
        "|---" * 8 + "|",
    ]
    for name in COMMANDS:
        before: Cell | None = None
        for cell in sorted(_of(cells, name, cores), key=lambda cell: int(cell["size"])):
            count = cell["size"] // CALLS if name == "optimize" else cell["size"]
            time_exponent = further = ""
            if before is not None:
                kind = "seconds" if None in (cell["cpu"], before["cpu"]) else "cpu"
                time_exponent = exponent(cell, before, kind)
                more = (cell["memory"] - before["memory"]) / (cell["size"] - before["size"])
                further = f"{more * (CALLS if name == 'optimize' else 1):,.0f}"
            shown = "" if cell["cpu"] is None else f"{cell['cpu']:,.0f}"
            lines.append(
                f"| {name} | {count:,} | {cell['seconds']:,.1f} | {shown} "
                f"| {count / cell['seconds']:,.0f} | {time_exponent} "
                f"| {cell['memory'] / MIB:,.0f} | {further} |"
            )
            before = cell
    return lines


def cores_table(cells: list[Cell]) -> list[str]:
    """One row per command: its largest size that was run on several numbers of cores."""
    lines = ["| command | molecules | one core, s | cores | s | times as fast |", "|---" * 6 + "|"]
    for name in COMMANDS:
        single = {cell["size"]: cell for cell in _of(cells, name, 1)}
        several = [c for c in cells if c["command"] == name and c["cores"] > 1]
        both = [cell for cell in several if cell["size"] in single]
        largest = max((cell["size"] for cell in both), default=0)
        for cell in both:
            if cell["size"] == largest:
                alone = single[largest]["seconds"]
                count = largest // CALLS if name == "optimize" else largest
                lines.append(
                    f"| {name} | {count:,} | {alone:,.1f} | {cell['cores']} "
                    f"| {cell['seconds']:,.1f} | {alone / cell['seconds']:.2f} |"
                )
    return lines


def _of(cells: list[Cell], name: str, cores: int) -> list[Cell]:
    return [cell for cell in cells if cell["command"] == name and cell["cores"] == cores]


def missing(cells: list[Cell], sizes: list[int]) -> str:
    """A sentence about the cells of one core that were not run."""
    present = {(cell["command"], cell["size"]) for cell in cells if cell["cores"] == 1}
    absent = []
    for size in sizes:
        names = [name for name in COMMANDS if (name, size) not in present]
        if names:
            whole = len(names) == len(COMMANDS)
            absent.append(f"{size:,} ({'all commands' if whole else ', '.join(names)})")
    return f"Not measured: {'; '.join(absent)}." if absent else "All cells were measured."


def write_page(page: Path, lines: list[str]) -> None:
    """Replace what is between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise SystemExit(f"'{page}' has no lines {START} and {END}, between which the tables go")
    table = "\n".join([START, "", *lines, "", END])
    pattern = re.compile(f"{re.escape(START)}.*{re.escape(END)}", re.DOTALL)
    page.write_text(pattern.sub(lambda _: table, text), encoding="utf-8")


def main() -> None:
    """Parse the command line, run the cells that are missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="CSV with a column smiles")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON of the cells")
    parser.add_argument("--sizes", type=counts, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--cores", type=counts, default=[1])
    parser.add_argument("--commands", type=lambda text: text.split(","), default=list(COMMANDS))
    parser.add_argument("-m", "--model", default="default", help="for generate, encode, optimize")
    parser.add_argument("--page", type=Path, metavar="FILE", help="Markdown to write tables into")
    parser.add_argument("--no-run", action="store_true", help="only show what was measured")
    parser.add_argument("--work", type=Path, help="folder for the inputs, kept for the next time")
    options = parser.parse_args()
    if unknown := set(options.commands) - set(COMMANDS):
        parser.error(
            f"--commands: got {', '.join(unknown)}, expected some of {', '.join(COMMANDS)}"
        )
    record: dict[str, Any] = {"machine": machine(), "cells": []}
    if options.output.is_file():
        record = json.loads(options.output.read_text(encoding="utf-8"))
    cells: list[Cell] = record["cells"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, too
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        folder = options.work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(options.source, folder, options.model)
        for size in [] if options.no_run else options.sizes:
            for command in options.commands:
                for cores in options.cores:
                    if any(cell["size"] == size for cell in _of(cells, command, cores)):
                        continue
                    cells.append(bench.measure(command, size, cores))
                    options.output.write_text(json.dumps(record, indent=1) + "\n")
                    print(json.dumps(cells[-1]), file=sys.stderr, flush=True)
    lines = [*growth_table(cells, 1), "", missing(cells, options.sizes), "", *cores_table(cells)]
    print("\n".join(lines))
    if options.page is not None:
        write_page(options.page, lines)


if __name__ == "__main__":
    main()
