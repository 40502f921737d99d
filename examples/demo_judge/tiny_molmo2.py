"""A Molmo2 small enough to ship: tokenizer, processor and model, built from nothing but code.

The parts are the real ones (native `transformers` classes, the real special tokens and chat markers), only
narrower: 84-pixel pictures, a hidden size of 128 and a vocabulary of a few hundred byte-level BPE tokens.
"""

from collections.abc import Iterable

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import (
    Molmo2Config,
    Molmo2ForConditionalGeneration,
    Molmo2Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor
from transformers.models.molmo2.video_processing_molmo2 import Molmo2VideoProcessor

IMAGE_PX = 84
PATCH_PX = 14
POOL = 2
CELLS = (IMAGE_PX // PATCH_PX // POOL) ** 2

SEPARATOR = "<|resp_sep|>"
TEXT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
EXTRA_TOKENS = (
    *("<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<|image|>"),
    *("<im_low>", "<frame_start>", "<frame_end>", "<|video|>", SEPARATOR),
)
N_EXTRA_ROWS = 12
# How Qwen's tokenizers, which Molmo2 uses, cut text into words before any merging.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Gives the strings of the released template, the space before the assistant's marker included.
CHAT_TEMPLATE = """\
{%- set count = namespace(image=0, video=0) -%}
{%- for message in messages if message['content'] is not string -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{%- set count.image = count.image + 1 -%}
{%- elif part['type'] == 'video' -%}{%- set count.video = count.video + 1 -%}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
{%- for k in range(count.image) -%}
{{ 'Image ' ~ (k + 1) if count.image > 1 else '' }}{{ '<|image|>' }}
{%- endfor -%}
{{ '<|video|>' * count.video }}
{%- for message in messages -%}
{%- set text = namespace(all='') -%}
{%- if message['content'] is string -%}{%- set text.all = message['content'] -%}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'text' -%}
{%- set text.all = text.all ~ (' ' if text.all else '') ~ part['text'] -%}
{%- endfor -%}
{%- endif -%}
{%- if message['role'] == 'user' -%}
{{ '' if loop.first else '<|im_end|>\n' }}{{ '<|im_start|>user\n' ~ text.all ~ '<|im_end|>\n' }}
{%- else -%}
{{ ' <|im_start|>assistant\n' ~ text.all }}
{%- endif -%}
{%- endfor -%}
{{ '<|im_start|>assistant\n' if add_generation_prompt else '' }}"""


def build_tokenizer(corpus: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the corpus; every byte is in the vocabulary, so any text can be encoded.

    Args:
        corpus: texts to learn merges from.
        vocab_size: tokens in all, without the media tokens and the separator, which follow after them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(TEXT_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise ValueError(f"the corpus gives {tokenizer.get_vocab_size()} tokens, not {vocab_size}")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_end|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(EXTRA_TOKENS),
        model_specific_special_tokens={"image_token": "<|image|>", "video_token": "<|video|>"},
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Molmo2Processor:
    """The real processor: one 84-pixel view of a picture or frame, 2x2 patches to a token.

    The video processor has to be told to rescale and normalize: of itself it does neither.
    """
    shape = {
        "size": {"height": IMAGE_PX, "width": IMAGE_PX},
        "patch_size": PATCH_PX,
        "pooling_size": [POOL, POOL],
    }
    return Molmo2Processor(
        image_processor=Molmo2ImageProcessor(max_crops=1, overlap_margins=[0, 0], **shape),
        video_processor=Molmo2VideoProcessor(
            num_frames=16, max_fps=2, do_resize=True, do_rescale=True, do_normalize=True, **shape
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, hidden: int = 128, n_layers: int = 4
) -> Molmo2ForConditionalGeneration:
    """A model with fresh weights; the separator's embedding is zero.

    Every linear layer of the language model is a multiple of 64 on both sides, so that 4-bit blocks fit.
    """
    vision = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 4}
    token = tokenizer.convert_tokens_to_ids
    config = Molmo2Config(
        vision_config={
            **vision,
            "head_dim": 24,
            "num_hidden_layers": 2,
            "image_size": [IMAGE_PX, IMAGE_PX],
            "patch_size": PATCH_PX,
        },
        adapter_config={**vision, "head_dim": 24, "vision_feature_layer": [1, 0], "text_hidden_size": hidden},
        text_config={
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": n_layers,
            "num_attention_heads": hidden // 32,
            "num_key_value_heads": hidden // 32,
            "head_dim": 32,
            "vocab_size": len(tokenizer) - len(EXTRA_TOKENS),
            "additional_vocab_size": N_EXTRA_ROWS,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        image_start_token_id=token("<im_start>"),
        image_end_token_id=token("<im_end>"),
        image_patch_id=token("<im_patch>"),
        low_res_image_start_token_id=token("<low_res_im_start>"),
        frame_start_token_id=token("<frame_start>"),
        frame_end_token_id=token("<frame_end>"),
    )
    model = Molmo2ForConditionalGeneration(config)
    initialize(model, token(SEPARATOR))
    return model


def initialize(model: Molmo2ForConditionalGeneration, separator_id: int) -> None:
    """Xavier weights for everything that sees: with the usual 0.02 a model this small never learns to."""
    for module in (model.model.vision_tower, model.model.multi_modal_projector):
        for parameter in module.parameters():
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)
    for layer in model.model.language_model.layers:
        for parameter in layer.parameters():
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter, gain=0.7)
    with torch.no_grad():
        embeddings = model.get_input_embeddings().weight
        embeddings.normal_(std=0.1)
        embeddings[separator_id] = 0.0
