"""The main job on real data, timed: prepare, train, generate, evaluate.

Runs each step as a user would, through the command line, and prints a Markdown table of wall time,
peak memory (summed over the step's process tree) and the main metrics. With
``--model`` an existing model is used and the training step is left out.

    python scripts/bench/main_job.py zinc250k.csv.gz -o runs/main_job --minutes 20
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

SINGLE_TARGETS = ("logp=1", "logp=3", "logp=5")


def peak_memory(process: psutil.Process) -> int:
    """Resident bytes of a process and all its children now; 0 when they are gone."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def timed(command: list[str]) -> dict[str, Any]:
    """Run a command; wall seconds, peak memory in MiB and its JSON result."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen(
        [sys.executable, "-m", "molvae", *command, "--json"], stdout=subprocess.PIPE, text=True
    ) as child:
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, peak_memory(watched))
            try:
                # Reading while waiting: a full pipe would stop the child.
                output, _ = child.communicate(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
    if child.returncode:
        raise SystemExit(f"failed with {child.returncode}: molvae {' '.join(command)}")
    return {
        "command": "molvae " + " ".join(command),
        "seconds": time.monotonic() - started,
        "mib": peak / 2**20,
        "result": json.loads(output),
    }


def steps(
    data: Path, folder: Path, minutes: float, seed: int, model: str | None, settings: list[str]
) -> list[dict[str, Any]]:
    """Every step in order; files lie in ``folder``."""
    dataset, run = folder / "data.ds", folder / "run"
    timings = []
    if not dataset.exists():
        timings.append(timed(["prepare", str(data), "-o", str(dataset)]))
    if model is None:
        train = ["train", str(dataset), "-o", str(run), "--max-time", f"{minutes:g}m"]
        train += [word for setting in settings for word in ("--set", setting)]
        timings.append(timed([*train, "--seed", str(seed), "--resume"]))
    plans: list[tuple[str, int, list[str]]] = [("free", 1000, [])]
    for target in SINGLE_TARGETS:
        name = target.replace("=", "")
        plans += [
            (name, 500, ["-t", target]),
            (f"{name}-oneshot", 500, ["-t", target, "--no-critic"]),
        ]
    for name, number, options in plans:
        output = folder / f"{name}.csv"
        base = [
            "generate",
            "-m",
            model or str(run),
            "-n",
            str(number),
            "--seed",
            str(seed),
            "--force",
        ]
        timings.append(timed([*base, *options, "-o", str(output)]))
        targets = options[:2]
        judge = ["evaluate", str(output), "--train", str(data), *targets, "--force"]
        judge += ["-o", str(output.with_suffix(".json"))]
        if name == "free":
            judge += ["--report", str(output.with_suffix(".html"))]
        timings.append(timed(judge))
    return timings


def summary(step: dict[str, Any]) -> str:
    """The figures of one step in a few words."""
    result, verb = step["result"], step["command"].split()[1]
    if verb == "prepare":
        return f"{result['kept']:,} of {result['rows_read']:,} rows kept"
    if verb == "train":
        exact = result["figures"]["exact"]
        return (
            f"{result['molecules']:,} molecules seen in {result['seconds']:.0f} s of training; "
            f"exact reconstruction {exact['numerator']}/{exact['denominator']}"
        )
    if verb == "generate":
        return f"{result['written']} written of {result['decoded']} decoded"
    metrics = result["metrics"]
    shown = [f"{name} {metrics[name]['value']:.4f}" for name in ("valid", "unique", "novelty")]
    for name, control in result["targets"].items():
        shown.append(f"{name}: {json.dumps(control)[:200]}")
    return "; ".join(shown)


def main() -> None:
    """Parse the command line, run the steps, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--model", help="use this model instead of training one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    timings = steps(
        options.data, options.output, options.minutes, options.seed, options.model, options.settings
    )
    (options.output / "main_job.json").write_text(json.dumps(timings, indent=1) + "\n")
    lines = ["| step | wall s | peak MiB | result |", "|---|---|---|---|"]
    for step in timings:
        lines.append(
            f"| `{step['command']}` | {step['seconds']:.1f} | {step['mib']:.0f} | {summary(step)} |"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
