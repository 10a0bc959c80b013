"""How long molvae takes to start: help, a model, a worker process, one molecule.

    python scripts/bench/start.py --rounds 5 -o start.json

Each round runs every case once, in another order; each is a new process. Shown are the median, the
range, and the ratio to the reference of the same round: a click program that only prints its help,
or ``import torch``. Cold: the cache folder of molvae is empty, and the system is asked to drop the
files of the environment from memory (Linux; without effect on files that another process maps).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from turns import place, save  # type: ignore[import-not-found]

CLICK = """
import click
@click.group()
def main(): "A program."
@main.command()
@click.option("--count", type=int, help="How many.")
def verb(count): "A verb."
main(["--help"])
"""
# A worker is ready when it has imported what it needs and answers.
WORKER = """
from molvae.runtime.pool import WorkerPool
from molvae.data.prepare.parts import make_part  # what a worker of prepare imports
if __name__ == "__main__":
    import time
    start = time.perf_counter()
    with WorkerPool(1) as pool:
        pool.submit(READY, "C")[0].result()
        print(time.perf_counter() - start)
""".replace("READY", "__import__('molvae.chem', fromlist=['parse']).canonical_smiles")
CLICK_HELP, TORCH = "a click program, help", "import torch"
GENERATE = ("-m", "molvae", "generate", "-n", "1", "--quiet", "-o")


def cases(folder: Path) -> dict[str, tuple[Sequence[str], str]]:
    """Arguments of Python by name of the case, and the case that it is compared with."""
    one = (*GENERATE, str(folder / "one.csv"), "--force")
    return {
        CLICK_HELP: (("-c", CLICK), ""),
        "molvae --help": (("-m", "molvae", "--help"), CLICK_HELP),
        TORCH: (("-c", TORCH), ""),
        "MolVAE.load": (("-c", "import molvae; molvae.MolVAE.load('default')"), TORCH),
        "generate -n 1": (one, TORCH),
        "generate -n 1, cold": (one, TORCH),
        "a worker process": ((str(folder / "worker.py"),), ""),
    }


def seconds(arguments: Sequence[str], cache: Path) -> tuple[float, str]:
    """Wall time of a Python process, and what it wrote."""
    environment = {**os.environ, "MOLVAE_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else all is compiled in every process
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return taken, done.stdout


def drop_files() -> None:
    """Ask the system to forget the files that Python imports."""
    import molvae

    if not hasattr(os, "posix_fadvise"):
        return
    site = Path(os.__file__).parent, Path(molvae.__file__).parent, Path(sys.prefix)
    for folder in site:
        for path in folder.rglob("*"):
            if (
                path.suffix in (".so", ".py", ".pyc", ".safetensors", ".json")
                or ".so." in path.name
            ):
                try:
                    handle = os.open(path, os.O_RDONLY)
                except OSError:
                    continue
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)


def main() -> None:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this text")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="start-") as name:
        folder = Path(name)
        (folder / "worker.py").write_text(WORKER)
        all_cases = cases(folder)
        names = [case for case in all_cases if options.only in case]
        names += {all_cases[case][1] for case in names} - {*names, ""}
        for case in names:  # compiles, and fills the cache
            seconds(all_cases[case][0], folder / "cache")
        times: dict[str, list[float]] = {case: [] for case in names}
        for turn in range(options.rounds):
            for case in names[turn % len(names) :] + names[: turn % len(names)]:
                cold = case.endswith("cold")
                if cold:
                    drop_files()
                cache = folder / (f"cold-{turn}" if cold else "cache")
                taken, output = seconds(all_cases[case][0], cache)
                times[case].append(float(output) if case == "a worker process" else taken)
            save({**place(), "seconds": times}, options.output)
    print("| case | median, s | range, s | × the reference |\n|---|---|---|---|")
    for case in names:
        reference = all_cases[case][1]
        low, high = min(times[case]), max(times[case])
        row = f"| {case} | {statistics.median(times[case]):.2f} | {low:.2f} to {high:.2f} | "
        if reference:
            pairs = zip(times[case], times[reference], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            row += f"{ratio:.2f} × {reference} "
        print(row + "|")


if __name__ == "__main__":
    main()
