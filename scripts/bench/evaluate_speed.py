"""All of MOSES' metrics of 30,000 molecules: ``molvae evaluate`` against the published evaluator.

The baseline, ``moses_baseline.py`` in this folder, runs in a separate environment; its docstring
explains how to make it. Both get the same files, in consecutive steps, each a process:

    molvae    cold (empty cache), warm, with ChemNet for the first time, with ChemNet warm
    baseline  statistics of the two test sets, warm, ChemNet statistics, with ChemNet warm

They give four cases. The cold time of the baseline is that of its statistics plus its warm call;
the cold time of molvae with ChemNet is its cold time plus the extra time of the first ChemNet.
Times are of whole processes, for the baseline without loading its saved statistics. Memory is the
peak of the resident bytes, summed over the process tree.

    python scripts/bench/evaluate_speed.py --baseline molsets_env/bin/python -o speed.json

Steps in the JSON file are not run again. molvae also computes its other properties, curves and
intervals, and canonicalizes the training set when cold; the baseline uses that set as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from watching import MIB, Watch, machine  # type: ignore[import-not-found]

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "generated": "jtvae_moses_sample.smi.gz",
    "train": "moses_train.csv.gz",
    "test": "moses_test.csv.gz",
    "test_scaffolds": "moses_test_scaffolds.csv.gz",
}
# Names of the same metrics in both.
PROPERTIES = {"logP": "logp", "SA": "sas", "QED": "qed", "weight": "mw"}
NAMES = {"Novelty": "novelty"}


def run(command: list[str], folder: Path, **environment: str) -> dict[str, float]:
    """Seconds and peak memory of a command; it must succeed."""
    started = time.perf_counter()
    with (
        open(folder / "output", "w+", encoding="utf-8", errors="replace") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **environment},
        ) as child,
    ):  # fmt: skip
        watch = Watch(child.pid, folder, folder)
        watch.follow(child)
        if child.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read()[-3000:]}")
    peak = watch.peaks["rss"] / MIB
    return {"seconds": time.perf_counter() - started, "peak_mib": peak}


def ours(files: dict[str, Path], cache: Path, folder: Path, *, chemnet: bool) -> dict[str, Any]:
    """One ``molvae evaluate`` with this cache folder."""
    result = folder / "ours.json"
    command = [
        sys.executable, "-m", "molvae", "evaluate", str(files["generated"]),
        "--train", str(files["train"]), "--test", str(files["test"]),
        "--test-scaffolds", str(files["test_scaffolds"]),
        "--filters-from", str(files["test"].parent), "-o", str(result), "--force",
        *([] if chemnet else ["--no-fcd"]),
    ]  # fmt: skip
    cost: dict[str, Any] = run(command, folder, MOLVAE_CACHE=str(cache))
    data = json.loads(result.read_text(encoding="utf-8"))
    values = {name: entry["value"] for name, entry in data["metrics"].items()}
    for theirs, name in PROPERTIES.items():
        values[theirs] = data["properties"][name]["W1"]["value"]
    return {**cost, "values": values}


def theirs(
    python: str, files: dict[str, Path], stats: Path, folder: Path, *, chemnet: bool, prepare: bool
) -> dict[str, Any]:
    """One step of the baseline: the statistics that are missing, or the metrics."""
    result = folder / "theirs.json"
    command = [python, str(Path(__file__).with_name("moses_baseline.py")), "--jobs", "2"]
    for role, path in files.items():
        if not prepare or role in ("test", "test_scaffolds"):
            command += [f"--{role.replace('_', '-')}", str(path)]
    command += ["-o", str(result), "--warm", "--stats", str(stats)]
    command += [*([] if chemnet else ["--without-chemnet"]), *(["--prepare"] if prepare else [])]
    cost: dict[str, Any] = run(command, folder)
    data = json.loads(result.read_text(encoding="utf-8"))
    if prepare:
        return {**cost, "seconds": data["stats_seconds"]}
    cost["seconds"] -= data["stats_seconds"]
    values = {NAMES.get(name, name): value for name, value in data["metrics"].items()}
    return {**cost, "call_seconds": data["seconds"], "values": values}


def compare(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Differences, by metric, of the values that both have."""
    return {
        name: mine["values"][name] - value
        for name, value in other["values"].items()
        if value is not None and mine["values"].get(name) is not None
    }


STEPS = (
    "molvae cold", "molvae warm", "molvae ChemNet", "molvae ChemNet warm",
    "baseline statistics", "baseline warm", "baseline ChemNet statistics", "baseline ChemNet warm",
)  # fmt: skip


def table(steps: dict[str, Any]) -> list[str]:
    """The four cases; of steps that were run."""

    def total(*names: str) -> tuple[float, float] | None:
        known = [steps.get(name.lstrip("-")) for name in names]
        if None in known:
            return None
        signs = [-1 if name.startswith("-") else 1 for name in names]
        seconds = sum(s * k["seconds"] for s, k in zip(signs, known, strict=True) if k)
        return seconds, max(k["peak_mib"] for k in known if k)

    cases = {
        "cold, without ChemNet": (
            total("molvae cold"), total("baseline statistics", "baseline warm"),
        ),
        "warm, without ChemNet": (total("molvae warm"), total("baseline warm")),
        "cold, with ChemNet": (
            total("molvae cold", "molvae ChemNet", "-molvae warm"),
            total("baseline statistics", "baseline ChemNet statistics", "baseline ChemNet warm"),
        ),
        "warm, with ChemNet": (total("molvae ChemNet warm"), total("baseline ChemNet warm")),
    }  # fmt: skip
    lines = ["| case | molvae s | MiB | baseline s | MiB | ratio |", "|---|---|---|---|---|---|"]
    for name, (mine, other) in cases.items():
        if mine is not None:
            row = f"| {name} | {mine[0]:.0f} | {mine[1]:.0f} |"
            if other is not None:
                row += f" {other[0]:.0f} | {other[1]:.0f} | {other[0] / mine[0]:.2f} |"
            lines.append(row)
    return lines


def main() -> None:
    """Parse the command line, run the steps in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", metavar="PYTHON", help="of the baseline's environment")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the four files")
    parser.add_argument("--work", type=Path, help="where cache and statistics are kept")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON to write")
    options = parser.parse_args()
    files = {role: options.data / name for role, name in FILES.items()}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise SystemExit(f"skipped: not there: {', '.join(missing)}; name the folder by --data")
    record: dict[str, Any] = {"machine": machine(), "steps": {}}
    if options.output.is_file():
        record = json.loads(options.output.read_text(encoding="utf-8"))
    steps = record["steps"]
    with tempfile.TemporaryDirectory(prefix="evaluate-speed-") as name:
        scratch = Path(name)
        work = options.work or scratch
        for step in STEPS:
            chemnet = "ChemNet" in step
            if step in steps or (step.startswith("baseline") and not options.baseline):
                continue
            if step.startswith("molvae"):
                steps[step] = ours(files, work / "cache", scratch, chemnet=chemnet)
            else:
                steps[step] = theirs(
                    options.baseline, files, work / "stats", scratch,
                    chemnet=chemnet, prepare="statistics" in step,
                )  # fmt: skip
            print(f"{step}: {steps[step]['seconds']:.1f} s", flush=True)
            options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(steps)))
    for pair in (
        ("molvae warm", "baseline warm"),
        ("molvae ChemNet warm", "baseline ChemNet warm"),
    ):
        if all(step in steps for step in pair):
            gaps = compare(*(steps[step] for step in pair))
            print("differences:", ", ".join(f"{key} {gap:+.2g}" for key, gap in gaps.items()))


if __name__ == "__main__":
    main()
