"""The official implementation's numbers, to 1e-4 in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PARITY

TOLERANCE = 1e-4
CLIPS = Path(__file__).parent.parent / "examples" / "clips"


def as_arguments(group: dict[str, Any]) -> dict[str, Any]:
    images = [str(PARITY / group["image"])] if group["image"] else []
    return {"prompt": group["prompt"], "responses": group["responses"], "images": images}


@pytest.mark.parametrize("role", ["assistant", "user"])
@pytest.mark.parametrize("index", range(9))
def test_scores_token_counts_and_ends_equal_the_official_ones(judges, golden, index, role):
    from yoj_cli.media.options import MediaOptions
    from yoj_cli.records.parse import parse

    judge = judges(PARITY / "checkpoint", responses_role=role)
    arguments, wanted = as_arguments(golden[index]), golden[index][role]
    _, built = judge.prepare(parse(arguments), MediaOptions())
    assert built.n_tokens == wanted["n_tokens"]
    assert list(built.score_positions[0]) == wanted["ends"]
    assert judge.score(**arguments).scores == pytest.approx(wanted["scores"], abs=TOLERANCE)


@pytest.mark.parametrize("index", range(9))
def test_single_scores_equal_the_official_separate_passes(judges, golden, index):
    judge = judges(PARITY / "checkpoint", mode="single")
    verdict = judge.score(**as_arguments(golden[index]))
    assert verdict.scores == pytest.approx(golden[index]["single"]["scores"], abs=TOLERANCE)


@pytest.mark.parametrize("index", range(3))
def test_clips_are_sampled_and_scored_as_by_the_official_class(judges, index):
    from yoj_cli.media.load import load
    from yoj_cli.media.options import MediaOptions
    from yoj_cli.records.parse import parse

    wanted = json.loads((PARITY / "clips_golden.json").read_text(encoding="utf-8"))["groups"][index]
    judge = judges(PARITY / "checkpoint", responses_role=wanted["responses_role"])
    arguments = {"prompt": wanted["prompt"], "responses": wanted["responses"]}
    arguments["videos"] = [str(CLIPS / wanted["clip"])]
    group, options = parse(arguments), MediaOptions(max_frames=wanted["max_frames"])
    assert load(group.media[0], options).times_s == pytest.approx(wanted["times_s"], abs=1e-6)
    _, built = judge.prepare(group, options)
    assert built.n_tokens == wanted["n_tokens"]
    assert list(built.score_positions[0]) == wanted["ends"]
    assert judge.score(**arguments, media=options).scores == pytest.approx(wanted["scores"], abs=TOLERANCE)
