"""Sampling of the published MOSES VAE (PyPI package ``molsets`` 0.3.1), timed.

It runs in the environment described in ``moses_baseline.py``, with ``tqdm`` added, and imports
nothing from molvae. ``VAE.sample`` runs as published, in eval mode and in batches;
then ``canonic_smiles`` of ``molsets`` turns the strings into canonical SMILES in worker processes
of ``mapper`` of ``molsets``.

The weights are random, at the published sizes, which changes nothing in the time of sampling:
the published loop takes ``max_len - 1`` = 99 steps with all rows, whatever the weights. The output
of such a network is not SMILES, though, so RDKit gets as many molecules of a file instead, and each
counts as valid and unique: a perfect model, to the advantage of MOSES.

    OMP_NUM_THREADS=2 molsets_env/bin/python scripts/bench/moses_sample.py moses_train.csv.gz

Prints JSON. ``tokens`` is the number of steps of the network per molecule, ``characters`` those of
the SMILES with begin and end. Imports, reading and building the network are not timed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moses_baseline import put_back, read_smiles  # type: ignore[import-not-found]

PACKAGES = ("molsets", "torch", "numpy", "rdkit")
MAX_LEN = 100  # the default of VAE.sample


class BooleanMasks:
    """Torch as ``VAE.sample`` takes it: masks of ``uint8``, which are no masks any more."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.uint8 = torch, torch.bool

    def __getattr__(self, name: str) -> Any:
        """Everything else."""
        return getattr(self.torch, name)


def measure(smiles: list[str], n: int, batch: int, jobs: int) -> dict[str, Any]:
    """Time of sampling ``n`` strings and of making as many SMILES canonical."""
    put_back()
    torch: Any = importlib.import_module("torch")
    moses: Any = importlib.import_module("moses.vae")
    utils: Any = importlib.import_module("moses.utils")
    metrics: Any = importlib.import_module("moses.metrics.utils")
    importlib.import_module("moses.vae.model").torch = BooleanMasks(torch)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    config = moses.vae_parser().parse_args([])
    model = moses.VAE(moses.VAETrainer(config).get_vocabulary(smiles), config).eval()
    model.sample(batch, max_len=10)  # warm-up
    sizes = [min(batch, n - start) for start in range(0, n, batch)]
    started = time.perf_counter()
    for size in sizes:
        model.sample(size, max_len=MAX_LEN)
    sampled = time.perf_counter()
    canonical = utils.mapper(jobs)(metrics.canonic_smiles, smiles[:n])
    ended = time.perf_counter()
    if not all(canonical):
        raise SystemExit("a molecule of the file is not valid")
    return {
        "molecules_per_s": n / (ended - started),
        "molecules": n,
        "seconds": ended - started,
        "stages": {"network": sampled - started, "RDKit": ended - sampled},
        "batch": batch,
        "tokens": float(MAX_LEN - 1),
        "characters": sum(map(len, smiles[:n])) / n + 2,
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "workers": jobs,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("smiles", type=Path, help="SMILES file: characters, and what is checked")
    parser.add_argument("-n", type=int, default=4096, help="molecules (default 4,096)")
    parser.add_argument("--batch", type=int, default=32, help="default 32, as MOSES samples")
    parser.add_argument("--jobs", type=int, default=2, help="processes for RDKit (default 2)")
    options = parser.parse_args()
    smiles = read_smiles(options.smiles)
    if len(smiles) < options.n:
        raise SystemExit(f"{len(smiles)} molecules are too few for {options.n}")
    json.dump(measure(smiles, options.n, options.batch, options.jobs), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
