"""Families, and how a decoder is loaded."""

from __future__ import annotations

import pytest

from yoj_cli.errors import InputError
from yoj_cli.inputs.records import Media
from yoj_cli.judge.family import family_of


def test_an_unknown_architecture_is_read_as_a_text_only_decoder():
    family = family_of("llama")
    family.check_media([])
    with pytest.raises(InputError, match="llama\\) reads text only"):
        family.check_media([Media("image", "a.png")])


def test_a_text_only_decoder_judges_text(tmp_path, judges):
    """The Qwen3-VL test tokenizer on a plain Qwen3: no processor, no media, one row of positions."""
    import json

    from tests.adapters import make_text_only
    from tests.tiny_qwen3_vl import make_checkpoint

    donor = make_checkpoint(tmp_path / "donor")
    folder = make_text_only(tmp_path / "text", donor)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen3"
    together = judges(folder, mode="single").score(prompt="p", responses=["a", "b c"])
    alone = [judges(folder).score(prompt="p", responses=[text]).scores[0] for text in ("a", "b c")]
    assert together.scores == pytest.approx(alone, abs=1e-4)
