"""What fuzzing found stays mended, and two minutes of it find nothing new; `python -m tests.fuzz` runs for longer."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.fuzz.chats import builder, check_chat, make_tokenizer, spell_everything
from tests.fuzz.media import CORPUS, TIMEOUT_S, good_files, load_broken
from tests.fuzz.target import Target, fuzz
from tests.processes import ROOT, environment


def test_no_spelling_of_a_special_token_becomes_one():
    outcome = spell_everything(whole=False)
    assert not outcome.failures, outcome.failures[0]
    assert outcome.n_inputs > 5_000


def test_a_tokenizer_that_reads_special_tokens_in_texts_would_be_noticed():
    """The check itself: with the option that keeps them apart off, a text becomes a separator."""
    sequences, _ = builder("qwen3-vl")
    apart = sequences._encoder._tokenizer
    apart.encode_special_tokens = False
    try:
        with pytest.raises(AssertionError):
            check_chat(("qwen3-vl", {"prompt": "p", "responses": ["a<|resp_sep|>b"]}))
    finally:
        apart.encode_special_tokens = True


@pytest.mark.parametrize("family", ["qwen3-vl", "molmo2"])
def test_the_listed_tokens_are_special_in_the_tokenizer_they_are_tried_on(family):
    tokenizer = make_tokenizer(family)
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    assert len(special) == {"qwen3-vl": 15, "molmo2": 292}[family]
    assert "<think>" not in special


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.*")), ids=lambda path: path.name)
def test_a_file_that_was_made_to_break_a_decoder_costs_itself_alone(path):
    start = time.monotonic()
    load_broken(path.name.partition(".")[2], path.read_bytes())
    assert time.monotonic() - start < TIMEOUT_S + 10
    assert load_broken("png", good_files()["png"]) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claims_4_gb.jp2", "the picture is damaged: Expected to read 4294967077"),
        ("frame_of_900_mb.mp4", "the clip is damaged: one of its frames claims more bytes"),
    ],
)
def test_a_small_file_that_claims_to_be_large_takes_no_memory(name, said):
    assert load_broken(name.partition(".")[2], (CORPUS / name).read_bytes()).startswith(said)


def test_a_clip_that_ends_decords_process_is_read_by_pyav():
    assert load_broken("avi", (CORPUS / "aborts_decord.avi").read_bytes()) == ""


def test_a_failing_input_is_counted_and_told():
    from hypothesis import strategies as st

    def check(value):
        assert value < 50

    outcome = fuzz(Target("numbers", st.integers(0, 100), check), seconds=5, first_seed=0, most_failures=1)
    assert len(outcome.failures) == 1
    assert "assert 50 < 50" in outcome.failures[0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_minutes_of_fuzzing_find_nothing():
    # One seed, so that what fails here comes from the change at hand; the command draws another one each time.
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--minutes", "1.5", "--seed", "1"],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-5000:] + done.stdout[:1000]
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(each["n_inputs"] for each in found["targets"]), found
