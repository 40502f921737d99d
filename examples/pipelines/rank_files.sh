#!/bin/sh
# One picture, two answers in files, one on standard input.
cd "$(dirname "$0")/.." || exit
echo "A yellow star in the center." |
  yoj rank --image pictures/scene-1.png -r answers/a.txt -r answers/b.txt -r - --model demo --format table
