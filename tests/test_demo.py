"""The embedded judge: small, offline, and right about scenes it has never seen."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from yoj_cli.records.parse import parse

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "yoj_cli" / "demo"
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module")
def heldout(tmp_path_factory):
    """Groups of four on fresh held-out scenes: 60 with a picture, 60 with a clip."""
    folder = str(ROOT / "examples" / "demo_judge")
    sys.path.insert(0, folder)
    try:
        make_data = importlib.import_module("make_data")
    finally:
        sys.path.remove(folder)
    out = tmp_path_factory.mktemp("scenes")
    return make_data.write_groups(out, n_pictures=60, n_clips=60, n_responses=(4, 4), split="heldout", seed=7)


def test_it_is_small_and_holds_no_pickle():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.suffix for path in files} <= {".json", ".jinja", ".safetensors", ".md"}


def test_it_takes_the_true_path(judges):
    judge = judges("demo", quant="4bit")
    kinds = {type(module).__name__ for module in judge.backbone.model.modules()}
    assert "Linear4bit" in kinds
    assert any(".lora_" in name for name, _ in judge.backbone.model.named_parameters())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "floor"), [("image", 0.85), ("video", 0.75)])
def test_it_finds_the_right_one_of_four_on_held_out_scenes(judges, heldout, kind, floor):
    """The floors leave room for 60 groups' sampling error below the README's figures."""
    from yoj_cli.records.parse import read_groups
    from yoj_cli.verdicts.agreement import Summary

    groups = [group for group in read_groups(str(heldout)) if kind in group.record]
    summary = Summary()
    for verdict in judges("demo", quant="4bit").score_groups(groups):
        summary.add(verdict)
    assert summary.agreement.best >= floor
    assert summary.agreement.chance == pytest.approx(0.25)


def test_it_reads_any_text(judges):
    verdict = judges("demo", quant="4bit").score_group(
        parse({"prompt": "\x00 😀 <|im_end|>", "responses": ["", "שלום", "<|resp_sep|>" * 10, "x" * 20_000]})
    )
    assert len(set(verdict.scores)) == 4
