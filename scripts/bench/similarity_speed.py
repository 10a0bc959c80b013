"""The nearest molecules of another set, and all pairs of one: time of the pruned and the plain way.

Both ways run in turn over the same fingerprints and must agree to the last bit. The plain way is
one matrix product of all bits for each block of pairs. Seconds are of processor time, so that
other processes have little effect; the ratio is the result. Threads of the matrix product
are set by OMP_NUM_THREADS as usual.

    OMP_NUM_THREADS=1 python scripts/bench/similarity_speed.py generated.smi test.csv --rows 5000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae import chem
from molvae.data.readers import read_smiles
from molvae.evaluate.metrics.similarity import nearest, similarity_sums

ROWS, COLUMNS = 512, 2048  # of a block of pairs


def prints_of(path: Path) -> NDArray[np.uint8]:
    """Fingerprints of the valid molecules of a file."""
    mols = (mol for text in read_smiles([path]) if (mol := chem.parse(text)) is not None)
    parts = [chem.fingerprints([mol]) for mol in mols]
    if not parts:
        raise SystemExit(f"'{path}' has no valid molecule")
    return np.concatenate(parts)


def similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tanimoto similarity of every pair; no molecule is empty."""
    rows, columns = (np.unpackbits(prints, axis=1).astype(np.float32) for prints in (a, b))
    common: NDArray[np.float32] = rows @ columns.T
    union = np.add.outer(rows.sum(axis=1), columns.sum(axis=1)) - common
    common /= union
    return common


def plain_nearest(
    queries: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """As :func:`molvae.evaluate.metrics.nearest`, comparing all pairs."""
    best = np.full(len(queries), -1, dtype=np.float32)
    where = np.full(len(queries), -1, dtype=np.int64)
    for column in range(0, len(reference), COLUMNS):
        for row in range(0, len(queries), ROWS):
            rows = slice(row, row + ROWS)
            every = similarity(queries[rows], reference[column : column + COLUMNS])
            at = every.argmax(axis=1)
            nearest = every[np.arange(len(at)), at]
            better = nearest > best[rows]
            best[rows] = np.where(better, nearest, best[rows])
            where[rows] = np.where(better, at + column, where[rows])
    return best, where


def plain_sums(prints: NDArray[np.uint8]) -> NDArray[np.float64]:
    """As :func:`molvae.evaluate.metrics.similarity.similarity_sums`, for half of the pairs."""
    n = len(prints)
    sums = np.zeros((2, n))
    for row in range(0, n, ROWS):
        rows = slice(row, min(row + ROWS, n))
        for column in range(row, n, COLUMNS):
            columns = slice(column, min(column + COLUMNS, n))
            every = similarity(prints[rows], prints[columns])
            beyond = slice(max(column, rows.stop), max(columns.stop, rows.stop))
            for total, raised in zip(sums, (every, every**2), strict=True):
                total[rows] += raised.sum(axis=1, dtype=np.float64)
                total[beyond] += raised[:, beyond.start - column :].sum(axis=0, dtype=np.float64)
    return sums


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, all threads together, and what came out."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


def main() -> None:
    """Parse the command line, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generated", type=Path, help="SMILES file: the queries, and all pairs of")
    parser.add_argument("reference", type=Path, help="SMILES file in which the nearest are sought")
    parser.add_argument("--rows", type=int, help="evenly spaced molecules of the first; all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    generated, reference = prints_of(options.generated), prints_of(options.reference)
    if options.rows and options.rows < len(generated):
        generated = generated[np.arange(options.rows) * len(generated) // options.rows]
    pairs = {
        "nearest": (
            lambda: nearest(generated, reference),
            lambda: plain_nearest(generated, reference),
        ),
        "all pairs": (lambda: similarity_sums(generated), lambda: plain_sums(generated)),
    }
    result: dict[str, Any] = {
        "queries": len(generated),
        "reference": len(reference),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "numpy": version("numpy"),
    }
    print(f"{len(generated):,} molecules against {len(reference):,}, {options.rounds} rounds")
    print("\n| what | plain s | pruned s | ratio per round | median |\n|---|---|---|---|---|")
    for name, (ours, plain) in pairs.items():
        seconds = []
        for _ in range(options.rounds):
            fast, results = timed(ours)
            slow, expected = timed(plain)
            if not all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True)):
                raise SystemExit(f"{name}: the results differ")
            seconds.append((slow, fast))
        ratios = [slow / fast for slow, fast in seconds]
        slow, fast = (statistics.median(side) for side in zip(*seconds, strict=True))
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {slow:.2f} | {fast:.2f} | {shown} | {statistics.median(ratios):.2f} |")
        result[name] = {"plain_s": slow, "pruned_s": fast, "ratios": ratios}
        if name == "nearest":
            result["mean"] = float(results[0].mean(dtype=np.float64))
    print(f"\nMean similarity to the nearest: {result['mean']:.10f}; both ways agree exactly.")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
