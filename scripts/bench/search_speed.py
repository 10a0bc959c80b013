"""Seconds of a search by the calls it makes, and where they go.

Each turn is a new process that searches with one thread and no workers; the objective counts, so
choose a cheap one. The stages are timed where they are called:

    network     decoding and encoding by the network
    moves       changes of SELFIES and of graphs
    checks      SELFIES to molecules, constraints, ring systems and environments
    surrogate   fingerprints, parents, and which candidates are scored
    objective   its calls
    log         writing the calls to disk
    summary     the history at the end
    rest        everything else, the start of the program apart

    OMP_NUM_THREADS=1 python scripts/bench/search_speed.py --budget 1000 --budget 10000

With ``--against`` another checkout of molvae takes turns with this one; the log of calls must be
the same, and the table shows how many times as fast this one is. Seconds are of processor time, so
that other programs have little effect.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from turns import Stages, child, place, ratio, save  # type: ignore[import-not-found]

STAGES = ("network", "moves", "checks", "surrogate", "objective", "log", "summary", "rest")


def search(model: str, objective: str, budget: int, seed: int) -> dict[str, Any]:
    """One search in this process: seconds by stage, and a hash of its calls."""
    import torch

    from molvae.generate.proposer import Proposer
    from molvae.objectives import parse_objective
    from molvae.optimize import run
    from molvae.optimize.calls import Calls
    from molvae.optimize.engines.evolution import Evolution
    from molvae.optimize.engines.surrogate import Surrogate
    from molvae.optimize.gate import Gate
    from molvae.optimize.scoring import Scoring

    torch.set_num_threads(1)
    stages = Stages(time.process_time)
    for owner, name, stage in (
        (Proposer, "texts", "network"),
        (Proposer, "encode_selfies", "network"),
        (Evolution, "_changed", "moves"),
        (Gate, "__call__", "checks"),
        (Surrogate, "kinds", "surrogate"),
        (Surrogate, "order", "surrogate"),
        (Scoring, "take", "objective"),
        (Calls, "_write", "log"),
        (run, "summarize", "summary"),
    ):
        stages.watch(owner, name, stage)
    with tempfile.TemporaryDirectory() as folder:
        output, started = Path(folder) / "best.csv", time.process_time()
        summary = run.optimize(
            output, parse_objective([objective]), budget, model=model, seed=seed, workers=0
        )
        total = time.process_time() - started
        calls = hashlib.sha256(run.calls_path(output).read_bytes()).hexdigest()
    spent = {stage: stages.seconds.get(stage, 0.0) for stage in STAGES[:-1]}
    spent["rest"] = total - sum(spent.values())
    return {"calls": summary.calls, "seconds": total, "stages": spent, "sha256": calls}


def table(turns: dict[str, list[dict[str, Any]]], first: str) -> list[str]:
    """Rows of Markdown: medians over the rounds, and how many times as fast as ``first``."""
    head = ["", "seconds", "× as fast", *STAGES]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, results in turns.items():
        seconds = [result["seconds"] for result in results]
        against = [result["seconds"] for result in turns[first]]
        cells = [f"{statistics.median(seconds):.1f}"]
        cells.append("" if name == first else ratio(against, seconds))
        for stage in STAGES:
            middle = statistics.median(result["stages"][stage] for result in results)
            cells.append(f"{middle:.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Parse the command line; run the rounds, or the one search that this process is for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-m", "--model", default="default")
    parser.add_argument("--objective", default="qed")
    parser.add_argument("--budget", type=int, action="append", help="calls (repeatable); 1,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON to write")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    budgets = options.budget or [1000]
    if options.one:
        json.dump(search(options.model, options.objective, budgets[0], options.seed), sys.stdout)
        return
    here = Path(__file__).resolve().parents[2]
    places = {"this": here} if options.against is None else {"other": options.against, "this": here}
    result: dict[str, Any] = {**place(), "searches": {}}
    for budget in budgets:
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in places}
        result["searches"][budget] = turns
        for _ in range(options.rounds):
            for name, checkout in places.items():
                command = ["env", f"PYTHONPATH={checkout}", sys.executable, __file__, "--one"]
                command += ["-m", options.model, "--objective", options.objective]
                command += ["--budget", str(budget), "--seed", str(options.seed)]
                turns[name].append(child(command))
            save(result, options.output)
        logs = {turn["sha256"] for some in turns.values() for turn in some}
        if len(logs) > 1:
            raise SystemExit(f"{budget:,} calls: the logs of calls differ")
        lines = [f"{budget:,} calls of {options.objective}", "", *table(turns, next(iter(places)))]
        sys.stdout.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    if "OMP_NUM_THREADS" not in os.environ:
        sys.stderr.write("note: OMP_NUM_THREADS is not set; NumPy may use several threads\n")
    main()
