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
#   REALISM="0.5 off"                      shares that the critic keeps; off: the network alone
#   TEMPERATURES="0.8 0.9 1.1"             other temperatures, one sample each, without realism
#   CUTOFFS=""                             epsilon cutoffs, at temperature 1, without realism
#   MODEL=                                 a model to evaluate in place of training one
#   FILTERS=                               folder with MOSES' mcf.csv and wehi_pains.csv
set -euo pipefail
out=${1:?give a folder for the results: scripts/bench/moses.sh FOLDER}
PRESET=${PRESET:-small} TIME=${TIME:-150m} PROCESSES=${PROCESSES:-2}
TRAININGS=${TRAININGS:-1} SAMPLES=${SAMPLES:-0 1 2} TEMPERATURES=${TEMPERATURES:-0.8 0.9 1.1}
CUTOFFS=${CUTOFFS:-} REALISM=${REALISM:-0.5 off} here=$(dirname "${BASH_SOURCE[0]}")
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

judge() { # MODEL NAME SEED TEMPERATURE REALISM [CUTOFF]
    local made="$out/$2_seed$3_t$4_r$5${6:+_e$6}" realism=(--realism "$5")
    [ "$5" != off ] || realism+=(--novel-rings)
    [ -f "$made.csv" ] ||
        molvae generate -m "$1" -n 30000 --no-unique --seed "$3" --temperature "$4" \
            "${realism[@]}" --epsilon-cutoff "${6:-0}" -o "$made.csv"
    [ -f "$made.json" ] ||
        molvae evaluate "$made.csv" --train "$train" --test "$test" --test-scaffolds "$scaffolds" \
            ${FILTERS:+--filters-from "$FILTERS"} -o "$made.json"
}

sample() { # MODEL NAME
    local seed temperature cutoff realism
    for realism in $REALISM; do
        for seed in $SAMPLES; do judge "$1" "$2" "$seed" 1 "$realism"; done
    done
    for temperature in $TEMPERATURES; do judge "$1" "$2" 0 "$temperature" off; done
    for cutoff in $CUTOFFS; do
        for seed in $SAMPLES; do judge "$1" "$2" "$seed" 1 off "$cutoff"; done
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

# A row of docs/results/moses.csv for each setting, its seeds together.
(cd "$out" && ls -- *_seed*_r*.json) | sed -E 's/^(.*)_seed[0-9]+(.*)\.json$/\1 \2/' | sort -u |
    while read -r name setting; do
        python "$here/compare.py" row moses --model "molvae $name$setting" --source "$(date +%F)" \
            "$out/$name"_seed*"$setting.json"
    done
