"""Time of preparation: all cores, one worker, and the loop that a user would write.

Rounds of three fresh processes over the same rows, interleaved: ``molvae prepare`` with all
workers, with one, and a plain loop of pandas, RDKit and selfies that cleans, filters, encodes and
measures alike. Wall time includes the start of the programs, which is also shown separately: the
same command over ten rows. The results are compared molecule by molecule. ``--full`` times the
whole file and the reading of it from the cache instead.

    python scripts/bench/prepare_speed.py --rounds 3 --rows 20000 -o runs/prepare_speed.json
    python scripts/bench/prepare_speed.py --full -o runs/prepare_full.json
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[3] / "shared" / "data" / "zinc250k.csv.gz"
PROPERTIES = (
    "arom", "fsp3", "hba", "hbd", "heavy", "logp", "mw", "npscore", "qed", "rings", "rotb", "sas",
    "tpsa",
)  # fmt: skip
FEW = 10  # rows of a run that only shows how long the start takes
TOLERANCE = 1e-4


# -- what a user would write --------------------------------------------------------------------


def naive(source: Path, output: Path) -> None:
    """Clean, filter, encode and measure the column ``smiles`` of a CSV, one molecule at a time."""
    import numpy as np
    import pandas as pd
    import selfies
    from rdkit import Chem, rdBase
    from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors
    from rdkit.Chem.MolStandardize import rdMolStandardize
    from rdkit.Contrib.NP_Score import npscorer
    from rdkit.Contrib.SA_Score import sascorer

    rdBase.DisableLog("rdApp.*")
    parameters = rdMolStandardize.CleanupParameters()
    parameters.preferOrganic = True  # type: ignore[assignment]  # the stubs name the wrong type
    parameters.largestFragmentChooserCountHeavyAtomsOnly = True  # type: ignore[assignment]
    chooser = rdMolStandardize.LargestFragmentChooser(parameters)
    uncharger = rdMolStandardize.Uncharger()
    np_model = npscorer.readNPModel()
    elements = {"B", "Br", "C", "Cl", "F", "H", "I", "N", "O", "P", "S", "Se", "Si"}
    non_metals = {0, 1, 2, *range(5, 11), *range(14, 19), *range(33, 37), 52, 53, 54, 85, 86}

    index: dict[str, int] = {}
    symbols, values = [], []
    rejected = 0
    frame = pd.read_csv(source)
    for text in frame["smiles"]:
        mol = Chem.MolFromSmiles(text) if isinstance(text, str) else None
        if mol is None or mol.GetNumAtoms() == 0:
            rejected += 1
            continue
        atoms = list(mol.GetAtoms())
        if any(atom.GetAtomicNum() == 0 for atom in atoms) or any(
            neighbor.GetAtomicNum() == 6
            for atom in atoms
            if atom.GetAtomicNum() not in non_metals
            for neighbor in atom.GetNeighbors()
        ):
            rejected += 1
            continue
        try:
            mol = uncharger.uncharge(chooser.choose(rdMolStandardize.Cleanup(mol)))
        except (ValueError, RuntimeError):
            rejected += 1
            continue
        if not 3 <= mol.GetNumHeavyAtoms() <= 60 or len(Chem.GetMolFrags(mol)) > 1:
            rejected += 1
            continue
        if any(
            atom.GetSymbol() not in elements or atom.GetIsotope() or atom.GetNumRadicalElectrons()
            for atom in mol.GetAtoms()
        ):
            rejected += 1
            continue
        smiles = Chem.MolToSmiles(mol)
        if smiles in index:
            continue
        try:
            split = list(selfies.split_selfies(selfies.encoder(smiles)))
        except (selfies.EncoderError, LookupError):
            rejected += 1
            continue
        if len(split) > 120:
            rejected += 1
            continue
        index[smiles] = len(index)
        symbols.append(split)
        values.append([
            rdMolDescriptors.CalcNumAromaticRings(mol),
            rdMolDescriptors.CalcFractionCSP3(mol),
            rdMolDescriptors.CalcNumHBA(mol),
            rdMolDescriptors.CalcNumHBD(mol),
            mol.GetNumHeavyAtoms(),
            Crippen.MolLogP(mol),  # type: ignore[attr-defined]  # made at run time
            Descriptors.MolWt(mol),  # type: ignore[attr-defined]
            npscorer.scoreMol(mol, np_model),
            QED.qed(mol),
            rdMolDescriptors.CalcNumRings(mol),
            rdMolDescriptors.CalcNumRotatableBonds(mol),
            sascorer.calculateScore(mol),
            rdMolDescriptors.CalcTPSA(mol),
        ])  # fmt: skip

    vocabulary = sorted({symbol for split in symbols for symbol in split})
    number = {symbol: i for i, symbol in enumerate(vocabulary)}
    ids = np.array([number[symbol] for split in symbols for symbol in split], dtype=np.uint16)
    offsets = np.cumsum([0, *(len(split) for split in symbols)])
    output.mkdir()
    np.save(output / "ids.npy", ids)
    np.save(output / "offsets.npy", offsets)
    np.save(output / "properties.npy", np.array(values, dtype=np.float32))
    (output / "vocabulary.json").write_text(json.dumps(vocabulary))
    pd.DataFrame({"smiles": list(index)}).to_csv(output / "molecules.csv", index=False)
    print(f"{len(frame)} rows, {len(index)} molecules, {rejected} rejected")


# -- running and comparing ----------------------------------------------------------------------


def timed(command: list[str], environment: dict[str, str] | None = None) -> float:
    """Wall seconds of a fresh Python process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"failed with {done.returncode}: {command}\n{done.stderr[-3000:]}")
    return seconds


def command_of(side: str, source: Path, output: Path, workers: int) -> list[str]:
    """How a side is run: ``naive``, ``one`` (one worker) or ``all`` (all workers)."""
    if side == "naive":
        return [str(Path(__file__).resolve()), "--naive", str(source), str(output)]
    count = workers if side == "all" else 1
    return [
        "-m", "molvae", "prepare", str(source), "-o", str(output), "--workers", str(count),
        "--conditions", ",".join(PROPERTIES), "--quiet", "--json",
    ]  # fmt: skip


def sample(source: Path, target: Path, rows: int, *, spread: bool) -> int:
    """Write the first rows of a CSV, or rows evenly spaced over it; how many there were."""
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rt", encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        header = [name.strip().lower() for name in next(reader)]
        if "smiles" not in header:
            raise SystemExit(f"'{source}': no column 'smiles', found {header}")
        column = header.index("smiles")
        texts: list[str] = []
        for row in reader:
            if not spread and len(texts) == rows:
                break
            texts.append(row[column])
    if spread and len(texts) > rows:
        texts = [texts[i * len(texts) // rows] for i in range(rows)]
    with open(target, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["smiles"], *([text] for text in texts)])
    return len(texts)


def compare(ours: Path, theirs: Path) -> dict[str, Any]:
    """Where a dataset folder and the result of the plain loop differ."""
    import numpy as np

    from molvae import chem

    with gzip.open(ours / "molecules.csv.gz", "rt", encoding="utf-8", newline="") as handle:
        a = {row["smiles"]: i for i, row in enumerate(csv.DictReader(handle))}
    with open(theirs / "molecules.csv", encoding="utf-8", newline="") as handle:
        b = {row["smiles"]: i for i, row in enumerate(csv.DictReader(handle))}
    rewritten = 0  # differ only by molvae's form, which writes sulfoxides S=O
    for smiles in b.keys() - a.keys():
        mol = chem.parse(smiles)
        form = None if mol is None else chem.to_smiles(chem.standardize(mol))
        rewritten += form in a
    manifest = json.loads((ours / "manifest.json").read_text(encoding="utf-8"))
    assert tuple(manifest["properties"]) == PROPERTIES
    shared = [smiles for smiles in a if smiles in b]
    x = np.load(ours / "properties.npy")[[a[smiles] for smiles in shared]]
    y = np.load(theirs / "properties.npy")[[b[smiles] for smiles in shared]]
    gaps = np.where(np.isnan(x) & np.isnan(y), 0, np.nan_to_num(np.abs(x - y), nan=np.inf))
    far = (gaps > TOLERANCE).sum(axis=0)

    names = json.loads((ours / "vocab.json").read_text(encoding="utf-8"))["tokens"]
    ids = np.fromfile(ours / "tokens.bin", dtype=np.uint8 if len(names) <= 256 else np.uint16)
    starts = np.load(ours / "offsets.npy")
    other_names = json.loads((theirs / "vocabulary.json").read_text())
    other_ids, other_starts = np.load(theirs / "ids.npy"), np.load(theirs / "offsets.npy")
    wrong = 0
    for smiles in shared:
        i, j = a[smiles], b[smiles]
        ours_written = [names[k] for k in ids[starts[i] : starts[i + 1]]]
        theirs_written = [other_names[k] for k in other_ids[other_starts[j] : other_starts[j + 1]]]
        wrong += ours_written != theirs_written
    return {
        "molvae": len(a),
        "naive": len(b),
        "shared": len(shared),
        "only_molvae": len(a.keys() - b.keys()),
        "only_naive": len(b.keys() - a.keys()),
        "same_but_rewritten": rewritten,
        "examples": sorted(b.keys() - a.keys())[:5],
        "property_differences": {
            name: int(count) for name, count in zip(PROPERTIES, far, strict=True) if count
        },
        "largest_property_difference": float(gaps.max(initial=0)),
        "token_differences": wrong,
        "rejected_by_molvae": manifest["reasons"],
    }


def rounds(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All rounds, and what the sides made of the first."""
    source, few = scratch / "rows.csv", scratch / "few.csv"
    rows = sample(options.input, source, options.rows, spread=options.spread)
    sample(source, few, FEW, spread=True)
    sides = ("all", "one", "naive")
    rounds: list[dict[str, Any]] = []
    agreement: dict[str, Any] = {}
    for turn in range(options.rounds):
        seconds, start = {}, {}
        # Another order each round, so that no side is always the first or the last.
        for side in (*sides[turn % 3 :], *sides[: turn % 3]):
            output = scratch / f"{side}-{turn}"
            seconds[side] = timed(command_of(side, source, output, options.workers))
            begun = scratch / f"{side}-{turn}-few"
            start[side] = timed(command_of(side, few, begun, options.workers))
        if not agreement:
            agreement = compare(scratch / "all-0", scratch / "naive-0")
            agreement["one_worker_same_content"] = _content(scratch / "all-0") == _content(
                scratch / "one-0"
            )
        rounds.append({
            "seconds": seconds,
            "start": start,
            "rows_per_s": {side: rows / seconds[side] for side in sides},
            "all_to_one": seconds["one"] / seconds["all"],
            "all_to_naive": seconds["naive"] / seconds["all"],
            "one_to_naive": seconds["naive"] / seconds["one"],
        })  # fmt: skip
        print(f"round {turn + 1}: {_words(rounds[-1])}", file=sys.stderr)
    return {"rows": rows, "rounds": rounds, "agreement": agreement}


def _content(dataset: Path) -> str:
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["content_sha256"])


def _words(turn: dict[str, Any]) -> str:
    return ", ".join(f"{side} {seconds:.1f} s" for side, seconds in turn["seconds"].items())


def full(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The whole file with all workers; then through the cache: made, and rounds there."""
    output = scratch / "full"
    seconds = timed(command_of("all", options.input, output, options.workers))
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    text = (
        "from molvae.config import DataConfig\n"
        "from molvae.data.prepare import cached_dataset\n"
        f"data = cached_dataset([{str(options.input)!r}], DataConfig(), workers={options.workers})"
        f"\nassert len(data) == {manifest['kept']}\n"
    )
    place = {"MOLVAE_CACHE": str(scratch / "cache")}
    imports = statistics.median(timed(["-c", "import molvae.data.prepare"]) for _ in range(3))
    cold = timed(["-c", text], place)
    warm = [timed(["-c", text], place) for _ in range(3)]
    return {
        "rows": manifest["rows_read"],
        "kept": manifest["kept"],
        "merged": manifest["merged"],
        "rejected": manifest["rejected"],
        "reasons": manifest["reasons"],
        "prepare_s": seconds,
        "rows_per_s": manifest["rows_read"] / seconds,
        "cache_cold_s": cold,
        "cache_warm_s": warm,
        "imports_s": imports,
    }


# -- showing ------------------------------------------------------------------------------------


def table(result: dict[str, Any], workers: int) -> list[str]:
    """Markdown of the rounds and of the agreement."""
    names = {"all": f"molvae, {workers} workers", "one": "molvae, 1 worker", "naive": "plain loop"}
    turns = result["rounds"]
    lines = [
        "| side | rows/s, median | rows/s per round | wall s | start s |",
        "|---|---|---|---|---|",
    ]
    for side, name in names.items():
        speeds = [turn["rows_per_s"][side] for turn in turns]
        wall = statistics.median(turn["seconds"][side] for turn in turns)
        start = statistics.median(turn["start"][side] for turn in turns)
        shown = ", ".join(f"{speed:.0f}" for speed in speeds)
        lines.append(
            f"| {name} | {statistics.median(speeds):.0f} | {shown} | {wall:.1f} | {start:.2f} |"
        )
    lines += ["", "| ratio | per round | median |", "|---|---|---|"]
    for key, name in (
        ("all_to_one", "all workers : one worker"),
        ("all_to_naive", "all workers : plain loop"),
        ("one_to_naive", "one worker : plain loop"),
    ):
        ratios = [turn[key] for turn in turns]
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        lines.append(f"| {name} | {shown} | {statistics.median(ratios):.2f} |")
    said = result["agreement"]
    far = said["property_differences"] or "none"
    lines += [
        "",
        f"{result['rows']:,} rows. Molecules: {said['molvae']:,} by molvae, {said['naive']:,} by "
        f"the loop, {said['shared']:,} by both; {said['only_molvae']} by molvae alone, "
        f"{said['only_naive']} by the loop alone, of which {said['same_but_rewritten']} are the "
        "same molecule in molvae's form (sulfoxides).",
        f"Properties of shared molecules that differ by more than {TOLERANCE:g}: {far} (largest "
        f"{said['largest_property_difference']:.2g}). Token sequences that differ: "
        f"{said['token_differences']}. One worker makes the same dataset as all: "
        f"{'yes' if said['one_worker_same_content'] else 'NO'}.",
    ]
    return lines


def full_table(result: dict[str, Any], workers: int) -> list[str]:
    """Markdown of the whole file."""
    warm = ", ".join(f"{seconds:.2f}" for seconds in result["cache_warm_s"])
    return [
        "| what | seconds |",
        "|---|---|",
        f"| `molvae prepare`, {workers} workers, {result['rows']:,} rows | "
        f"{result['prepare_s']:.1f} ({result['rows_per_s']:.0f} rows/s) |",
        f"| `cached_dataset`, nothing in the cache | {result['cache_cold_s']:.1f} |",
        f"| `cached_dataset`, rounds in the cache, start-up included | {warm} |",
        f"| of that: Python and `import molvae.data.prepare` | {result['imports_s']:.2f} |",
        "",
        f"{result['kept']:,} kept, {result['merged']:,} merged, {result['rejected']:,} rejected.",
    ]


def machine() -> dict[str, Any]:
    """Settings that the results depend on."""
    return {
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("rdkit", "selfies", "numpy", "pandas")},
    }


def main() -> None:
    """Parse the command line, run, print the table."""
    if sys.argv[1:2] == ["--naive"]:  # one side of the benchmark, in a separate process
        naive(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", type=Path, default=DATA, help="CSV with a column smiles")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--spread", action="store_true", help="rows from all over the file")
    parser.add_argument("--workers", type=int, default=machine()["cpus"] or os.cpu_count() or 1)
    parser.add_argument("--full", action="store_true", help="the whole file, and from the cache")
    parser.add_argument("--workdir", type=Path, help="where scratch files go")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if not options.input.is_file():
        print(f"skipped: '{options.input}' is not there; name a CSV by --input")
        return
    options.input = options.input.resolve()
    with tempfile.TemporaryDirectory(prefix="prepare-speed-", dir=options.workdir) as scratch:
        if options.full:
            result = full(options, Path(scratch))
            lines = full_table(result, options.workers)
        else:
            result = rounds(options, Path(scratch))
            lines = table(result, options.workers)
    print("\n".join(lines))
    if options.output is not None:
        head = {"input": options.input.name, "workers": options.workers, "machine": machine()}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({**head, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
