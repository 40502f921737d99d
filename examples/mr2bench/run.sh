#!/bin/sh
# From votes to a figure: sh examples/mr2bench/run.sh FOLDER [QUESTIONS]
set -eu
here=$(dirname "$0")
out=$1
python "$here/make_votes.py" --groups "${2:-40}" --out "$out"
yoj votes rank "$out/votes.jsonl" --texts "$out/texts.jsonl" -o "$out/ranked.jsonl"
yoj votes sample "$out/ranked.jsonl" --n 4 --unique-best --seed 0 -o "$out/groups.jsonl"
yoj eval "$out/groups.jsonl" -m demo --save "$out/runs"
