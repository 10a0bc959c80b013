"""The distribution-learning benchmarks of GuacaMol (Brown et al. 2019) on samples in files.

    molvae generate -m moses -n 10500 --no-unique -o samples.csv
    python scripts/bench/guacamol.py moses_train.csv.gz samples.csv -o results

The first 10,000 molecules count, as in ``molvae evaluate --guacamol``, whose metrics these are;
nothing else is computed, which takes a third of the time for a large training file. Writes
``results/NAME.json`` for every file of samples, for ``compare.py row guacamol``.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molvae import chem
from molvae.chem.hashing import among, keys_of
from molvae.evaluate.metrics import frechet, guacamol
from molvae.evaluate.references import flat_keys_of
from molvae.evaluate.sources import from_files
from molvae.runtime.files import write_json
from molvae.runtime.pool import WorkerPool
from molvae.runtime.progress import say, set_quiet


def evaluate(train: Path, samples: Sequence[Path], output: Path, workers: int | None) -> None:
    """Write a result for every file of samples."""
    source = from_files(train)
    texts = list(source)
    with WorkerPool(workers) as pool:
        parts = [part for _, part in pool.map_texts("train", flat_keys_of, source, len(texts))]
    known = np.unique(np.concatenate(parts))
    subset = guacamol.reference_subset(texts)
    reference = guacamol.describe(guacamol.flat_smiles(subset))
    moments = frechet.moments([text for text in map(chem.canonical_smiles, subset) if text])
    output.mkdir(parents=True, exist_ok=True)
    for path in samples:
        sample = guacamol.read_sample(from_files(path))
        old = among(keys_of(sample.distinct), known)
        novel = guacamol.novelty(
            sample, list(itertools.compress(sample.distinct, old)), train_is_flat=True
        )
        fcd = frechet.compare(frechet.moments(sample.isomeric), moments)
        metrics = guacamol.combine(sample, reference, novel=novel, rows=len(texts), fcd=fcd)
        write_json(
            output / f"{Path(path.name.removesuffix('.gz')).stem}.json",
            {"metrics": {f"GuacaMol/{name}": vars(m) for name, m in metrics.items()}},
        )
        five = ("validity", "uniqueness", "novelty", "KL", "FCD")
        say(f"{path.name}: {', '.join(f'{name} {metrics[name].value:.4f}' for name in five)}")


def main() -> None:
    """Parse the command line, evaluate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("train", type=Path, help="molecules that the model was trained on")
    parser.add_argument("samples", type=Path, nargs="+", help="files of at least 10,000 molecules")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--workers", type=int, help="processes for the training file")
    options = parser.parse_args()
    set_quiet(False)
    evaluate(options.train, options.samples, options.output, options.workers)


if __name__ == "__main__":
    main()
