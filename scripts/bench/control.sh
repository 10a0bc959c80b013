#!/usr/bin/env bash
# The conditional benchmark with one model for all requests: the target values of MolGPT for MOSES, in
# one shot and with the exact critic, ranges, values far from the data, its values for GuacaMol (other
# training data, not comparable), and the cost of conditioning in realism.
#
#   scripts/bench/control.sh FOLDER [TRAIN TEST [ZINC250K]]
#
# TRAIN and TEST are MOSES' files; all three are fetched if they are not given, and without
# ZINC250K alone its part is left out. Existing results are kept.
# Settings by environment variables:
#   MODEL=moses      the model; EACH=1000 molecules per target; CANDIDATES=8 for the critic
#   ZINC_MODEL=…     a model of ZINC250k alone, for the far values of STGG+
#   GUIDANCES=""     guidance weights to compare with the default, such as "1 3"
#   SEEDS="0"        seeds of samples
set -euo pipefail
out=${1:?give a folder for the results: scripts/bench/control.sh FOLDER}
MODEL=${MODEL:-moses} EACH=${EACH:-1000} CANDIDATES=${CANDIDATES:-8}
GUIDANCES=${GUIDANCES:-} SEEDS=${SEEDS:-0}
here=$(dirname "${BASH_SOURCE[0]}")
ZINC_MODEL=${ZINC_MODEL:-$here/models/zinc250k}
mkdir -p "$out"

if [ $# -ge 3 ]; then
    train=$2 test=$3 zinc=${4:-}
else
    molvae fetch moses -o "$out/data"
    molvae fetch zinc250k -o "$out/data"
    zinc=$(ls "$out"/data/*zinc250k*)
    train=$(ls "$out"/data/*train*) test=$(ls "$out"/data/*test.* | grep -v scaffold)
fi

ask() { # NAME OPTIONS...
    local made="$out/$1"
    shift
    [ -f "$made.json" ] ||
        python "$here/control.py" "$MODEL" --each "$EACH" --candidates "$CANDIDATES" "$@" \
            -o "$made.json" > "$made.md"
    cat "$made.md"
}

for seed in $SEEDS; do
    ask "points_seed$seed" --seed "$seed" --train "$train"
    ask "guacamol_seed$seed" --seed "$seed" --parts guacamol --train "$train"
    ask "realism_seed$seed" --seed "$seed" --parts realism --test "$test"
    [ -z "$zinc" ] ||
        MODEL=$ZINC_MODEL EACH=2000 ask "stgg_seed$seed" --seed "$seed" --parts stgg --train "$zinc"
    for weight in $GUIDANCES; do
        ask "points_seed${seed}_guidance$weight" --seed "$seed" --guidance "$weight" --train "$train"
    done
done
