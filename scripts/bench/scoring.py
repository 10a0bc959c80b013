"""How much faster a search is with more workers: an objective that takes a second per molecule.

    python scripts/bench/scoring.py -m MODEL

Searches with 1 and 2 workers, the second with --ahead 0 and 1, for an objective of one second and
for one of 0.2 to 1.8 seconds, which depends on the molecule. The longest molecule of a round holds
up those with --ahead 0.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from molvae.objectives import parse_objective
from molvae.optimize.run import optimize

OBJECTIVES = """
import time, zlib

def even(smiles: str):
    time.sleep(1.0)
    return float(len(smiles))

def uneven(smiles: str):
    time.sleep(0.2 + 1.6 * (zlib.crc32(smiles.encode()) % 1000) / 1000)
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
        path = Path(folder, "objectives.py")
        path.write_text(OBJECTIVES, encoding="utf-8")
        started = time.monotonic()
        optimize(
            None, parse_objective([f"{path}:{name}"]), given.budget, model=given.model,
            workers=workers, ahead=ahead, call_size=1, method="sampling",
            scheduler=given.scheduler if workers > 1 else None,
        )  # fmt: skip
        return time.monotonic() - started


if __name__ == "__main__":
    main()
