"""Fit the realism critic and the plausibility table of a model that has none, and save them in it.

    python scripts/fit_realism.py MODEL --train FILE [FILE ...] [--tokens-only]

MODEL is a model folder, a run folder or a shipped name; FILE holds the molecules it was trained on,
which are cleaned as the model's training data were. ``molvae train`` does the same at its end. The
weights stay as they are. The molecules that have each token are counted, too, so that no token
without one is drawn; with ``--tokens-only`` nothing else is done.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from molvae import chem
from molvae.chem.selfies import split_selfies, to_selfies, use_constraints
from molvae.config import CleaningConfig
from molvae.data.readers import read_smiles
from molvae.model.checkpoint import SavedModel, find_model, load_model, save_model
from molvae.model.given import cleaning_of
from molvae.realism.summary import realism_lines
from molvae.runtime.pool import WorkerPool
from molvae.train.finetune import added_tokens
from molvae.train.realism import MOST, fitted_realism


def _cleaned(options: CleaningConfig, smiles: Sequence[str]) -> list[str]:
    """Molecules that cleaning keeps."""
    cleaned = (chem.clean(text, options) for text in smiles)
    return [molecule.smiles for molecule in cleaned if isinstance(molecule, chem.Cleaned)]


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


def _tokens(limits: dict[str, int], smiles: Sequence[str]) -> Counter[str]:
    """How many of the molecules have each SELFIES symbol."""
    counts: Counter[str] = Counter()
    with use_constraints(limits):
        for text in smiles:
            counts.update(set(split_selfies(to_selfies(text) or "")))
    return counts


def token_counts(
    model: SavedModel, start: SavedModel | None, smiles: Sequence[str], workers: int | None
) -> NDArray[np.int64]:
    """(V,) molecules that have each token, with those of the start model; −1: unknown."""
    counts: Counter[str] = Counter()
    with WorkerPool(workers) as pool:
        count = functools.partial(_tokens, model.constraints)
        for _, part in pool.map_texts("tokens", count, smiles, len(smiles)):
            counts.update(part)
    own = np.asarray([counts[token] for token in model.vocabulary.tokens], dtype=np.int64)
    return added_tokens(own, start)


def main() -> None:
    """Parse the command line, fit, save, print what was fitted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="model folder, run folder or shipped name")
    parser.add_argument("--train", nargs="+", required=True, type=Path, help="training molecules")
    parser.add_argument("--start", help="model that the training started from (--from)")
    parser.add_argument("--samples", type=int, default=MOST, help="own samples, at most")
    parser.add_argument("--tokens-only", action="store_true", help="critic and table stay")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, help="processes for RDKit")
    options = parser.parse_args()
    folder, model = find_model(options.model), load_model(options.model)
    weights = model.network.state_dict().values()
    half = all(torch.equal(tensor, tensor.half().to(tensor.dtype)) for tensor in weights)
    molecules = training_molecules(options.train, cleaning_of(model), options.workers)
    start = None if options.start is None else load_model(options.start)
    counts = token_counts(model, start, molecules, options.workers)
    model = replace(model, token_counts=counts)
    if not options.tokens_only:
        model = fitted_realism(
            model,
            molecules,
            start=start,
            most=options.samples,
            device=options.device,
            workers=options.workers,
        )
    model.network.to("cpu")
    save_model(folder, model, half=half)
    pairs = zip(model.vocabulary.tokens, counts.tolist(), strict=True)
    never = [token for token, count in pairs if not count and not token.startswith("<")]
    sys.stdout.write(f"tokens without a training molecule: {', '.join(never) or 'none'}\n")
    sys.stdout.write("\n".join(realism_lines(model.critic, model.plausibility)[1]) + "\n")


if __name__ == "__main__":
    main()
