"""The results of moses.sh as a Markdown table: mean and spread over the samples of each setting.

python scripts/bench/moses_table.py FOLDER
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

NAME = re.compile(r"(?P<model>.+)_seed(?P<seed>\d+)_t(?P<temperature>[\d.]+)")


def main(folder: Path) -> None:
    """Print the table."""
    found: dict[tuple[str, float], list[dict[str, float | None]]] = defaultdict(list)
    names: dict[str, None] = {}
    for path in sorted(folder.glob("*.json")):
        match = NAME.fullmatch(path.stem)
        if match is None:
            continue
        metrics = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        names |= dict.fromkeys(metrics)
        values = {name: metric["value"] for name, metric in metrics.items()}
        found[match["model"], float(match["temperature"])].append(values)
    if not found:
        sys.exit(f"'{folder}': no result of moses.sh, expected MODEL_seedN_tT.json")
    settings = sorted(found)
    heads = [f"{model}, T = {temperature:g}, n = {len(found[model, temperature])}"
             for model, temperature in settings]  # fmt: skip
    print("| metric |", " | ".join(heads), "|")
    print("|---" * (len(heads) + 1) + "|")
    for name in names:
        cells = [_cell([one.get(name) for one in found[setting]]) for setting in settings]
        print(f"| {name} |", " | ".join(cells), "|")


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.4f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.4f}{spread}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
