#!/usr/bin/env bash
# Make nano from nothing: episodes, vision tokenizer, language model, checkpoint folder.
#
#   tools/train_nano.sh RUN_FOLDER
#
# The simulator writes from the first second to the last; both trainings take in what it has
# finished, so the language model hardly sees an episode twice. Every stage goes on where it
# stopped when this is started again with the same folder. The result is RUN_FOLDER/lm/checkpoint.
#
# By environment:
#   SIZE               nano (288 codes a picture) or coarse (128)
#   EPISODES           most that are written (200000)
#   WORKERS            processes of the simulator (all processors)
#   TOKENIZER_MINUTES, LM_MINUTES   length of the trainings (7, 12)
#   DATA               a folder that another run fills with episodes; then no simulator is started:
#                      on a machine with two GPUs, two sizes can learn from one simulator
#   TOKENIZER          a checkpoint whose vision tokenizer is used instead of training a new one
#   INIT               a checkpoint whose words and weights the language model begins with, as nano
#   STEPS              imagined (the default: each skill's outcome is set) or executed (the robot moves): data sim --steps
#   DATA_OPTIONS, TOKENIZER_OPTIONS, LM_OPTIONS   more words for `data sim`, `train tokenizer` (--limit 120000) and
#                      `train lm` (--visual-weight 0.15 --openings 0.45 --captions 0.25 --history 0.5)
#   CODERS             devices of the processes that code pictures for the language model, by commas
#                      (four on the last GPU; none without one)
#   PYTHON             the interpreter (python3)
set -euo pipefail

run=${1:?"usage: tools/train_nano.sh RUN_FOLDER"}
data=${DATA:-$run/data}
emu=("${PYTHON:-python3}" -m emu_planner.cli.main)
mkdir -p "$run" "$data"

if [ -z "${DATA:-}" ]; then
    OMP_NUM_THREADS=1 nice -n 15 "${emu[@]}" data sim --out "$data" --episodes "${EPISODES:-200000}" \
        --steps "${STEPS:-imagined}" ${DATA_OPTIONS:-} ${WORKERS:+--workers "$WORKERS"} >"$run/data.log" 2>&1 &
    writer=$!
    # what it has not finished is written by the next run
    trap 'kill "$writer" 2>/dev/null || true' EXIT
fi

tokenizer=${TOKENIZER:-$run/tokenizer/checkpoint}
if [ -z "${TOKENIZER:-}" ] && [ ! -e "$run/tokenizer/done" ]; then
    "${emu[@]}" train tokenizer --size "${SIZE:-nano}" --data "$data" --out "$run/tokenizer" \
        --steps 0 --minutes "${TOKENIZER_MINUTES:-7}" --rate 8e-4 ${TOKENIZER_OPTIONS:---limit 120000}
    touch "$run/tokenizer/done"
fi
last='import torch; n = torch.cuda.device_count(); print(",".join([f"cuda:{n - 1}"] * 4) if n else "")'
coders=${CODERS-$("${emu[0]}" -c "$last")}
"${emu[@]}" train lm --data "$data" --tokenizer "$tokenizer" --out "$run/lm" ${INIT:+--init "$INIT"} \
    --coders "$coders" --steps 0 --minutes "${LM_MINUTES:-12}" \
    ${LM_OPTIONS:---visual-weight 0.15 --openings 0.45 --captions 0.25 --history 0.5}
echo "nano: $run/lm/checkpoint"
