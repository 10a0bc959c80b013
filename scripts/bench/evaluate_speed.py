"""All of MOSES' metrics of 30,000 molecules: ``molvae evaluate`` against the published evaluator.

The baseline, ``moses_baseline.py`` beside this file, runs in an environment of its own that its
head says how to make. Both get the same files. Four cases: with and without ChemNet, cold (nothing
is known of the two test sets) and warm (their statistics were computed before: by the baseline in
a run of their own, by molvae in the cold case). Time is that of the whole process; of the baseline
without loading its kept statistics. Memory is the most resident bytes of the process tree, summed.

    python scripts/bench/evaluate_speed.py --baseline molsets_env/bin/python -o speed.json

molvae also computes its other properties, curves and intervals meanwhile, and canonicalises the
training set in the cold case, which the baseline takes as written.
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

from prepare_memory import MIB, Watch, machine  # type: ignore[import-not-found]

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "generated": "jtvae_moses_sample.smi.gz",
    "train": "moses_train.csv.gz",
    "test": "moses_test.csv.gz",
    "test_scaffolds": "moses_test_scaffolds.csv.gz",
}
# What the two call the same thing.
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
        try:
            while child.poll() is None:
                watch.look()
                try:
                    child.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            child.terminate()
            child.wait()
            raise
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
    found: dict[str, Any] = run(command, folder, MOLVAE_CACHE=str(cache))
    data = json.loads(result.read_text(encoding="utf-8"))
    values = {name: entry["value"] for name, entry in data["metrics"].items()}
    for theirs, name in PROPERTIES.items():
        values[theirs] = data["properties"][name]["W1"]["value"]
    return {**found, "values": values}


def theirs(
    python: str, files: dict[str, Path], stats: Path, folder: Path, *, chemnet: bool, warm: bool
) -> dict[str, Any]:
    """One run of the baseline; warm ones have their statistics made first, in another process."""
    result = folder / "theirs.json"
    command = [python, str(Path(__file__).with_name("moses_baseline.py")), "--jobs", "2"]
    for role, path in files.items():
        command += [f"--{role.replace('_', '-')}", str(path)]
    command += ["-o", str(result), *([] if chemnet else ["--without-chemnet"])]
    if warm:
        command += ["--warm", "--stats", str(stats)]
        run([*command, "--prepare"], folder)
    found: dict[str, Any] = run(command, folder)
    data = json.loads(result.read_text(encoding="utf-8"))
    if warm:
        found["seconds"] -= data["stats_seconds"]
    found["call_seconds"] = data["seconds"]
    values = {NAMES.get(name, name): value for name, value in data["metrics"].items()}
    return {**found, "values": values}


def compare(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Greatest differences, by metric, of the values that both have."""
    shared = [name for name, value in other["values"].items()
              if value is not None and mine["values"].get(name) is not None]  # fmt: skip
    return {name: mine["values"][name] - other["values"][name] for name in shared}


def main() -> None:
    """Parse the command line, run the cases in turn, print a row of the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--baseline", metavar="PYTHON", help="of the baseline's environment")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the four files")
    parser.add_argument("--stats", type=Path, help="where the baseline's statistics are kept")
    parser.add_argument("--cache", type=Path, help="kept cache of molvae (default: a new one)")
    parser.add_argument(
        "--cases", default="cold,warm,cold-chemnet,warm-chemnet", help="which, in this order"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON to write")
    options = parser.parse_args()
    files = {role: options.data / name for role, name in FILES.items()}
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        raise SystemExit(f"skipped: not there: {', '.join(missing)}; name the folder by --data")
    found: dict[str, Any] = {"machine": machine(), "cases": {}}
    print("| case | molvae s | MiB | baseline s | MiB | ratio | greatest difference |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="evaluate-speed-") as name:
        folder = Path(name)
        stats = options.stats or folder / "stats"
        for case in options.cases.split(","):
            chemnet, warm = case.endswith("-chemnet"), case.startswith("warm")
            cache = options.cache or folder / f"cache-{chemnet}"
            mine = ours(files, cache, folder, chemnet=chemnet)
            entry: dict[str, Any] = {"ours": mine}
            row = f"| {case} | {mine['seconds']:.1f} | {mine['peak_mib']:.0f} |"
            if options.baseline:
                other = theirs(options.baseline, files, stats, folder, chemnet=chemnet, warm=warm)
                gaps = compare(mine, other)
                worst = max(gaps, key=lambda key: abs(gaps[key]))
                entry |= {"theirs": other, "differences": gaps}
                row += f" {other['seconds']:.1f} | {other['peak_mib']:.0f} |"
                row += f" {other['seconds'] / mine['seconds']:.2f} | {worst} {gaps[worst]:+.2g} |"
            print(row, flush=True)
            found["cases"][case] = entry
            options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
