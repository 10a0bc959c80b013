"""The results of moses.sh as rows of MOSES' table: mean and standard deviation over samples.

python scripts/bench/moses_table.py FOLDER

Published rows are in docs/benchmarks.md. The standard deviation (n - 1) is over the samples of a
setting, if there are at least two.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

NAME = re.compile(
    r"(?P<model>.+)_seed(?P<seed>\d+)_t(?P<temperature>[\d.]+)(_e(?P<cutoff>[\d.]+))?"
)
# In the order of the published table.
COLUMNS = (
    "valid", "unique@1000", "unique@10000", "FCD/Test", "FCD/TestSF", "SNN/Test", "SNN/TestSF",
    "Frag/Test", "Frag/TestSF", "Scaf/Test", "Scaf/TestSF", "IntDiv", "IntDiv2", "Filters",
    "novelty",
)  # fmt: skip


def main(folder: Path) -> None:
    """Print the table."""
    settings: dict[tuple[str, float, float], list[dict[str, float | None]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        match = NAME.fullmatch(path.stem)
        if match is None:
            continue
        metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        values = {name: metric["value"] for name, metric in metrics.items()}
        setting = (match["model"], float(match["temperature"]), float(match["cutoff"] or 0))
        settings[setting].append(values)
    if not settings:
        sys.exit(f"'{folder}': no result of moses.sh, expected MODEL_seedN_tT[_eP].json")
    print("| model | T | cutoff | samples |", " | ".join(COLUMNS), "|")
    print("|---" * (len(COLUMNS) + 4) + "|")
    for (model, temperature, cutoff), results in sorted(settings.items()):
        cells = [_cell([result.get(name) for result in results]) for name in COLUMNS]
        about = f"| {model} | {temperature:g} | {cutoff:g} | {len(results)} |"
        print(about, " | ".join(cells), "|")


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.4f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.4f}{spread}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
