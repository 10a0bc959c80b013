"""Add a trained model to the package, in half precision, with its model card.

    python scripts/ship_model.py RUN_OR_MODEL_FOLDER NAME

NAME is ``default`` or ``moses``. Only a model that is better on held-out molecules should be
committed; docs/benchmarks.md then says what it reaches.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from molvae.model.checkpoint import load_model, save_model

MODELS = Path(__file__).resolve().parent.parent / "molvae" / "pretrained"
NOTE = """Shipped with molvae as `{name}`.
The weights, in half precision, the realism critic and the plausibility table are shipped,
but no molecules.

**Data.** {data}

**Intended use.** {use}

**Limits.** The model knows the elements, sizes and properties of its training set only.
The requested properties are computed by RDKit and are models themselves.
None of its molecules was made or tested.
docs/benchmarks.md has its results, and where other models are better.

**Misuse.** Do not use it to design harmful substances.
It knows nothing about toxicity; its molecules must be judged by chemists, under the rules for \
handling chemicals.
"""
NOTES = {
    "moses": (
        "Training molecules of MOSES (Polykovskiy et al. 2020, MIT license), which are "
        "clean leads of ZINC (free to use): 250 to 350 Da, C, N, O, S, F, Cl and Br, "
        "without charges or stereocenters.",
        "The model of the MOSES tables of docs/benchmarks.md (scripts/bench/moses.sh), "
        "and the starting point of `default`.\n"
        "For practical work, use `default`.",
    ),
    "default": (
        "ZINC250k (Gómez-Bombarelli et al. 2018, purchasable compounds of ZINC) and "
        "250,000 training molecules of MOSES (Polykovskiy et al. 2020, MIT license, "
        "clean leads of ZINC); ZINC is free to use.\n"
        "It continues the training of the shipped model `moses` "
        "(scripts/train_default_model.sh).",
        "Trying molvae without training, as a source of drug-like starting points, and "
        "as the starting point for fine-tuning on your own data (`--from default`).",
    ),
}


def main(trained: str, name: str) -> None:
    """Write the model folder, with the card of the training and the note."""
    data, use = NOTES[name]
    model = load_model(trained)
    note = NOTE.format(name=name, data=data, use=use).rstrip()
    card = model.card.split("\nShipped with molvae as ")[0].rstrip()  # of a model shipped before
    save_model(MODELS / name, replace(model, card=f"{card}\n\n{note}\n"), half=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in NOTES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
