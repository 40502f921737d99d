"""A small language model with random weights, and ranked groups of text: what makes learning start on such a base?

    python examples/multi_vs_single/make_text_base.py work
    python examples/multi_vs_single/learning_start.py work --base work/text-base --data work/text.jsonl

The base is a Llama of 2 layers and 64 numbers a token that reads letters. Of a group's four responses, one word says
how good each is, among others that say nothing: it can be learnt from a response alone.
"""

import argparse
import json
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
QUALITY = ("exact", "fair", "loose", "wrong")
OTHERS = ("red", "tall", "near", "old", "late", "open", "dry", "soft")


def write_base(folder: Path) -> None:
    """Tokenizer of the bytes, chat template, and random weights."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: at for at, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def write_groups(path: Path, n: int) -> None:
    """Groups of four, in a random order each, drawn from one seed."""
    random, lines = Random(0), []
    for number in range(n):
        ranks = random.sample(range(4), 4)
        responses = []
        for rank in ranks:
            words = [*random.sample(OTHERS, 2), QUALITY[rank]]
            responses.append(" ".join(random.sample(words, 3)))
        record = {"prompt": f"No. {number}", "responses": responses, "rankings": [rank + 1 for rank in ranks]}
        lines.append(json.dumps(record) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write both into a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--n-groups", type=int, default=440)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    write_base(args.out / "text-base")
    write_groups(args.out / "text.jsonl", args.n_groups)


if __name__ == "__main__":
    main()
