#!/usr/bin/env bash
# Make nano from nothing: episodes, vision tokenizer, language model, checkpoint folder.
#
#   tools/train_nano.sh RUN_FOLDER
#
# EPISODES (30000), WORKERS (all cores), TOKENIZER_MINUTES (6), LM_MINUTES (12) by environment.
# PYTHON names the interpreter (python3).
# TOKENIZER names a checkpoint whose vision tokenizer is used instead of training a new one.
# The simulator goes on writing while the tokenizer trains. Every stage goes on where it stopped
# when this is started again with the same folder. The result is RUN_FOLDER/lm/checkpoint.
set -euo pipefail

run=${1:?"usage: tools/train_nano.sh RUN_FOLDER"}
episodes=${EPISODES:-30000}
first=$((episodes < 3000 ? episodes : 3000)) # enough pictures for the tokenizer
emu=("${PYTHON:-python3}" -m emu_planner.cli.main)
mkdir -p "$run"

nice -n 15 "${emu[@]}" data sim --out "$run/data" --episodes "$episodes" \
    --workers "${WORKERS:-$(nproc)}" >"$run/data.log" 2>&1 &
writer=$!
trap 'kill "$writer" 2>/dev/null || true' EXIT

recorded() { cat "$run"/data/shard-*.jsonl 2>/dev/null | wc -l; }
await() { # a number of episodes, or the writer's end
    until [ "$(recorded)" -ge "$1" ] || ! kill -0 "$writer" 2>/dev/null; do sleep 1; done
}

tokenizer=${TOKENIZER:-$run/tokenizer/checkpoint}
if [ -z "${TOKENIZER:-}" ]; then
    await $((first * 95 / 100)) # some episodes are dropped
    "${emu[@]}" train tokenizer --data "$run/data" --out "$run/tokenizer" \
        --steps 0 --minutes "${TOKENIZER_MINUTES:-6}" --limit 60000 --rate 8e-4
fi
wait "$writer"
"${emu[@]}" train lm --data "$run/data" --tokenizer "$tokenizer" --out "$run/lm" \
    --steps 0 --minutes "${LM_MINUTES:-12}"
echo "nano: $run/lm/checkpoint"
