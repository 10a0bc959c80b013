"""The practical molecular optimization benchmark (Gao et al. 2022) with our engines.

10,000 calls per task; the score is the area under the curve of the mean of the ten best, taken
every 100 calls, from 0 to 1. 20 of the 23 oracles can be computed from RDKit alone; the other
three (drd2, gsk3b, jnk3) are left out, from the published sums too. Nothing is scored beforehand,
unless ``--known`` gives a file of scored molecules. The published columns and their sources are in
docs/results/pmo_published.csv.

    molvae train zinc250k.csv -o runs/zinc
    python scripts/bench/pmo.py run -m runs/zinc -o pmo --seeds 3
    python scripts/bench/pmo.py rows pmo >> docs/results/pmo.csv
    python scripts/bench/pmo.py table docs/results/pmo.csv

    python scripts/bench/pmo.py score zinc250k.csv -o scores.csv
    python scripts/bench/pmo.py run -m runs/zinc -o prescreened --known scores.csv

Every run is a folder ``METHOD/TASK/SEED`` with its calls; interrupted runs are resumed, and
finished runs are not repeated. Several processes with different tasks may share a folder.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from compare import RESULTS, read  # type: ignore[import-not-found]
from turns import place  # type: ignore[import-not-found]

from molvae import chem
from molvae.data.readers import read_rows, smiles_of
from molvae.generate.request import Request
from molvae.objectives import PMO, TaskScorer, parse_objective
from molvae.optimize.engines.choice import METHODS
from molvae.optimize.report import running_best
from molvae.optimize.run import optimize
from molvae.runtime.pool import WorkerPool

BUDGET, STEP, TOP = 10_000, 100, 10
NUMBERS = ("auc", "top", "best", "seconds")
KNOWN = 5000  # best molecules of a task that a search starts from; it uses the 1,000 best of them
ROW = ("method", "task", "seed", "calls", *NUMBERS, "model")


@functools.cache
def published(role: str) -> dict[str, dict[str, float]]:
    """Columns to compare with: of the ``benchmark`` itself, ``later`` ones, and ``scored`` ones.

    The last had the scores of ZINC250k, 250,000 molecules, beyond the 10,000 calls.
    """
    rows = read(RESULTS / "pmo_published.csv", ("benchmark", "later", "scored")).having(role)
    return {row.model: dict(row.values) for row in rows}


def area(values: list[float], budget: int = BUDGET) -> float:
    """Area under the curve of the mean of the ten best values, from the values in order of call.

    Trapezoids between every hundredth call and the last; the last mean is carried to the budget.
    """
    total, before, called = 0.0, 0.0, 0
    for number, (_, mean) in enumerate(running_best(values[:budget], TOP), start=1):
        if number % STEP == 0 or number == min(len(values), budget):
            now = 0.0 if math.isnan(mean) else mean  # nothing but failed calls so far
            total += (number - called) * (now + before) / 2
            before, called = now, number
    return (total + (budget - called) * before) / budget


def values_of(path: Path) -> list[float]:
    """The values of the calls in a file, in the order of the calls."""
    with path.open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["status"] != "asked"]
    rows.sort(key=lambda row: int(row["call"]))
    return [float(row["value"]) if row["value"] else float("nan") for row in rows]


def scores(scorers: Sequence[TaskScorer], texts: Sequence[str]) -> list[list[float]]:
    """The scores of each SMILES, one per task; NaN where there is no molecule."""
    mols = [chem.parse(text) for text in texts]
    nothing = [math.nan] * len(scorers)
    return [nothing if mol is None else [scorer.of(mol) for scorer in scorers] for mol in mols]


def score(options: argparse.Namespace) -> None:
    """Write the scores of all tasks for the molecules of a file."""
    with read_rows(options.molecules) as found:
        texts = [smiles_of(row) or "" for row in found]
    score_chunk = functools.partial(scores, [TaskScorer(task) for task in options.tasks])
    with WorkerPool(options.workers) as pool, options.output.open("w", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(("smiles", *options.tasks))
        for chunk, values in pool.map_texts("score", score_chunk, texts, len(texts)):
            for text, row in zip(chunk, values, strict=True):
                if not any(map(math.isnan, row)):
                    out.writerow((text, *map(_short, row)))


def best_known(scores: Path, task: str, target: Path) -> Path:
    """A file of the molecules with the highest scores of a task."""
    table = pd.read_csv(scores, usecols=["smiles", task])
    table.nlargest(KNOWN, task, keep="first").to_csv(target, index=False)
    return target


def run(options: argparse.Namespace) -> None:
    """Run every task with every seed; finished runs are skipped."""
    if options.threads:
        torch.set_num_threads(options.threads)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for task in options.tasks:
            folder = options.output / options.method / task / str(seed)
            record = folder / "record.json"
            if record.exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            known = options.known and best_known(options.known, task, folder / "known.csv")
            cut_off = (folder / "best.calls.csv").exists()
            summary = optimize(
                folder / "best.csv", parse_objective([task]), options.budget,
                model=options.model, method=options.method, seed=seed, workers=options.workers,
                call_size=50, resume=True, realism=options.realism,
                known=[known] if known else [],
                request=Request(novel_rings=options.novel_rings),
            )  # fmt: skip
            values = values_of(folder / "best.calls.csv")
            result: dict[str, Any] = {
                **place(), **summary.to_json(), "task": task, "seed": seed,
                "model": str(options.model), "budget": options.budget,
                "known": options.known.name if options.known else None,
                "auc": area(values, options.budget),
                # Nobody knows how long the processes before took.
                "seconds": math.nan if cut_off else summary.seconds,
            }  # fmt: skip
            record.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            sys.stderr.write(
                f"{options.method} {task} {seed}: AUC {result['auc']:.3f}, top {summary.top:.3f}, "
                f"{summary.seconds:.0f} s\n"
            )


def rows(options: argparse.Namespace) -> None:
    """A table of the runs in a folder, one row each."""
    out = csv.DictWriter(sys.stdout, ROW, extrasaction="ignore", lineterminator="\n")
    if options.header:
        out.writeheader()
    for record in records(options.output):
        out.writerow({name: _short(record[name]) for name in ROW})


def records(path: Path) -> list[dict[str, Any]]:
    """Results of every run in a folder, or in such a table."""
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as handle:
            return [
                {**row, **{k: float(row[k]) for k in NUMBERS}} for row in csv.DictReader(handle)
            ]
    files = sorted(path.glob("*/*/*/record.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def table(options: argparse.Namespace) -> None:
    """Markdown: each task, ours and the published; sums over the tasks that all have."""
    ours: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, list[float]] = {}
    for record in records(options.output):
        ours.setdefault(record["method"], {}).setdefault(record["task"], []).append(record["auc"])
        seconds.setdefault(record["method"], []).append(record["seconds"])
    methods = [method for method in METHODS if method in ours]
    tasks = [task for task in PMO if any(task in ours[method] for method in methods)]
    lines = _table(tasks, {method: ours[method] for method in methods}, published("benchmark"))
    known = {method: [s for s in seconds[method] if not math.isnan(s)] for method in methods}
    times = [
        f"{statistics.fmean(known[method]):.0f}" if known[method] else "" for method in methods
    ]
    lines.append(
        f"| seconds per run | {' | '.join([*times, *[''] * len(published('benchmark'))])} |"
    )
    first = ours[methods[0]]

    def lead(task: str) -> float:
        """How far our mean is above the best method that had no scores beforehand."""
        return statistics.fmean(first[task]) - max(
            column[task] for column in published("later").values()
        )

    tasks = sorted((task for task in tasks if task in first), key=lead)
    lines += ["", *_table(tasks, {methods[0]: first}, published("later") | published("scored"))]
    sys.stdout.write("\n".join(lines) + "\n")


def _table(
    tasks: list[str],
    ours: dict[str, dict[str, list[float]]],
    published: dict[str, dict[str, float]],
) -> list[str]:
    """Lines of Markdown: the tasks, then the sum over the tasks of each of our methods."""
    lines = [
        f"| task | {' | '.join([*ours, *published])} |",
        "|---" * (1 + len(ours) + len(published)) + "|",
    ]
    for task in tasks:
        cells = [_cell(scores.get(task, [])) for scores in ours.values()]
        cells += [f"{column[task]:.3f}" for column in published.values()]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    for done in dict.fromkeys(frozenset(scores) for scores in ours.values()):
        sums = [_sum(scores, done) for scores in ours.values()]
        sums += [f"{sum(column[task] for task in done):.3f}" for column in published.values()]
        lines.append(f"| sum of {len(done)} | {' | '.join(sums)} |")
    return lines


def _sum(scores: dict[str, list[float]], tasks: frozenset[str]) -> str:
    if not tasks <= scores.keys():
        return ""
    return f"{sum(statistics.fmean(scores[task]) for task in tasks):.3f}"


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"


def main() -> None:
    """Parse the command line; run or print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(required=True)
    searching = verbs.add_parser("run", help="spend the calls")
    searching.add_argument("-m", "--model", help="a trained model (default: the shipped one)")
    searching.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    searching.add_argument("--method", choices=METHODS, default="evolution")
    searching.add_argument("--tasks", type=lambda text: text.split(","), default=list(PMO))
    searching.add_argument("--seeds", type=int, default=3)
    searching.add_argument("--first-seed", type=int, default=0)
    searching.add_argument("--budget", type=int, default=BUDGET)
    searching.add_argument("--workers", type=int, default=1)
    searching.add_argument(
        "--realism", type=float, help="share that the critic keeps; default: off"
    )
    searching.add_argument(
        "--known", type=Path, metavar="SCORES", help="what `score` wrote: the search starts there"
    )
    searching.add_argument("--novel-rings", action="store_true", help="as in molvae optimize")
    searching.add_argument("--threads", type=int, help="of the network")
    searching.set_defaults(do=run)
    scoring = verbs.add_parser("score", help="score the molecules of a file for every task")
    scoring.add_argument("molecules", type=Path, metavar="FILE")
    scoring.add_argument("-o", "--output", type=Path, required=True, metavar="SCORES")
    scoring.add_argument("--tasks", type=lambda text: text.split(","), default=list(PMO))
    scoring.add_argument("--workers", type=int)
    scoring.set_defaults(do=score)
    listing = verbs.add_parser("rows", help="the runs in a folder as CSV")
    listing.add_argument("output", type=Path, metavar="FOLDER")
    listing.add_argument("--header", action="store_true", help="with the names of the columns")
    listing.set_defaults(do=rows)
    showing = verbs.add_parser("table", help="the results next to the published ones")
    showing.add_argument("output", type=Path, metavar="FOLDER", help="or what `rows` wrote")
    showing.set_defaults(do=table)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
