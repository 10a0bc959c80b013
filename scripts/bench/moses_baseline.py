r"""The published MOSES evaluator (PyPI package ``molsets`` 0.3.1) on given files, timed.

It runs in a separate environment with the Python and the versions that molvae is tested with, so
that values can be compared; it imports nothing from molvae. ``molsets`` pins a version
of pomegranate that does not compile; only its HMM generator needs that, so it goes in without its
dependencies:

    python3 -m venv molsets_env
    molsets_env/bin/python -m pip install torch==2.13.0 rdkit==2026.9.1 numpy==2.4.6 \
        scipy==1.17.1 pandas==3.1.1 matplotlib==3.11.2 tqdm
    molsets_env/bin/python -m pip install --no-deps molsets==0.3.1 fcd_torch==1.0.7

(``fcd_torch`` needs numpy before 2.5 and scipy before 1.18.) Other changes since 2020 are
patched in memory, see ``put_back`` and ``evaluator``; no formula changes, and nothing that
``molsets`` ships of the MOSES sets, molecules or statistics, is read.

    molsets_env/bin/python scripts/bench/moses_baseline.py --generated sample.smi.gz \
        --test moses_test.csv.gz --test-scaffolds moses_test_scaffolds.csv.gz \
        --train moses_train.csv.gz --jobs 2 -o cold.json

Cold, as above, the statistics of the two test sets are computed within the measured call. With
``--warm --stats DIR`` they are kept in DIR and computed before the call where they are missing.
That raises ``peak_mib``; ``--warm --stats DIR --prepare`` computes them in a separate run.
``--without-chemnet`` leaves out FCD and nothing else.

Written: ``seconds`` of ``get_all_metrics`` alone; ``import_seconds``, ``read_seconds`` and
``stats_seconds`` (finding the statistics) of what came before it; ``peak_mib``, the most resident
memory of this process and of the largest child; and the metrics, null for one that is not a
number. Threads are set by OMP_NUM_THREADS as usual.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import importlib
import json
import math
import os
import pickle
import platform
import resource
import sys
import time
import types
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("molsets", "fcd_torch", "rdkit", "torch", "numpy", "scipy", "pandas")
SETS = ("test", "test_scaffolds")


# -- the evaluator ------------------------------------------------------------------------------


def put_back() -> None:
    """Restore what ``molsets`` expects and newer libraries lack."""
    pandas: Any = importlib.import_module("pandas")
    six: Any = types.ModuleType("rdkit.six")
    six.iteritems = lambda table: iter(table.items())
    sys.modules["rdkit.six"] = six

    def append(self: Any, other: Any, sort: bool = False) -> Any:
        return pandas.concat([self, other], sort=sort)

    pandas.DataFrame.append = append
    # Deprecated in numpy and scipy, and not our business.
    for message in ("`row_stack` alias", "The `disp` argument"):
        warnings.filterwarnings("ignore", message, DeprecationWarning)


class NoFCD:
    """Stands in for the FCD of ``molsets``: not a number, without running ChemNet."""

    def __init__(self, **settings: Any) -> None:
        """All settings are accepted, none is used."""

    def precalc(self, smiles: Sequence[str]) -> dict[str, Any]:
        """No statistics."""
        return {}

    def __call__(self, gen: Sequence[str], pref: dict[str, Any]) -> float:
        """No value."""
        return math.nan


def evaluator() -> Any:
    """The module ``moses.metrics.metrics``, made to run and silent."""
    put_back()
    module: Any = importlib.import_module("moses.metrics.metrics")
    # Of whole numbers today's scipy takes the cosine in 64 bits, too few for the counts of
    # fragments in a full test set: a domain error, or a wrong value without one.
    cosine = module.cos_distance
    module.cos_distance = lambda u, v: cosine(u.astype(float), v.astype(float))
    module.disable_rdkit_log()  # else one line for each fingerprint: its function is deprecated
    return module


# -- files --------------------------------------------------------------------------------------


def read_smiles(path: Path) -> list[str]:
    """The column SMILES, or the first where no header names one; empty lines are skipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as handle:
        rows: list[list[str]]
        if path.name.removesuffix(".gz").endswith(".csv"):
            rows = [row for row in csv.reader(handle) if row]
        else:
            rows = [fields for line in handle if (fields := line.split())]
    if not rows:
        raise SystemExit(f"'{path}': no SMILES in it")
    header = [name.strip().lower() for name in rows[0]]
    if "smiles" not in header:
        return [row[0] for row in rows]
    column = header.index("smiles")
    return [row[column] for row in rows[1:]]


def statistics(
    moses: Any, name: str, smiles: list[str], folder: Path, *, chemnet: bool, jobs: int
) -> dict[str, Any]:
    """The statistics of a test set, from the folder or computed and saved there.

    The file's name holds a hash of the molecules and of RDKit's version, so what belongs to others
    is never taken. The part of ChemNet has a separate file: runs with and without it share the
    rest.
    """
    digest = hashlib.sha256("\n".join([version("rdkit"), *smiles]).encode()).hexdigest()[:12]
    real = moses.FCDMetric

    def without_chemnet() -> Any:
        moses.FCDMetric = NoFCD
        try:
            return moses.compute_intermediate_statistics(smiles, n_jobs=jobs)
        finally:
            moses.FCDMetric = real

    kept = _kept(folder / f"{name}-{digest}.pickle", without_chemnet)
    if chemnet:
        kept["FCD"] = _kept(
            folder / f"{name}-{digest}-fcd.pickle", lambda: real(n_jobs=jobs).precalc(smiles)
        )
    return dict(kept)


def _kept(path: Path, compute: Any) -> Any:
    """The content of a pickle; computed and saved if it is missing."""
    if path.exists():
        return pickle.loads(path.read_bytes())
    value = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    os.replace(part, path)
    return value


def peak_mib(who: int) -> float:
    """Most resident memory so far, in MiB: the kernel of Linux counts KiB, that of macOS bytes."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(who).ru_maxrss / unit, 1)


# -- the run ------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--generated", type=Path, metavar="FILE", help="molecules to judge")
    parser.add_argument("--test", type=Path, metavar="FILE", required=True, help="test set")
    parser.add_argument(
        "--test-scaffolds", type=Path, metavar="FILE", required=True, help="scaffold test set"
    )
    parser.add_argument("--train", type=Path, metavar="FILE", help="training set, for novelty")
    parser.add_argument("--without-chemnet", action="store_true", help="leave out FCD")
    parser.add_argument("--warm", action="store_true", help="test sets' statistics beforehand")
    parser.add_argument("--stats", type=Path, metavar="DIR", help="where --warm keeps them")
    parser.add_argument("--prepare", action="store_true", help="with --warm: do only that")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON to write")
    given = parser.parse_args()
    if given.warm != (given.stats is not None):
        parser.error("--warm and --stats go together")
    if given.prepare and not given.warm:
        parser.error("--prepare needs --warm")
    needed = () if given.prepare else ("generated", "train", "output")
    if missing := [f"--{name}" for name in needed if getattr(given, name) is None]:
        parser.error(f"needed: {', '.join(missing)}")
    return given


def main() -> None:
    """Read, prepare, measure, write."""
    given = arguments()
    begun = time.perf_counter()
    moses = evaluator()
    imported = time.perf_counter()

    tests = {name: read_smiles(getattr(given, name)) for name in SETS}
    generated = [] if given.prepare else read_smiles(given.generated)
    train = [] if given.prepare else read_smiles(given.train)
    have_read = time.perf_counter()

    chemnet = not given.without_chemnet
    options: dict[str, Any] = dict(tests)
    if given.warm:
        for name, smiles in tests.items():
            options[f"p{name}"] = statistics(
                moses, name, smiles, given.stats, chemnet=chemnet, jobs=given.jobs
            )
    prepared = time.perf_counter()

    report: dict[str, Any] = {
        "warm": given.warm,
        "chemnet": chemnet,
        "jobs": given.jobs,
        "threads": importlib.import_module("torch").get_num_threads(),
        "molecules": {
            "generated": len(generated),
            **{name: len(smiles) for name, smiles in tests.items()},
            "train": len(train),
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "import_seconds": round(imported - begun, 3),
        "read_seconds": round(have_read - imported, 3),
        "stats_seconds": round(prepared - have_read, 3),
    }
    if not given.prepare:
        if not chemnet:
            moses.FCDMetric = NoFCD
        started = time.perf_counter()
        metrics = moses.get_all_metrics(generated, n_jobs=given.jobs, train=train, **options)
        report["seconds"] = round(time.perf_counter() - started, 3)
        report["metrics"] = {
            name: float(value) if math.isfinite(value) else None for name, value in metrics.items()
        }
    report["peak_mib"] = {
        "self": peak_mib(resource.RUSAGE_SELF),
        "largest_child": peak_mib(resource.RUSAGE_CHILDREN),
    }
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    if given.output is None:
        print(text, end="")
    else:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
