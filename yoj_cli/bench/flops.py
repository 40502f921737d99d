"""What a way of reading a group costs, by formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from yoj_cli.model.adapter_layers import language_linears
from yoj_cli.model.backbone import Backbone
from yoj_cli.scoring.vision_cache import encode
from yoj_cli.sequence.packed import PackedSequence

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """What goes through the model in one way of reading a group.

    Attributes:
        tokens: through the language model, padding included.
        pairs: (token that looks, token looked at), each that attention is asked for, in one head of one layer.
        encodings: times the group's media go through the vision tower.
        logits: tokens that get logits over the whole vocabulary.
    """

    tokens: int
    pairs: int
    encodings: int
    logits: int = 0


def count_flops(backbone: Backbone, work: Work, vision_flops: int) -> int:
    """Floating-point operations of one way of reading a group; a multiplication and an addition are two.

        2 * parameters * tokens              the language model's linear layers, adapters included
        4 * layers * heads * head_dim * pairs    attention: q k' and its product with v. Only pairs that are attended:
                                             half a square for causal text. A kernel that computes what the mask
                                             throws away does more, and shows as less achieved FLOP/s.
        encodings * vision_flops             the vision tower and projector
        2 * hidden * vocabulary * logits     the LM head, which only the official forward runs

    Left out as negligible: norms, rotations, softmax, activations, the embedding and the value head.

    Args:
        vision_flops: of one encoding, from `count_vision_flops`.
    """
    text = backbone.text_config
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    n_weights = sum(each.in_features * each.out_features for each in language_linears(backbone).values())
    linear = 2 * n_weights * work.tokens
    attention = 4 * backbone.n_layers * int(text.num_attention_heads) * int(head_dim) * work.pairs
    logits = 2 * int(text.hidden_size) * int(text.vocab_size) * work.logits
    return linear + attention + work.encodings * vision_flops + logits


def count_vision_flops(backbone: Backbone, sequence: PackedSequence) -> int:
    """Floating-point operations of encoding a sequence's media once; 0 where it has none.

    Counted by torch while it is done: towers differ by family (overlapping crops, merged patches, several depths),
    and none of it depends on how the responses are read.
    """
    with torch.no_grad(), flop_counter() as counter:
        encode(backbone, [sequence.media_inputs])
    return int(counter.get_total_flops())


def flop_counter() -> FlopCounterMode:
    """Torch's counter of floating-point operations, attention on a CPU included.

    Torch has a formula for attention on a GPU, and since 2.14 counts the CPU's kernel as nothing. It is the same work.
    """
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def count(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
        # Several heads of queries may share one of keys, which older formulas do not know.
        key, value = (torch.Size((*query[:2], *shape[2:])) for shape in (key, value))
        return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]

    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={kernel: count})


def causal_pairs(n_tokens: int, n_seen: int = 0) -> int:
    """Pairs of a run of tokens, each of which attends to itself, to those before it and to `n_seen` cached ones."""
    return n_tokens * (n_tokens + 1) // 2 + n_tokens * n_seen


def attended_pairs(sequence: PackedSequence, *, bidirectional_media_attention: bool) -> int:
    """Pairs that a sequence's mask allows: its branches over the prefix, and media in both directions."""
    branches = sum(causal_pairs(length, sequence.n_prefix) for length in sequence.branch_lengths)
    pairs = causal_pairs(sequence.n_prefix) + branches
    return pairs + (media_pairs(sequence) if bidirectional_media_attention else 0)


def media_pairs(sequence: PackedSequence) -> int:
    """Pairs beyond the causal ones where media tokens also attend to those after them."""
    return causal_pairs(sequence.n_media_tokens - 1) if sequence.n_media_tokens else 0
