"""How the predictor of a measured column grows: time and memory by number of molecules.

Each size runs in a separate process. The column is RDKit's QED with noise of standard deviation
0.05, which stands for an assay; the file only has to hold enough molecules.

    OMP_NUM_THREADS=2 python scripts/bench/predictor_size.py zinc250k.csv.gz --sizes 1000,5000

Columns: seconds for reading and features (by worker processes, as in ``train``), for the fit with
its calibration, for 1,000 predictions; peak resident memory of the main process; R² on 1,000
further molecules. The last column is the exponent of the fit's time since the row above.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molvae import chem
from molvae.chem.properties import get_property
from molvae.config import CleaningConfig
from molvae.data.readers import read_smiles
from molvae.predict.kernel import Features
from molvae.predict.predictor import ColumnPredictor
from molvae.predict.reading import Cleaner, read_texts
from molvae.runtime.pool import WorkerPool

NEW = 1000  # molecules to predict
NOISE = 0.05


def qeds(smiles: Sequence[str]) -> list[float]:
    """QED of SMILES; not a number where they are not valid."""
    function = get_property("qed").function
    mols = map(chem.parse, smiles)
    return [math.nan if mol is None else function(mol) for mol in mols]


def measure(path: Path, size: int) -> dict[str, float]:
    """The row of a size."""
    texts = list(itertools.islice(read_smiles([path]), 2 * (size + NEW)))
    if len(texts) < size + NEW:
        raise SystemExit(f"'{path}' has {len(texts):,} molecules, expected {size + NEW:,}")
    texts = texts[: size + NEW]
    marks = [time.perf_counter()]
    smiles, parts = list[str](), list[Features]()
    for _, read in read_texts(texts, Cleaner(CleaningConfig()), label="features"):
        smiles += read.smiles
        parts.append(read.features)
    features = Features.join(parts)
    marks.append(time.perf_counter())
    with WorkerPool() as pool:
        truth = np.concatenate([values for _, values in pool.map_texts("QED", qeds, smiles)])
    noisy = truth + NOISE * np.random.default_rng(0).standard_normal(len(truth))
    part = np.arange(size)
    marks[0] += time.perf_counter() - marks[-1]  # QED does not count
    marks[-1] = time.perf_counter()
    predictor = ColumnPredictor.fit(smiles[:size], noisy[:size], features=features.take(part))
    marks.append(time.perf_counter())
    mean = predictor.predict(
        smiles[size:], features=features.take(np.arange(size, size + NEW))
    ).mean
    marks.append(time.perf_counter())
    error, rest = truth[size:] - mean, truth[size:] - truth[size:].mean()
    seconds = np.diff(marks).tolist()
    return {
        "molecules": size,
        **dict(zip(("features", "fit", "predict"), seconds, strict=True)),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # GiB; KiB on Linux
        "r2": 1 - float((error**2).sum() / (rest**2).sum()),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--sizes", default="1000,5000,20000,100000")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.file, options.one)))
        return
    print("| molecules | features, s | fit, s | 1,000 predictions, s | peak, GiB | R² | exponent |")
    print("|---|---|---|---|---|---|---|")
    before = None
    for size in map(int, options.sizes.split(",")):
        command = [sys.executable, __file__, str(options.file), "--one", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(done.stdout)
        exponent = ""
        if before is not None:
            growth = math.log(row["fit"] / before["fit"])
            exponent = f"{growth / math.log(size / before['molecules']):.2f}"
        print(
            f"| {size:,} | {row['features']:.1f} | {row['fit']:.1f} | {row['predict']:.1f} "
            f"| {row['peak']:.2f} | {row['r2']:.2f} | {exponent} |",
            flush=True,
        )
        before = row


if __name__ == "__main__":
    main()
