#!/usr/bin/env bash
# The distribution-learning benchmarks of GuacaMol: draw samples and evaluate them against the
# molecules that the model was trained on. Existing results are kept.
#
#   scripts/bench/guacamol.sh FOLDER TRAIN
#
# For samples of another program: molvae evaluate SAMPLES.csv --train TRAIN --guacamol -o OUT.json
# Settings by environment variables:
#   MODEL=moses          the model, which must have been trained on TRAIN
#   SEEDS="0 1 2"        seeds of samples
#   REALISM="0.5 off"    shares that the critic keeps; off: the network alone
set -euo pipefail
out=${1:?give a folder and the training file: scripts/bench/guacamol.sh FOLDER TRAIN}
train=${2:?give the training file: scripts/bench/guacamol.sh FOLDER TRAIN}
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$out"

for realism in ${REALISM:-0.5 off}; do
    options=(--realism "$realism")
    [ "$realism" != off ] || options+=(--novel-rings)
    results=()
    for seed in ${SEEDS:-0 1 2}; do
        made="$out/seed${seed}_r$realism"
        # 10,000 count; repeats are replaced by later molecules, as GuacaMol draws them.
        [ -f "$made.csv" ] ||
            molvae generate -m "${MODEL:-moses}" -n 10500 --no-unique --seed "$seed" \
                "${options[@]}" -o "$made.csv"
        [ -f "$made.json" ] ||
            molvae evaluate "$made.csv" --train "$train" --guacamol --sample 1000 --bootstrap 0 \
                -o "$made.json"
        results+=("$made.json")
    done
    python "$here/compare.py" row guacamol --model "molvae r$realism" --source "$(date +%F)" \
        "${results[@]}"
done
