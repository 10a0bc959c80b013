"""Memory, disk and time of ``molvae prepare`` for growing inputs.

Each case is one run of the command line over a file of so many rows: the first rows of a real file
with all properties, or a generated file of small molecules, nearly all of them different, with
``--standardize none --conditions mw,heavy``. Memory is summed over the process tree: resident
bytes (RSS, which counts what processes share once for each), and, less often, the bytes of each
process alone (USS) and with its share of the rest (PSS).

    python scripts/bench/prepare_memory.py --rows 100000,1000000 -o runs/prepare_memory.json
    python scripts/bench/prepare_memory.py --synthetic 10000000 -o runs/prepare_memory.json
"""

from __future__ import annotations

import argparse
import csv
import gzip
import itertools
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from watching import (  # type: ignore[import-not-found]
    MIB,
    Watch,
    append,
    counts,
    folder_size,
    machine,
)

DATA = Path(__file__).parents[3] / "shared" / "data" / "moses_train.csv.gz"
BLOCKS = 220  # rings, and groups for each of their two places
STEP = 7_368_787  # shares no factor with 220: goes through all combinations, far apart


# -- generated molecules ------------------------------------------------------------------------


def rings() -> list[str]:
    """Rings of three to five atoms with two different places for groups, as text with {a} and {b}.

    No two of them, turned or not, are equal with any two groups on them.
    """
    from rdkit import Chem

    blocks: list[str] = []
    seen: set[str] = set()
    others = ("C", "O", "N", "S", "C(=O)", "C(F)", "C(C)", "C(Cl)")
    for size in (3, 4, 5):
        for place in range(1, size // 2 + 1):
            for chosen in itertools.product(others, repeat=size - 2):
                if sum(text in "ONS" for text in chosen) > 2 or "".join(chosen).count("(") > 1:
                    continue
                between, rest = chosen[: place - 1], chosen[place - 1 :]
                text = "C1({a})" + "".join(between) + "C({b})" + "".join(rest[:-1])
                text += rest[-1].replace("(", "1(") if "(" in rest[-1] else f"{rest[-1]}1"
                forms = [
                    Chem.CanonSmiles(text.format(a=a, b=b))
                    for a, b in (("[1*]", "[2*]"), ("[2*]", "[1*]"))
                ]
                if forms[0] != forms[1] and not seen.intersection(forms):
                    seen.update(forms)
                    blocks.append(text)
    return blocks[:BLOCKS]


def groups() -> list[str]:
    """Different groups of two to four heavy atoms without a ring, the bound atom first."""
    from rdkit import Chem

    distinct: dict[str, str] = {}
    ends = ("C", "N", "O", "F", "Cl", "Br", "S", "C=C", "C#C", "C#N")
    middles = ("", "C", "N", "C(=O)", "O", "S", "C(C)")
    for first, middle, end in itertools.product(("C", "O", "N", "S"), middles, ends):
        text = first + middle + end
        mol = Chem.MolFromSmiles(f"[1*]{text}")
        if mol is not None and mol.GetNumHeavyAtoms() <= 4:
            distinct.setdefault(Chem.MolToSmiles(mol), text)
    return list(distinct.values())[:BLOCKS]


def molecules(count: int) -> Iterator[str]:
    """SMILES of so many small molecules, nearly all different, in an order that looks random."""
    middles, sides = rings(), groups()
    if len(middles) < BLOCKS or len(sides) < BLOCKS:
        raise SystemExit(f"{len(middles)} rings and {len(sides)} groups, expected {BLOCKS} of each")
    total = BLOCKS**3
    if count > total:
        raise SystemExit(f"--synthetic: got {count:,}, at most {total:,} molecules can be made")
    heads = [text.split("{a}") for text in middles]
    pieces = [(head, *tail.split("{b}")) for head, tail in heads]
    for i in range(count):
        rest, ring = divmod(i * STEP % total, BLOCKS)
        left, right = divmod(rest, BLOCKS)
        one, two, three = pieces[ring]
        yield f"{one}{sides[left]}{two}{sides[right]}{three}"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Text lines, streamed."""
    with open(path, "w", encoding="utf-8") as handle:
        handle.writelines(f"{line}\n" for line in lines)


def first_rows(source: Path, rows: int) -> Iterator[str]:
    """A header and the SMILES of the first rows of a CSV."""
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        header = [name.strip().lower() for name in next(reader)]
        if "smiles" not in header:
            raise SystemExit(f"'{source}': no column 'smiles', found {header}")
        column = header.index("smiles")
        yield "smiles"
        for row in itertools.islice(reader, rows):
            yield row[column]


# -- cases --------------------------------------------------------------------------------------


def measure(name: str, source: Path, options: list[str], scratch: Path) -> dict[str, Any]:
    """One run of ``molvae prepare``; a failed one is a result too."""
    folder = scratch / "out"
    folder.mkdir()
    output = folder / "data.ds"
    command = ["prepare", str(source), "-o", str(output), "--quiet", *options]
    started = time.perf_counter()
    with (
        open(scratch / "stderr", "w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "molvae", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
        ) as child,
    ):  # fmt: skip
        watch = Watch(child.pid, folder, folder / "data.ds.partial")
        watch.follow(child)
        seconds = time.perf_counter() - started
        watch.note("disk", folder_size(folder))
        errors.seek(0)
        said = errors.read()[-2000:]
    result: dict[str, Any] = {
        "case": name,
        "options": options,
        "failed": said if child.returncode else None,
        "seconds": seconds,
        "processes": watch.processes,
        "input_bytes": source.stat().st_size,
        "dataset_bytes": folder_size(output),
        "peak_bytes": watch.peaks,
        "peak_at_s": {key: round(value, 1) for key, value in watch.when.items()},
    }
    if not child.returncode:
        manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
        keys = ("rows_read", "kept", "merged", "rejected", "reasons", "split", "longest")
        result |= {key: manifest[key] for key in keys}
        result["rows_per_s"] = manifest["rows_read"] / seconds
    return result


HEAD = (
    "| case | rows | s | rows/s | peak RSS MiB | peak USS MiB | peak PSS MiB | kept | merged "
    "| rejected | dataset MiB | `.partial` MiB | all on disk MiB |\n" + "|---" * 13 + "|"
)


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    peak = {name: f"{size / MIB:.0f}" for name, size in result["peak_bytes"].items()}
    memory = f"{peak['rss']} | {peak['uss']} | {peak['pss']}"
    disk = f"{result['dataset_bytes'] / MIB:.0f} | {peak['work']} | {peak['disk']}"
    if result["failed"] is not None:
        return (
            f"| {result['case']}, FAILED | | {result['seconds']:.1f} | | {memory} | | | | "
            f"{disk} |\n"
            f"\n{result['failed']}"
        )
    return (
        f"| {result['case']} | {result['rows_read']:,} | {result['seconds']:.1f} "
        f"| {result['rows_per_s']:.0f} | {memory} | {result['kept']:,} | {result['merged']:,} "
        f"| {result['rejected']:,} | {disk} |"
    )


def main() -> None:
    """Parse the command line, run the cases, print a row of the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", type=counts, metavar="N,…", help="first rows of the input, all properties"
    )
    parser.add_argument("--synthetic", type=counts, metavar="N,…", help="generated molecules")
    parser.add_argument("--input", type=Path, default=DATA, help="CSV with a column smiles")
    parser.add_argument("--workers", type=int, help="of molvae prepare (default: all CPUs)")
    parser.add_argument("--workdir", type=Path, help="where scratch files go")
    parser.add_argument("-o", "--output", type=Path, help="JSON list to append each case to")
    options = parser.parse_args()
    if options.rows is None and options.synthetic is None:  # everything
        options.rows, options.synthetic = [100_000, 1_000_000], [10_000_000]
    cases = [("real", count) for count in options.rows or []]
    cases += [("synthetic", count) for count in options.synthetic or []]
    if options.workdir is not None:
        options.workdir.mkdir(parents=True, exist_ok=True)
    # Ended from outside, it ends what it started and leaves no file either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(HEAD, flush=True)
    for kind, count in cases:
        if kind == "real" and not options.input.is_file():
            print(f"skipped {count:,} rows: '{options.input}' is not there; name one by --input")
            continue
        extra = [] if options.workers is None else ["--workers", str(options.workers)]
        with tempfile.TemporaryDirectory(prefix="prepare-memory-", dir=options.workdir) as name:
            scratch = Path(name)
            if kind == "real":
                source, title = scratch / "rows.csv", options.input.name
                write_lines(source, first_rows(options.input, count))
            else:
                source, title = scratch / "rows.smi", "synthetic"
                extra += ["--standardize", "none", "--conditions", "mw,heavy"]
                write_lines(source, molecules(count))
            result = measure(f"{title} {count:,}", source, extra, scratch)
        print(line(result), flush=True)
        if options.output is not None:
            append(options.output, {**result, "machine": machine()})


if __name__ == "__main__":
    main()
