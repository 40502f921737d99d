"""A reward for any trainer, over HTTP: the trainer's process loads no judge.

    rewards = group_rewards(judge, prompts, completions)

Completions of one prompt are one group: they are read together, which is what the judge was trained on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby

from yoj_cli import Failure, RemoteJudge


def group_rewards(
    judge: RemoteJudge, prompts: Sequence[str], completions: Sequence[str]
) -> list[float | None]:
    """A score for each completion; None where its group could not be judged.

    Args:
        prompts: of each completion; equal ones stand beside each other, as trainers make them.
    """
    grouped = [
        list(each) for _, each in groupby(zip(prompts, completions, strict=True), key=lambda pair: pair[0])
    ]
    records = [{"prompt": pairs[0][0], "responses": [text for _, text in pairs]} for pairs in grouped]
    rewards: list[float | None] = []
    for pairs, item in zip(grouped, judge.score_groups(records), strict=True):
        rewards += [None] * len(pairs) if isinstance(item, Failure) else item.scores
    return rewards


if __name__ == "__main__":
    with RemoteJudge(sys.argv[1] if len(sys.argv) > 1 else None) as server:
        print(group_rewards(server, ["2 + 2?"] * 2 + ["Sky?"] * 2, ["4", "5", "blue", "green"]))
