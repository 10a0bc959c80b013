"""The published MOSES VAE (PyPI package ``molsets`` 0.3.1) in training, timed.

It runs in the environment described in ``moses_baseline.py``, with ``tqdm`` added, and imports
nothing from molvae. ``VAETrainer.fit`` runs as published, with the options it
was published with (batches of 512 drawn at random, fp32), and is ended from its data loader after
some steps. A step is all that happens between two requests for a batch: collating, forward, loss,
backward, clipping, Adam, the progress bar. Steps differ in time: this code takes and returns
gigabytes of memory in each, and what the kernel asks for them varies.

    OMP_NUM_THREADS=2 molsets_env/bin/python scripts/bench/moses_vae.py moses_train.csv.gz

Prints JSON. ``tokens`` is what the network reads per molecule: characters, begin and end.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moses_baseline import put_back, read_smiles  # type: ignore[import-not-found]

PACKAGES = ("molsets", "torch", "numpy")


class Enough(Exception):
    """Ends the published loop, which knows no number of steps."""


class Timed:
    """A data loader that notes when each batch was done with."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, steps
        self.seconds: list[float] = []
        self.sizes: list[tuple[int, int]] = []  # molecules, tokens

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        started = time.perf_counter()
        for batch in self.loader:
            yield batch
            now = time.perf_counter()
            self.seconds.append(now - started)
            self.sizes.append((len(batch), sum(map(len, batch))))
            if len(self.seconds) == self.steps:
                raise Enough
            started = now


def weights_per_token(model: Any) -> int:
    """Multiply-adds of one token, forward: every weight of the recurrent and last layers once."""
    layers = (model.encoder_rnn, model.decoder_rnn, model.decoder_fc)
    return sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2)


def measure(smiles: list[str], warm_up: int, steps: int) -> dict[str, Any]:
    """Time of the published loop on these molecules."""
    put_back()
    torch: Any = importlib.import_module("torch")
    moses: Any = importlib.import_module("moses.vae")
    torch.manual_seed(0)
    config = moses.vae_parser().parse_args([])
    # Options that MOSES' scripts add to those of the model; without them nothing is written.
    config.log_file = config.model_save = None
    trainer = moses.VAETrainer(config)
    model = moses.VAE(trainer.get_vocabulary(smiles), config)
    loader = Timed(trainer.get_dataloader(model, smiles), warm_up + steps)
    trainer.get_dataloader = lambda *args, **options: loader
    try:
        trainer.fit(model, smiles)
        raise SystemExit(f"{len(smiles)} molecules are too few for {warm_up + steps} steps")
    except Enough:
        pass
    seconds = loader.seconds[warm_up:]
    molecules, tokens = (sum(size) for size in zip(*loader.sizes[warm_up:], strict=True))
    median = statistics.median(seconds)
    return {
        "molecules_per_s": molecules / sum(seconds),
        "median_molecules_per_s": config.n_batch / median,
        "median_step_s": median,
        "steps_s": seconds,
        "batch": config.n_batch,
        "tokens": tokens / molecules,
        # Two operations per weight and token forward, twice as many backward.
        "gflop_per_step": 6e-9 * weights_per_token(model) * tokens / len(seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("smiles", type=Path, help="SMILES file")
    parser.add_argument("--molecules", type=int, default=32_768, help="first ones of the file")
    parser.add_argument("--warm-up", type=int, default=2, metavar="STEPS")
    parser.add_argument("--steps", type=int, default=3, help="measured (default 3)")
    options = parser.parse_args()
    smiles = read_smiles(options.smiles)[: options.molecules]
    json.dump(measure(smiles, options.warm_up, options.steps), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
