#!/bin/sh
# Stop after the first group: the reader closes the pipe, and the run ends quietly.
yoj score "$@" --json --quiet | head -n 1
