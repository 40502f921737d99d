#!/bin/sh
# Preference pairs for training: the best response against the worst one of every group.
yoj score "$@" --json --quiet | jq --compact-output '
  (.ranks | index(max)) as $worst
  | {prompt, image, video, chosen: .responses[.best], rejected: .responses[$worst]}
  | with_entries(select(.value != null))'
