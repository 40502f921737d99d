"""A stranger's tokenizer: what it does to a text costs the group whose text it is."""

from __future__ import annotations

import pytest

from yoj_cli.errors import InputError
from yoj_cli.sequence.tokens import TextEncoder


def test_an_expression_that_backtracks_without_end_is_the_error_of_a_text():
    """Onig gives up after ten million steps, and the library panics, which is no Exception in Python."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    encoder = TextEncoder(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    with pytest.raises(InputError, match=r"tokenizer cannot read responses\[0\]"):
        encoder.encode("a" * 40 + "b", name="responses[0]")
    assert encoder.encode("aaa", name="responses[0]") == [0, 0, 0]
