#!/bin/sh
# Ask a server with curl: sh score.sh [URL]. With a key: YOJ_API_KEY=... sh score.sh URL
set -eu
url=${1:-http://127.0.0.1:8321}
here=$(dirname "$0")
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
post() { curl --silent --show-error --fail-with-body --retry 5 --config "$tmp/key" "$@"; }

# The key stands in a file, where the list of processes does not show it.
(umask 077 && printf '%s' "${YOJ_API_KEY:+header = \"Authorization: Bearer $YOJ_API_KEY\"}" > "$tmp/key")

# 1. Wait until the judge is loaded.
curl --silent --show-error --fail --output /dev/null --retry 120 --retry-delay 1 --retry-all-errors "$url/ready"

# 2. One group: a record in, a record out.
post "$url/v1/groups" --json '{"prompt": "What is 2 + 2?", "responses": ["4", "5", "It is four."]}' --write-out '\n'

# 3. A picture goes along as a data: URL.
picture=$(base64 < "$here/../pictures/scene-1.png" | tr -d '\n')
printf '{"image": "data:image/png;base64,%s", "responses": ["A red circle.", "A yellow star."]}' "$picture" > "$tmp/group"
post "$url/v1/groups" --json "@$tmp/group" --write-out '\n' | sed 's/.*"scores"/{"scores"/'

# 4. A file of groups: a line each, answered as they come; `| jq .best` says which is best.
printf '%s\n' \
    '{"id": 1, "prompt": "Is ice cold?", "responses": ["yes", "no"]}' \
    '{"id": 2, "prompt": "Is fire cold?", "responses": ["yes", "no"]}' |
    post "$url/v1/groups" -H 'Content-Type: application/x-ndjson' --data-binary @- --no-buffer
