#!/usr/bin/env bash
# The distribution-learning benchmarks of GuacaMol: draw samples and evaluate them against the
# molecules that the model was trained on. Existing results are kept.
#
#   scripts/bench/guacamol.sh FOLDER TRAIN
#
# Settings by environment variables:
#   MODEL=moses          the model, which must have been trained on TRAIN
#   SEEDS="0"            seeds of samples
#   REALISM="0.5 off"    shares that the critic keeps; off: the network alone
set -euo pipefail
out=${1:?give a folder and the training file: scripts/bench/guacamol.sh FOLDER TRAIN}
train=${2:?give the training file: scripts/bench/guacamol.sh FOLDER TRAIN}
here=$(dirname "${BASH_SOURCE[0]}")
mkdir -p "$out"

samples=()
for realism in ${REALISM:-0.5 off}; do
    options=(--realism "$realism")
    [ "$realism" != off ] || options+=(--novel-rings)
    for seed in ${SEEDS:-0}; do
        made="$out/r${realism}_seed$seed"
        # 10,000 count; repeats are replaced by later molecules, as GuacaMol draws them.
        [ -f "$made.csv" ] ||
            molvae generate -m "${MODEL:-moses}" -n 10500 --no-unique --seed "$seed" \
                "${options[@]}" -o "$made.csv"
        [ -f "$made.json" ] || samples+=("$made.csv")
    done
done
[ ${#samples[@]} -eq 0 ] || python "$here/guacamol.py" "$train" "${samples[@]}" -o "$out"
for realism in ${REALISM:-0.5 off}; do
    python "$here/compare.py" row guacamol --model "molvae, realism $realism" \
        --source "$(date +%F)" "$out/r$realism"_seed*.json
done
