#!/usr/bin/env bash
# Trains the model that ships as molvae/pretrained/default: the shipped `moses` trained on with
# ZINC250k, whose stereocentres, charges and elements it learns, and as many molecules of MOSES.
#
#   scripts/train_default_model.sh ZINC250K MOSES_TRAIN [RUN_FOLDER] [TIME]
#
# `molvae fetch zinc250k` and `molvae fetch moses` bring the files. Run it again with the same arguments to
# continue an interrupted training; PROCESSES=2 trains with two processes of one thread each. The
# weights are stored in half precision; only a model that is better on held-out molecules should be
# committed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
zinc=${1:?give the file of ZINC250k: scripts/train_default_model.sh ZINC250K MOSES_TRAIN}
moses=${2:?give the training file of MOSES: scripts/train_default_model.sh ZINC250K MOSES_TRAIN}
run=${3:-runs/default}
time=${4:-70m}

mkdir -p "$run.data"
part=$run.data/moses250k.csv.gz
if [ ! -f "$part" ]; then
    # At random: the file's order is not.
    python - "$moses" "$part.new" <<'PYTHON'
import gzip
import random
import sys

with gzip.open(sys.argv[1], "rt") as rows, gzip.open(sys.argv[2], "wt", 1) as some:
    some.write(next(rows))
    some.writelines(random.Random(0).sample(list(rows), 250_000))
PYTHON
    mv "$part.new" "$part"
fi
if [ ! -d "$run.data/both.ds" ]; then
    molvae prepare "$zinc" "$part" -o "$run.data/both.ds" --resume \
        --set data.valid_fraction=0.01 --set data.test_fraction=0.01
fi
launch=(python -m molvae)
if [ "${PROCESSES:-1}" -gt 1 ]; then
    launch=(env OMP_NUM_THREADS=1 python -m torch.distributed.run --standalone
        --nproc-per-node "$PROCESSES" -m molvae)
fi
"${launch[@]}" train "$run.data/both.ds" -o "$run" --from moses --max-time "$time" --seed 1 --resume \
    --set train.learning_rate=4e-3 --set train.kl_weight=0.03 --set train.validations=7 \
    --set train.replay=0 # the data hold molecules of MOSES
python scripts/ship_model.py "$run" default
molvae info default
