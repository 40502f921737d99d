"""Text-only bases with a full vocabulary, made from code: no embedding row is to spare. And random judges on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yoj_cli.config.train import TrainConfig
from yoj_cli.groups import Group
from yoj_cli.plan.branches import build_plan
from yoj_cli.records.parse import parse

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


def make_other(folder: Path, architecture: str, **options: object) -> Path:
    """A random base of any architecture that transformers has a language model of; its vocabulary is full.

    Args:
        options: of its configuration; unlike `make_base`, nothing is small without them.
    """
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    n_tokens = make_tokenizer(folder)
    special = {"pad_token_id": 0, "bos_token_id": 256, "eos_token_id": 257}
    torch.manual_seed(0)
    config = CONFIG_MAPPING[architecture](vocab_size=n_tokens, **special, **options)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def recipe(base: Path, **options: object) -> TrainConfig:
    """A small one, on a CPU."""
    small = {"lora_r": 4, "lora_alpha": 8, "head_dim": 16, "gradient_checkpointing": False}
    return TrainConfig(**{"base": str(base), "device": "cpu", "quant": "none", **small, **options})


def make_judge(folder: Path, base: Path, record: dict[str, Any], **options: object) -> list[float]:
    """Save a judge with a random adapter.

    Args:
        record: a line with three responses.
        options: of the recipe.
    Returns:
        The scores that the model in training gives them.
    """
    import torch

    from yoj_cli.model.adapter import adapter_weights
    from yoj_cli.train.model import build_sequences, load_model
    from yoj_cli.train.starting_point import base_name, find_base

    config = recipe(base, **options)
    model = load_model(config, find_base(config)).eval()
    generator = torch.Generator().manual_seed(1)
    for weight in [*adapter_weights(model.decoder).values(), *model.head.parameters()]:
        weight.data = torch.randn(weight.shape, generator=generator) * 0.2
    folder.mkdir()
    model.save(folder, base_name(config, folder))
    group = parse(record)
    assert isinstance(group, Group)
    with torch.no_grad():
        ((scores,),) = model([build_sequences(config, model.backbone).build(group, [], build_plan(3))])
    return scores.tolist()
