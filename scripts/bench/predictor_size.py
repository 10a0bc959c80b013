"""How the predictor of a measured column grows: time and memory by number of molecules.

Each size runs in a separate process. The column is RDKit's QED with noise of standard deviation
0.05, which stands for an assay; the file only has to hold enough molecules.

    OMP_NUM_THREADS=2 python scripts/bench/predictor_size.py zinc250k.csv.gz --sizes 1000,5000

Columns: seconds for the features (one process), for the fit with its calibration, for 1,000
predictions; peak resident memory of all of it, including the molecules; R² on 1,000 further
molecules. The last column is the exponent of the fit's time since the row above.
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
from pathlib import Path

import numpy as np

from molvae import chem
from molvae.chem.properties import get_property
from molvae.data.readers import read_smiles
from molvae.predict.kernel import read_features
from molvae.predict.predictor import ColumnPredictor

NEW = 1000  # molecules to predict
NOISE = 0.05


def measure(path: Path, size: int) -> dict[str, float]:
    """The row of a size."""
    qed = get_property("qed").function
    smiles: list[str] = []
    values: list[float] = []
    for text in itertools.islice(read_smiles([path]), 2 * (size + NEW)):
        mol = chem.parse(text)
        if mol is not None and len(smiles) < size + NEW:
            smiles.append(text)
            values.append(qed(mol))
    if len(smiles) < size + NEW:
        raise SystemExit(f"'{path}' has {len(smiles):,} valid molecules, expected {size + NEW:,}")
    truth = np.asarray(values)
    noisy = truth + NOISE * np.random.default_rng(0).standard_normal(len(truth))
    marks = [time.perf_counter()]
    features, _ = read_features(smiles)
    marks.append(time.perf_counter())
    part = np.arange(size)
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
