"""Evaluations and comparisons as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from yoj_cli.evaluate.compare import Comparison
from yoj_cli.evaluate.evaluation import Evaluation
from yoj_cli.verdicts.intervals import LEVEL, N_RESAMPLES
from yoj_cli.version import __version__


def document_of(evaluations: Sequence[Evaluation], **further: Any) -> dict[str, Any]:
    """Everything that was computed; shares are 0 to 1, null where there is no figure."""
    return {**_document([asdict(each) for each in evaluations], "evaluations"), **plain(further)}


def comparison_document(comparisons: Sequence[tuple[str, str, str, Comparison]]) -> dict[str, Any]:
    """Args: of each set, its name, the two scorers, and what was found."""
    return _document(
        [
            {"name": name, "first": first, "second": second, **asdict(found)}
            for name, first, second, found in comparisons
        ],
        "comparisons",
    )


def _document(found: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {
        "yoj": __version__,
        "interval_level": LEVEL,
        "n_resamples": N_RESAMPLES,
        key: [plain(each) for each in found],
    }


def plain(value: Any) -> Any:
    """The same without NaN, which is not JSON."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
