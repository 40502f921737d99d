"""The best of N candidates from a server's judge: python best_of_n.py [URL]

Without an address YOJ_SERVER is asked; YOJ_API_KEY is the key, where the server wants one.
"""

import sys
from pathlib import Path

from yoj_cli import Failure, RemoteJudge, read_groups

EXAMPLES = Path(__file__).parent.parent

with RemoteJudge(sys.argv[1] if len(sys.argv) > 1 else None) as judge:
    print(f"judged by {judge.description['model']}", file=sys.stderr)

    # One group; the picture is read here and sent along.
    verdict = judge.score(
        images=[EXAMPLES / "pictures" / "scene-1.png"],
        responses=["A red circle in the top left.", "A yellow star in the center."],
    )
    print(f"{verdict.p_best[verdict.best]:4.0%}  {verdict.group.responses[verdict.best]}")

    # A stream: several requests are under way, results come in order.
    for item in judge.score_groups(read_groups(str(EXAMPLES / "candidates.jsonl"))):
        if isinstance(item, Failure):
            print(item.error, file=sys.stderr)
        else:
            print(f"{item.p_best[item.best]:4.0%}  {item.group.responses[item.best]}")
