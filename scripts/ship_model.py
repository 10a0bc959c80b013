"""Put a trained model into the package, in half precision, with what its users must know.

    python scripts/ship_model.py RUN_OR_MODEL_FOLDER NAME

NAME is ``default`` or ``moses``. Only a model that is better on held-out molecules should be
committed; docs/benchmarks.md then says what it reaches.
"""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

from molvae.model.checkpoint import load_model, save_model

MODELS = Path(__file__).resolve().parent.parent / "molvae" / "pretrained"
NOTE = """Shipped with molvae as `{name}`. Only the weights are shipped, no molecules.
Half precision.

Data: {data}

Intended use: {use}

Limits: it knows the elements, sizes and properties of its training set only; the properties it is
asked for are computed by RDKit, which are models themselves; nothing it makes was ever made or
tested. docs/benchmarks.md has its figures, and where others are better.

Misuse: do not use it to design harmful substances. It knows nothing of toxicity; what it makes is
for chemists to judge, under the rules for the handling of chemicals.
"""
NOTES = {
    "moses": (
        "training molecules of MOSES (Polykovskiy et al. 2020, MIT licence), which are clean leads "
        "of ZINC (free to use): 250 to 350 Da, C, N, O, S, F, Cl and Br without charges or "
        "stereocentres.",
        "the model of the MOSES tables of docs/benchmarks.md (scripts/bench/moses.sh), and the "
        "start of `default`. For work, take `default`.",
    ),
    "default": (
        "ZINC250k (Gómez-Bombarelli et al. 2018, purchasable compounds of ZINC) and 250,000 "
        "training molecules of MOSES (Polykovskiy et al. 2020, MIT licence, clean leads of ZINC); "
        "ZINC is free to use. Trained on from the shipped model `moses` by "
        "scripts/train_default_model.sh.",
        "trying molvae without training, as a source of drug-like starting points, and as the "
        "start of trainings on data of one's own (--from default).",
    ),
}


def main(trained: str, name: str) -> None:
    """Write the model folder, with the card of the training and the note."""
    data, use = NOTES[name]
    model = load_model(trained)
    note = NOTE.format(name=name, data=data, use=use)
    note = "\n\n".join(textwrap.fill(part, 100) for part in note.split("\n\n"))
    card = model.card.split("\nShipped with molvae as ")[0].rstrip()  # of a model shipped before
    save_model(MODELS / name, replace(model, card=f"{card}\n\n{note}\n"), half=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in NOTES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
