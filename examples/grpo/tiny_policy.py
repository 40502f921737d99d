"""A policy small enough for one CPU core: a real Qwen3-VL (tokenizer, processor, model), only very narrow.

A picture is 84 pixels wide for it, 6 x 6 patches, which the merger joins to one token for each of the world's nine
places.
"""

from collections.abc import Iterable, Iterator

import torch
import world
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

IMAGE_PX, PATCH_PX, MERGE = 84, 14, 2
SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCAB_SIZE = 384
CHAT_TEMPLATE = (
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n"
    "{%- if m.content is string %}{{ m.content }}{% else %}{%- for c in m.content %}"
    "{%- if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else %}{{ c.text }}{%- endif %}{%- endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{%- endif %}"
)


def corpus(n: int = 2000) -> Iterator[str]:
    """Questions and answers, for the tokenizer to learn its words from."""
    for index in range(n):
        rng = world.rng_for("pretrain", index)
        scene, _ = world.sample_picture(rng)
        for question in (world.caption(rng, scene), world.count(scene), world.place(rng, scene)):
            yield f"user\n{question.text}"
            yield f"assistant\n{question.answer}"


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every byte can be written, and every word of the world is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+|[^\p{L}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        extra_special_tokens=list(SPECIALS[3:]),
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLProcessor:
    """The real processor; every picture becomes IMAGE_PX square."""
    size = {"shortest_edge": IMAGE_PX**2, "longest_edge": IMAGE_PX**2}
    sizes = {"patch_size": PATCH_PX, "merge_size": MERGE, "temporal_patch_size": 1, "size": size}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(**sizes),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3VLForConditionalGeneration:
    """A model with fresh weights, float32."""
    token = tokenizer.convert_tokens_to_ids
    hidden, n_patches = 128, (IMAGE_PX // PATCH_PX) ** 2
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 32,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 4,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "out_hidden_size": hidden,
            "num_position_embeddings": n_patches,
            "deepstack_visual_indexes": [],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config).float()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    _initialize(model)
    return model


def _initialize(model: Qwen3VLForConditionalGeneration) -> None:
    """Xavier weights: with the usual 0.02 a model this small never learns to see."""
    for part, gain in ((model.model.visual, 1.0), (model.model.language_model.layers, 0.7)):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, gain=gain)
    nn.init.normal_(model.model.visual.pos_embed.weight, std=0.1)
    nn.init.normal_(model.get_input_embeddings().weight, std=0.1)
