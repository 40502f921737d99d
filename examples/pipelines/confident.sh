#!/bin/sh
# Only the groups in which the judge gives one response more than 90 %: id, index and probability.
yoj score "$@" --json --quiet | jq --compact-output 'select((.p_best | max) > 0.9) | {id, best, p: (.p_best | max)}'
