"""How much faster a search is with more workers: an objective that takes a second per molecule.

    python scripts/bench/scoring.py -m MODEL

Searches with 1 and 2 workers, the second with --ahead 0 and 1, for an objective of one second and
for one of 0.2 to 1.8 seconds, which depends on the molecule. The longest molecule of a round holds
up those with --ahead 0. The seconds are those from the first call to the end of the last one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from molvae.objectives import parse_objective
from molvae.optimize.run import optimize

OBJECTIVES = """
import time, zlib
from pathlib import Path

TIMES = Path({times!r})

def even(smiles: str):
    return scored(smiles, 1.0)

def uneven(smiles: str):
    return scored(smiles, 0.2 + 1.6 * (zlib.crc32(smiles.encode()) % 1000) / 1000)

def scored(smiles, seconds):
    begin = time.time()
    time.sleep(seconds)
    with TIMES.open("a") as file:
        file.write(f"{{begin}} {{time.time()}}\\n")
    return float(len(smiles))
"""


def main() -> None:
    """Print the seconds of each search, all of it and per call."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model", help="model of the search (default: the shipped one)")
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--scheduler", help="of a Dask cluster, in place of 2 local workers")
    given = parser.parse_args()
    print("objective  workers  ahead  seconds  per call")
    for name in ("even", "uneven"):
        for workers, ahead in ((1, 0), (2, 0), (2, 1)):
            seconds = run(name, given, workers, ahead)
            print(
                f"{name:9}  {workers:7}  {ahead:5}  {seconds:7.1f}  {seconds / given.budget:8.2f}"
            )


def run(name: str, given: argparse.Namespace, workers: int, ahead: int) -> float:
    """Seconds of one search."""
    with TemporaryDirectory() as folder:
        path, times = Path(folder, "objectives.py"), Path(folder, "times")
        path.write_text(OBJECTIVES.format(times=str(times)), encoding="utf-8")
        optimize(
            None, parse_objective([f"{path}:{name}"]), given.budget, model=given.model,
            workers=workers, ahead=ahead, call_size=1, method="sampling",
            scheduler=given.scheduler if workers > 1 else None,
        )  # fmt: skip
        calls = [tuple(map(float, line.split())) for line in times.read_text().splitlines()]
    return max(end for _, end in calls) - min(begin for begin, _ in calls)


if __name__ == "__main__":
    main()
