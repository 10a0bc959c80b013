"""Fit the realism critic and the plausibility table of a model that has none, and save them in it.

    python scripts/fit_realism.py MODEL --train FILE [FILE ...]

MODEL is a model folder, a run folder or a shipped name; FILE holds the molecules it was trained on,
which are cleaned as the model's training data were. ``molvae train`` does the same at its end. The
weights stay as they are.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from molvae import chem
from molvae.config import CleaningConfig
from molvae.data.readers import read_smiles
from molvae.model.checkpoint import find_model, load_model, save_model
from molvae.model.given import cleaning_of
from molvae.realism.summary import realism_lines
from molvae.runtime.pool import WorkerPool
from molvae.train.realism import MOST, fitted_realism


def _cleaned(options: CleaningConfig, smiles: Sequence[str]) -> list[str]:
    """Molecules that cleaning keeps."""
    found = (chem.clean(text, options) for text in smiles)
    return [molecule.smiles for molecule in found if isinstance(molecule, chem.Cleaned)]


def training_molecules(
    files: Sequence[Path], options: CleaningConfig, workers: int | None
) -> list[str]:
    """The distinct molecules of the files, cleaned."""
    distinct: dict[str, None] = {}
    rows = 0
    with WorkerPool(workers) as pool:
        clean = functools.partial(_cleaned, options)
        for texts, kept in pool.map_texts("cleaning", clean, read_smiles(files)):
            rows += len(texts)
            distinct.update(dict.fromkeys(kept))
    sys.stdout.write(f"{len(distinct):,} distinct molecules in {rows:,} rows\n")
    return list(distinct)


def main() -> None:
    """Parse the command line, fit, save, print what was fitted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="model folder, run folder or shipped name")
    parser.add_argument("--train", nargs="+", required=True, type=Path, help="training molecules")
    parser.add_argument("--start", help="model that the training started from (--from)")
    parser.add_argument("--samples", type=int, default=MOST, help="own samples, at most")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, help="processes for RDKit")
    options = parser.parse_args()
    folder, model = find_model(options.model), load_model(options.model)
    weights = model.network.state_dict().values()
    half = all(torch.equal(tensor, tensor.half().to(tensor.dtype)) for tensor in weights)
    molecules = training_molecules(options.train, cleaning_of(model), options.workers)
    fitted = fitted_realism(
        model,
        molecules,
        start=None if options.start is None else load_model(options.start),
        most=options.samples,
        device=options.device,
        workers=options.workers,
    )
    fitted.network.to("cpu")
    save_model(folder, fitted, half=half)
    sys.stdout.write("\n".join(realism_lines(fitted.critic, fitted.plausibility)[1]) + "\n")


if __name__ == "__main__":
    main()
