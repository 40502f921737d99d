"""Families, and how a decoder is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters import make_text_only
from tests.processes import environment
from yoj_cli.errors import InputError
from yoj_cli.groups import Media
from yoj_cli.model.family import family_of


def test_an_unknown_architecture_is_read_as_a_text_only_decoder():
    family = family_of("llama")
    family.check_media([])
    with pytest.raises(InputError, match="llama\\) reads text only"):
        family.check_media([Media("image", "a.png")])


def test_a_text_only_decoder_judges_text(tmp_path, judges):
    """The Qwen3-VL test tokenizer on a plain Qwen3: no processor, no media, one row of positions."""
    import json

    from tests.tiny_qwen3_vl import make_checkpoint

    donor = make_checkpoint(tmp_path / "donor")
    folder = make_text_only(tmp_path / "text", donor)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "qwen3"
    together = judges(folder, mode="single").score(prompt="p", responses=["a", "b c"])
    alone = [judges(folder).score(prompt="p", responses=[text]).scores[0] for text in ("a", "b c")]
    assert together.scores == pytest.approx(alone, abs=1e-4)


GROWTH = """
import re, sys
from pathlib import Path
from yoj_cli import Judge

def peak_kb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

Judge.load("demo", device="cpu").score(prompt="p", responses=["a"])  # what every judge takes
before = peak_kb()
judge = Judge.load(sys.argv[1], device="cpu", quant=sys.argv[2], dtype="float32")
judge.score(prompt="p", responses=["a", "b c"])
print(1024 * (peak_kb() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_loading_in_4_bit_never_holds_the_files_and_the_model(tmp_path, qwen_checkpoint):
    """Its peak is below the size of the weights, and so below that of loading them as they are."""
    options = {
        "num_hidden_layers": 3,
        "intermediate_size": 1 << 18,
    }  # memory of 64 MB is given back when freed
    folder = make_text_only(tmp_path / "wide", qwen_checkpoint, **options)
    n_bytes = (folder / "model.safetensors").stat().st_size

    def growth(quant):
        command = [sys.executable, "-c", GROWTH, str(folder), quant]
        done = subprocess.run(command, capture_output=True, env=environment(), check=True, timeout=240)
        return int(done.stdout)

    assert n_bytes > 600_000_000
    assert growth("4bit") < 0.8 * n_bytes
    assert growth("none") > 0.9 * n_bytes
