#!/bin/sh
# The best response of every group, one line each: sh best_of_n.sh candidates.jsonl --model demo
yoj score "$@" --json --quiet | jq --raw-output '.responses[.best]'
