#!/usr/bin/env bash
# The MOSES benchmark: train on its training set alone, draw 30,000 molecules, evaluate them against
# its two test sets. Existing results are kept, so that the same command continues the work.
#
#   scripts/bench/moses.sh FOLDER [TRAIN TEST TEST_SCAFFOLDS]
#
# Without files they are fetched. Settings by environment variables:
#   PRESET=small  TIME=150m  PROCESSES=2   of each training (torchrun with more than one process)
#   TRAININGS="1"                          seeds of trainings; three on a GPU
#   OPTIONS=                               more options of train, such as "--from moses --set train.replay=0" to continue from those weights
#   SAMPLES="0 1 2"                        seeds of samples, at temperature 1
#   TEMPERATURES="0.8 0.9 1.1"             others, one sample each
#   CUTOFFS=""                             epsilon cutoffs, at temperature 1 with the same seeds
#   MODEL=                                 a model to evaluate in place of training one
#   FILTERS=                               folder with MOSES' mcf.csv and wehi_pains.csv
set -euo pipefail
out=${1:?give a folder for the results: scripts/bench/moses.sh FOLDER}
PRESET=${PRESET:-small} TIME=${TIME:-150m} PROCESSES=${PROCESSES:-2}
TRAININGS=${TRAININGS:-1} SAMPLES=${SAMPLES:-0 1 2} TEMPERATURES=${TEMPERATURES:-0.8 0.9 1.1}
CUTOFFS=${CUTOFFS:-}
read -ra options <<< "${OPTIONS:-}"
mkdir -p "$out"

if [ $# -ge 4 ]; then
    train=$2 test=$3 scaffolds=$4
else
    molvae fetch moses -o "$out/data"
    train=$(ls "$out"/data/*train*) test=$(ls "$out"/data/*test.* | grep -v scaffold)
    scaffolds=$(ls "$out"/data/*scaffold*)
fi

if [ -z "${MODEL:-}" ] && [ ! -d "$out/moses.ds" ]; then
    molvae prepare "$train" -o "$out/moses.ds" \
        --set data.valid_fraction=0.01 --set data.test_fraction=0.01
fi

judge() { # MODEL NAME SEED TEMPERATURE [CUTOFF]
    local made="$out/$2_seed$3_t$4${5:+_e$5}"
    [ -f "$made.csv" ] ||
        molvae generate -m "$1" -n 30000 --no-unique --seed "$3" --temperature "$4" \
            --epsilon-cutoff "${5:-0}" -o "$made.csv"
    [ -f "$made.json" ] ||
        molvae evaluate "$made.csv" --train "$train" --test "$test" --test-scaffolds "$scaffolds" \
            ${FILTERS:+--filters-from "$FILTERS"} -o "$made.json"
}

sample() { # MODEL NAME
    local seed temperature cutoff
    for seed in $SAMPLES; do judge "$1" "$2" "$seed" 1; done
    for temperature in $TEMPERATURES; do judge "$1" "$2" 0 "$temperature"; done
    for cutoff in $CUTOFFS; do
        for seed in $SAMPLES; do judge "$1" "$2" "$seed" 1 "$cutoff"; done
    done
}

if [ -n "${MODEL:-}" ]; then
    sample "$MODEL" given
else
    launch=(python -m molvae)
    if [ "$PROCESSES" -gt 1 ]; then
        launch=(env OMP_NUM_THREADS=1 python -m torch.distributed.run --standalone
            --nproc-per-node "$PROCESSES" -m molvae)
    fi
    # A model that is trained further keeps its sizes.
    case " ${OPTIONS:-} " in *" --from"[\ =]*) ;; *) options+=(--preset "$PRESET") ;; esac
    for training in $TRAININGS; do
        "${launch[@]}" train "$out/moses.ds" -o "$out/run$training" --max-time "$TIME" \
            --seed "$training" --resume "${options[@]}"
        sample "$out/run$training" "training$training"
    done
fi

python "$(dirname "${BASH_SOURCE[0]}")/moses_table.py" "$out"
