"""An evaluation as a log that Inspect (inspect-ai, MIT) reads and shows, written without its library.

The form is a zip of JSON documents: a sample a group as it comes, then summaries.json, reductions and header.json.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from yoj_cli.errors import MediaError
from yoj_cli.evaluate.document import plain
from yoj_cli.evaluate.evaluation import Evaluation
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.positions import winners
from yoj_cli.evaluate.saved import SavedRun
from yoj_cli.groups import Media, shorten
from yoj_cli.verdicts.agreement import agreement

PICTURE_PX = 800
"""The longer side of a picture in a log, at most."""
MAX_NAME = 200
"""Characters of an id as a name in the archive, which takes 65,535 bytes."""


class InspectLog:
    """Writes one log; complete after `finish`, and until then no file of that name is there."""

    def __init__(self, path: Path, run: SavedRun) -> None:
        self._path, self._run = path, run
        self._partial = path.with_name(f".{path.name}.tmp")
        self._zip = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED)
        self._summaries: list[dict[str, Any]] = []
        self._seen: Counter[str] = Counter()
        self._started = _now()

    def __enter__(self) -> InspectLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # a full disk, which another error is about
            self._zip.close()
        self._partial.unlink(missing_ok=True)

    def add(self, judged: Judged) -> None:
        """Write one group's sample; ids that repeat are told apart."""
        plain_id = _file_name(judged.id)  # Inspect looks for a file of the sample's id
        self._seen[plain_id] += 1
        n = self._seen[plain_id]
        name = plain_id if n == 1 else f"{plain_id}#{n}"
        sample = _sample(judged, name)
        self._write(f"samples/{name}_epoch_1.json", sample)
        summary = {key: sample[key] for key in ("id", "epoch", "input", "choices", "target", "metadata")}
        summary["input"] = _shown(judged)
        summary["scores"] = sample["scores"]
        if "error" in sample:
            summary["error"] = sample["error"]["message"]
        self._summaries.append({**summary, "completed": True, "message_count": len(sample["messages"])})

    def finish(self, evaluation: Evaluation) -> None:
        """Write the header with the figures, and give the file its name."""
        self._write("summaries.json", self._summaries)
        header = _header(self._run, evaluation, self._started, self._summaries)
        self._write("header.json", header)
        self._zip.close()
        self._partial.replace(self._path)

    def _write(self, name: str, document: Any) -> None:
        self._zip.writestr(name, json.dumps(plain(document), ensure_ascii=True))


def _file_name(identifier: str) -> str:
    """An id as a zip archive can hold it."""
    whole = identifier.encode("utf-8", "replace").decode("utf-8")
    return re.sub(r"[/\\\0]", "_", whole)[:MAX_NAME]


def _header(
    run: SavedRun, evaluation: Evaluation, started: str, summaries: list[dict[str, Any]]
) -> dict[str, Any]:
    n = len(summaries)
    ids = [summary["id"] for summary in summaries]
    metrics = {
        figure.name: {"name": figure.name, "value": figure.value, "params": {}, "metadata": _interval(figure)}
        for figure in (*evaluation.headline, *evaluation.figures)
    }
    stamp = started.replace(":", "-").replace("+", "-")
    spec = {
        "run_id": f"yoj-{stamp}",
        "created": started,
        "task": run.name,
        "task_id": f"yoj-{run.name}-{stamp}",
        "task_version": 0,
        "task_attribs": {},
        "task_args": {},
        "dataset": {"name": run.source, "samples": n, "sample_ids": ids, "shuffled": False},
        "model": f"yoj/{run.scorer}",
        "model_args": {},
        "config": {},
        "packages": {},
        "metadata": {"reading": run.reading, "judge": dict(run.judge)},
    }
    scorer = {
        "name": "yoj",
        "scorer": "yoj",
        "scored_samples": n - evaluation.n_failed - evaluation.n_unranked,
        "unscored_samples": evaluation.n_failed + evaluation.n_unranked,
        "params": {},
        "metrics": metrics,
    }
    return {
        "version": 2,
        "status": "success",
        "eval": spec,
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {"total_samples": n, "completed_samples": n - evaluation.n_failed, "scores": [scorer]},
        "stats": {"started_at": started, "completed_at": _now(), "model_usage": {}},
    }


def _interval(figure: Any) -> dict[str, Any]:
    return {"low": figure.low, "high": figure.high, "n": figure.n, "counted": figure.counted}


def _sample(judged: Judged, name: str) -> dict[str, Any]:
    """One group: its conversation as messages, its responses as choices, C or I as the score."""
    responses = list(judged.group.responses) if judged.group else []
    gold = [i for i, rank in enumerate(judged.rankings or ()) if rank == min(judged.rankings or (0,))]
    sample: dict[str, Any] = {
        "id": name,
        "epoch": 1,
        "input": _shown(judged),
        "choices": responses or None,
        "target": [_letter(i) for i in gold],
        "messages": _messages(judged),
        "output": {"model": "yoj", "choices": []},
        "scores": {"yoj": _score(judged)} if judged.scores else {},
        "metadata": {
            "id": judged.id,
            "where": judged.where,
            "category": judged.category,
            "cluster": judged.cluster,
        },
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
    }
    if judged.error is not None:
        message = judged.error["message"]
        sample["error"] = {"message": message, "traceback": message, "traceback_ansi": message}
    return sample


def _score(judged: Judged) -> dict[str, Any]:
    best = judged.scores.index(max(judged.scores))
    hit = agreement(judged.scores, judged.rankings).best if judged.is_gold and judged.rankings else None
    return {
        "value": "N" if hit is None else "C" if hit == 1 else "I" if hit == 0 else "P",
        "answer": _letter(best),
        "metadata": {
            "scores": list(judged.scores),
            "p_best": list(judged.p_best),
            "rankings": list(judged.rankings or ()),
            "order": list(judged.order or ()),
            "n_winners": len(winners(judged.scores)),
        },
    }


def _messages(judged: Judged) -> list[dict[str, Any]]:
    """The conversation, then the responses, the best one first."""
    if judged.group is None:
        return []
    found = []
    for turn in judged.group.messages:
        content: list[dict[str, Any]] = []
        for block in turn.blocks:
            content.append(_picture(block) if isinstance(block, Media) else {"type": "text", "text": block})
        role = turn.role if turn.role in ("system", "user", "assistant") else "user"
        found.append({"role": role, "content": content})
    order = sorted(range(len(judged.scores)), key=lambda i: -judged.scores[i])
    lines = [
        f"{_letter(i)}  score {judged.scores[i]:.4f}  P(best) {judged.p_best[i]:.4f}"
        f"{_gold(judged, i)}\n{judged.group.responses[i]}"
        for i in order
    ]
    found.append({"role": "assistant", "content": [{"type": "text", "text": "\n\n".join(lines)}]})
    return found


def _gold(judged: Judged, i: int) -> str:
    return f"  gold rank {judged.rankings[i]:g}" if judged.rankings is not None else ""


def _picture(media: Media) -> dict[str, Any]:
    """A picture as a data URL; a clip, and a picture that cannot be read, by its name."""
    source = media.source if isinstance(media.source, str) else "in memory"
    if media.kind == "image":
        from yoj_cli.media.data_url import jpeg_data_url
        from yoj_cli.media.load import Picture, load

        with suppress(
            MediaError
        ):  # from the network, say: only its bytes at the time of judging would be true
            found = load(media)
            if isinstance(found, Picture):
                return {"type": "image", "image": jpeg_data_url(found.image, PICTURE_PX)}
    return {"type": "text", "text": f"[{media.kind}: {shorten(source)}]"}


def _shown(judged: Judged) -> str:
    return judged.group.prompt if judged.group else ""


def _letter(i: int) -> str:
    """A, B, … Z, then 27, 28, …"""
    return chr(65 + i) if i < 26 else str(i + 1)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
