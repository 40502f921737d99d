"""Text-only bases with a full vocabulary, made from code: no embedding row is to spare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPECIALS = ["<pad>", "<s>", "<|end|>", "<|user|>", "<|assistant|>", "<|reserved_0|>"]
TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
)


def make_tokenizer(folder: Path, *, template: str | None = TEMPLATE, more: tuple[str, ...] = ()) -> int:
    """Write a tokenizer of the bytes and some special tokens; returns its length."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|end|>", pad_token="<pad>"
    )
    fast.add_special_tokens({"additional_special_tokens": [*SPECIALS[3:], *more]})
    fast.chat_template = template
    fast.save_pretrained(folder)
    return len(fast)


def make_base(folder: Path, kind: str, *, template: str | None = TEMPLATE) -> Path:
    """A random base of float32 weights: "llama" (tied), "llama-untied", or "gemma".

    Gemma's tokenizer knows one token more than the embedding has rows, as Gemma 3's own does.
    """
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    is_gemma = kind == "gemma"
    n_tokens = make_tokenizer(folder, template=template, more=("<image_soft_token>",) if is_gemma else ())
    sizes: dict[str, Any] = {
        "vocab_size": n_tokens - is_gemma,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 256,
        "eos_token_id": 257,
    }
    torch.manual_seed(0)
    model: Any
    if is_gemma:
        model = Gemma3ForCausalLM(Gemma3TextConfig(**sizes, sliding_window=64))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes, tie_word_embeddings=kind == "llama"))
    model.save_pretrained(folder)
    return folder
