"""Our results next to published ones, as Markdown: the rows where molvae loses first.

    python scripts/bench/compare.py table moses      # guacamol, control or speed
    python scripts/bench/compare.py row moses --model molvae --source "three seeds" a.json b.json

``table`` reads ``docs/results/NAME.csv``, which has a row per model with its role and source:
``ours``; ``other``, what ours is compared with; and ``reference``, which is shown and not compared,
such as the training set itself. The row ``better`` says whether a higher or a lower value is
better. A cell is a number or ``mean±standard deviation``; it is empty if nothing was published.

A metric's lead is the distance of the first of our models to the best other model, relative to the
value of the latter. The table begins with the smallest lead, and the best value is bold.

``row`` prints a row for that file: the mean and the standard deviation (n - 1) of result files of
``molvae evaluate -o`` or of ``control.py -o``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PREFIX = "GuacaMol/"  # of its metrics in the results of evaluate
HEAD = ("model", "role", "source")


@dataclass(frozen=True)
class Row:
    """A model: metric → its cell as published, and its mean."""

    model: str
    role: str
    source: str
    cells: Mapping[str, str]
    values: Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """A file of results; ``better``: metric → whether a higher value is better."""

    rows: Sequence[Row]
    better: Mapping[str, bool]

    def having(self, role: str) -> list[Row]:
        """The models of a role, in the order of the file."""
        return [row for row in self.rows if row.role == role]


def read(path: Path, roles: Sequence[str] = ("ours", "other", "reference")) -> Results:
    """Read a file of results; an unknown role or direction is an error."""
    rows, better = [], {}
    with path.open(newline="", encoding="utf-8") as handle:
        for cells in csv.DictReader(handle):
            model, role, source = (cells.pop(name) for name in HEAD)
            if model == "better":
                better = {metric: _direction(word, path) for metric, word in cells.items()}
                continue
            if role not in roles:
                sys.exit(f"'{path}': role '{role}' of {model}, expected one of {', '.join(roles)}")
            values = {name: float(cell.partition("±")[0]) for name, cell in cells.items() if cell}
            rows.append(Row(model, role, source, cells, values))
    if not better:
        sys.exit(f"'{path}': no row 'better', expected higher or lower for each metric")
    return Results(rows, better)


def _direction(word: str, path: Path) -> bool:
    if word not in ("higher", "lower"):
        sys.exit(f"'{path}': better is '{word}', expected higher or lower")
    return word == "higher"


def lead(metric: str, results: Results) -> float:
    """How far our first model is ahead of the best other one, in its values; NaN if unknown."""
    mine = next((r.values[metric] for r in results.having("ours") if metric in r.values), None)
    others = [row.values[metric] for row in results.having("other") if metric in row.values]
    if mine is None or not others:
        return math.nan
    best = max(others) if results.better[metric] else min(others)
    gap = mine - best if results.better[metric] else best - mine
    return gap / abs(best) if best else gap


def table(results: Results) -> Iterator[str]:
    """Markdown: a row per metric, the smallest lead first, metrics that we lack last."""
    shown = [row for role in ("ours", "other", "reference") for row in results.having(role)]
    yield f"| | {' | '.join(row.model for row in shown)} |"
    yield "|---" * (len(shown) + 1) + "|"
    leads = {metric: lead(metric, results) for metric in results.better}
    for metric in sorted(leads, key=lambda name: (math.isnan(leads[name]), leads[name])):
        compared = [row.values.get(metric) for row in shown if row.role != "reference"]
        known = [value for value in compared if value is not None]
        best = (max if results.better[metric] else min)(known, default=None)
        cells = []
        for row in shown:
            cell = row.cells[metric].replace("±", " ± ")
            is_best = cell and row.role != "reference" and row.values[metric] == best
            cells.append(f"**{cell}**" if is_best else cell)
        yield f"| {metric} | {' | '.join(cells)} |"


def sources(results: Results) -> Iterator[str]:
    """Markdown: where the rows are from, the models of a source together."""
    models = defaultdict(list)
    for row in results.rows:
        models[row.source].append(row.model)
    for source, names in models.items():
        yield f"- {', '.join(names)}: {source}."


def measured(path: Path, mode: str) -> dict[str, float]:
    """Metric → value of a result file of ``molvae evaluate`` or, of one mode, of ``control.py``."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if "metrics" in content:
        values = {name: metric["value"] for name, metric in content["metrics"].items()}
        return {name.removeprefix(PREFIX): v for name, v in values.items() if v is not None}
    return {
        name if name == record["name"] else f"{name} in {record['name']}": error
        for record in content["records"]
        if record["mode"] == mode
        for name, error in record["error"].items()
    }


def our_row(
    model: str, source: str, files: Sequence[Path], better: Mapping[str, bool], mode: str
) -> list[str]:
    """The cells of our row in a file of results: mean±standard deviation of result files."""
    values = [measured(path, mode) for path in files]
    cells = []
    for metric in better:
        known = [result[metric] for result in values if metric in result]
        spread = f"±{statistics.stdev(known):.1g}" if len(known) > 1 else ""
        cells.append(f"{statistics.fmean(known):.4g}{spread}" if known else "")
    if not any(cells):
        sys.exit(f"{', '.join(map(str, files))}: none of the metrics {', '.join(better)}")
    return [model, "ours", source, *cells]


def main() -> None:
    """Parse the command line, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("table", help="print the comparison and its sources as Markdown")
    add = verbs.add_parser("row", help="print a row of the results as CSV")
    for verb in (show, add):
        verb.add_argument("name", help="moses, guacamol, control or speed")
        verb.add_argument("--results", type=Path, default=RESULTS, help="folder with NAME.csv")
    add.add_argument("--model", required=True, help="name of the row")
    add.add_argument("--source", required=True, help="date and settings")
    add.add_argument("--mode", default="one shot", help="mode of control.py (default: one shot)")
    add.add_argument("files", type=Path, nargs="+", help="JSON of molvae evaluate or control.py")
    options = parser.parse_args()
    results = read(options.results / f"{options.name}.csv")
    if options.verb == "table":
        sys.stdout.write("\n".join([*table(results), "", *sources(results)]) + "\n")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    cells = our_row(options.model, options.source, options.files, results.better, options.mode)
    writer.writerow(cells)


if __name__ == "__main__":
    main()
