"""Files of verdicts as `yoj score` writes them, made by hand."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoj_cli.records.parse import parse
from yoj_cli.render.writers import render_json
from yoj_cli.verdicts.record import to_record
from yoj_cli.verdicts.verdict import build_verdict

JUDGE = {"model": "demo", "mode": "multi", "max_frames": 16}


def verdict_line(record: Mapping[str, Any], scores: Sequence[float], **options: Any) -> dict[str, Any]:
    """The output line of a record; `options` are `build_verdict`'s, and "judge"."""
    judge = {**JUDGE, **options.pop("judge", {})}
    return to_record(build_verdict(parse(record), scores, **options), judge)


def failed_line(record: Mapping[str, Any], kind: str, message: str) -> dict[str, Any]:
    return {**record, "error": {"type": kind, "message": message}}


def write_verdicts(path: Path, lines: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(render_json(line) + "\n" for line in lines), encoding="utf-8")
    return path


WORDS = (
    "the",
    "a",
    "judge",
    "reads",
    "one",
    "prompt",
    "with",
    "four",
    "answers",
    "and",
    "picks",
    "which",
    "is",
    "best",
)


def many_lines(n: int, *, seed: int = 0, words: int = 40) -> list[dict[str, Any]]:
    """n ranked groups of four responses; the judge is right more often than not, and sometimes fails."""
    rng = random.Random(seed)

    def text(n_words: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, n_words))).capitalize() + "."

    lines = []
    for number in range(n):
        rankings = rng.sample([1, 2, 3, 4], 4)
        record = {
            "id": f"group-{number:04}",
            "prompt": text(20),
            "responses": [text(words) for _ in range(4)],
            "rankings": rankings,
        }
        if number % 50 == 49:
            lines.append(failed_line(record, "MediaError", f"{number}.png: there is no such file"))
            continue
        scores = [2.0 - rank + rng.gauss(0, 1.5) for rank in rankings]
        spread = [abs(rng.gauss(0, 0.4)) for _ in rankings]
        lines.append(verdict_line(record, scores, spread=spread, order_agreement=0.5, n_orders=2))
    return lines
