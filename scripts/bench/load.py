"""Memory of preparing and training on ten million molecules, and of generating a million.

Each step is one run of the command line. Its *own* memory is the resident memory without file
pages, summed over the process tree. The result is its growth in bytes per molecule: the slope of a
line through the samples between 20 % and 95 % of the time.

    python scripts/bench/load.py -o runs/load.json
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from prepare_memory import molecules, write_lines  # type: ignore[import-not-found]
from watching import MIB, Watch, append, machine  # type: ignore[import-not-found]


def watched(name: str, count: int, arguments: list[str], folder: Path) -> dict[str, Any]:
    """Run molvae with these arguments; it must succeed. ``count`` molecules pass through it."""
    started = time.perf_counter()
    with (
        open(folder / f"{name}.log", "w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [sys.executable, "-m", "molvae", *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        ) as child,
    ):  # fmt: skip
        watch = Watch(child.pid, folder, folder / "none")
        watch.follow(child)
        if child.returncode:
            log.seek(0)
            raise SystemExit(f"molvae {' '.join(arguments)} failed:\n{log.read()[-3000:]}")
    seconds = time.perf_counter() - started
    result = {
        "step": name,
        "molecules": count,
        "seconds": seconds,
        "processes": watch.processes,
        "peak_bytes": watch.peaks,
        **growth(watch.own, seconds, count),
    }
    peak = watch.peaks
    print(
        f"| {name} | {count:,} | {seconds:,.0f} | {peak['rss'] / MIB:,.0f} "
        f"| {peak['own'] / MIB:,.0f} | {result['own_at_fifth'] / MIB:,.0f} "
        f"| {result['own_at_end'] / MIB:,.0f} | {result['bytes_per_molecule']:.1f} |",
        flush=True,
    )
    return result


def growth(own: list[tuple[float, int]], seconds: float, count: int) -> dict[str, float]:
    """Medians of the own memory around both ends of the middle part, and the slope of its line."""
    middle = [(t, size) for t, size in own if 0.2 * seconds <= t <= 0.95 * seconds]
    slope = statistics.linear_regression(*zip(*middle, strict=True)).slope
    tenth = max(1, len(middle) // 10)
    return {
        "own_at_fifth": statistics.median(size for _, size in middle[:tenth]),
        "own_at_end": statistics.median(size for _, size in middle[-tenth:]),
        "bytes_per_molecule": slope * seconds / count,
    }


def main() -> None:
    """Parse the command line, run the steps, print a row of the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="molecules to prepare")
    parser.add_argument("--steps", type=int, default=5_000, help="steps of the preset tiny")
    parser.add_argument("--generate", type=int, default=1_000_000, help="molecules to generate")
    parser.add_argument("-m", "--model", help="generate with this one, not with what was trained")
    parser.add_argument("--workdir", type=Path, help="where scratch files go")
    parser.add_argument("-o", "--output", type=Path, help="JSON list to append each step to")
    options = parser.parse_args()
    # Ended from outside, it ends what it started and leaves no file either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.workdir is not None:
        options.workdir.mkdir(parents=True, exist_ok=True)
    head = "| step | molecules | s | peak RSS MiB | peak own MiB | own at 20 % | at 95 % "
    print(head + "| bytes per molecule |\n" + "|---" * 8 + "|", flush=True)

    def keep(result: dict[str, Any]) -> None:
        if options.output is not None:
            append(options.output, {**result, "machine": machine()})

    with tempfile.TemporaryDirectory(prefix="load-", dir=options.workdir) as name:
        folder = Path(name)
        dataset, run = folder / "rows.ds", folder / "run"
        write_lines(folder / "rows.smi", molecules(options.rows))
        arguments = ["prepare", str(folder / "rows.smi"), "-o", str(dataset)]
        arguments += ["--standardize", "none", "--conditions", "mw,heavy"]
        keep(watched("prepare", options.rows, arguments, folder))
        (folder / "rows.smi").unlink()

        manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
        seen = options.steps * 64  # the batch of `tiny`
        epochs = seen / manifest["split"]["train"]
        arguments = ["train", str(dataset), "-o", str(run), "--preset", "tiny"]
        arguments += ["--epochs", f"{epochs:.9f}", "--set", "train.batch_size=64"]
        keep(watched("train", seen, arguments, folder))

        model = options.model or str(run)
        arguments = ["generate", "-m", model, "-n", str(options.generate)]
        arguments += ["-o", str(folder / "generated.csv")]
        keep(watched("generate", options.generate, arguments, folder))
        with open(folder / "generated.csv", encoding="utf-8") as handle:
            written = sum(1 for _ in handle) - 1
        if written != options.generate:
            raise SystemExit(f"{written:,} molecules were written, not {options.generate:,}")


if __name__ == "__main__":
    main()
