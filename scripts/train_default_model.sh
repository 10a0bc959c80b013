#!/usr/bin/env bash
# Trains the model that ships as molvae/models/default: the `small` preset on ZINC250k.
#
#   scripts/train_default_model.sh zinc250k.csv.gz [RUN_FOLDER] [TIME]
#
# Run it again with the same arguments to continue an interrupted training. The weights are stored
# in half precision; only a model that is better on held-out molecules should be committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
data=${1:?give a file of SMILES, such as ZINC250k: scripts/train_default_model.sh FILE}
run=${2:-runs/default}
time=${3:-65m}

molvae train "$data" -o "$run" --preset small --max-time "$time" --seed 1 --resume
python - "$run" <<'PYTHON'
import sys
from dataclasses import replace

from molvae.checkpoint import load_model, save_model

NOTE = """
Shipped with molvae as `default`; made by scripts/train_default_model.sh on a CPU. Only the weights are
shipped, no molecules. Half precision.

Intended use: trying molvae without training, and as a source of drug-like starting points. Limits: it
knows the elements, sizes and properties of its training set only; the properties it is asked for
are computed by RDKit, which are models themselves; the reconstruction of a given molecule often
fails. Do not use it to design harmful substances.
"""
model = load_model(sys.argv[1])
save_model("molvae/models/default", replace(model, card=model.card + NOTE), half=True)
PYTHON
molvae info default
