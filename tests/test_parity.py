"""The official implementation's numbers, to 1e-4 in float32."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import PARITY

TOLERANCE = 1e-4


def as_arguments(group: dict[str, Any]) -> dict[str, Any]:
    images = [str(PARITY / group["image"])] if group["image"] else []
    return {"prompt": group["prompt"], "responses": group["responses"], "images": images}


@pytest.mark.parametrize("layout", ["assistant", "user"])
@pytest.mark.parametrize("index", range(9))
def test_scores_token_counts_and_ends_equal_the_official_ones(judges, golden, index, layout):
    from yoj_cli.inputs.media import MediaOptions
    from yoj_cli.inputs.records import parse

    judge = judges(PARITY / "checkpoint", layout=layout)
    arguments, wanted = as_arguments(golden[index]), golden[index][layout]
    _, built = judge.prepare(parse(arguments), MediaOptions())
    assert built.n_tokens == wanted["n_tokens"]
    assert list(built.ends[0]) == wanted["ends"]
    assert judge.score(**arguments).scores == pytest.approx(wanted["scores"], abs=TOLERANCE)


@pytest.mark.parametrize("index", range(9))
def test_single_scores_equal_the_official_separate_passes(judges, golden, index):
    judge = judges(PARITY / "checkpoint", mode="single")
    verdict = judge.score(**as_arguments(golden[index]))
    assert verdict.scores == pytest.approx(golden[index]["single"]["scores"], abs=TOLERANCE)
