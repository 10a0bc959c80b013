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
from molvae import MolVAE

MolVAE.load(sys.argv[1]).save("molvae/models/default", half=True)
PYTHON
molvae info default
