"""Groups of random token ids, for a backbone that has neither a tokenizer nor weights of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from yoj_cli.bench.case import Case, Sizes, build_case
from yoj_cli.model.backbone import Backbone
from yoj_cli.plan.branches import Plan
from yoj_cli.sequence.media_inputs import Processed
from yoj_cli.sequence.packed import PackedSequence, Span, share_prefix

CLIP_TIME = 1
"""A text token: where a clip's time would stand."""


@dataclass(frozen=True)
class Medium:
    """What stands for a picture or a clip where there is no checkpoint's processor.

    Attributes:
        kind: "image" or "video".
        inputs: pixel tensors and grids, by the model's argument names.
        runs: its tokens in the sequence: one run for a picture, one for each moment of a clip.
    """

    kind: str
    inputs: dict[str, Tensor]
    runs: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        return sum(self.runs)


def draw_ids(
    backbone: Backbone,
    n: int,
    sizes: Sizes,
    media: Sequence[Medium | None],
    *,
    orders: int,
    seed: int,
) -> list[Case]:
    """Groups of random token ids, for a backbone without a tokenizer; exactly as large as asked for.

    The picture or clip stands before the prompt, each moment of a clip behind one token for its time, and one
    separator token between two responses.

    Args:
        media: one for each group, or None.
    """
    image_id, video_id = _media_ids(backbone)
    n_ids = min(int(backbone.text_config.vocab_size), image_id, video_id)
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for medium in media:
        prompt = torch.randint(1, n_ids, (sizes.prompt,), generator=generator).tolist()
        prefix: list[int] = []
        for run in medium.runs if medium else ():
            is_clip = medium is not None and medium.kind == "video"
            prefix += [CLIP_TIME, *[video_id] * run] if is_clip else [image_id] * run
        prefix += prompt
        texts = torch.randint(1, n_ids, (n, sizes.response), generator=generator).tolist()
        build = partial(build_from_ids, backbone, prefix, medium, texts)
        cases.append(build_case(build, n, orders, seed))
    return cases


def _media_ids(backbone: Backbone) -> tuple[int, int]:
    """The tokens that pictures and clips stand at."""
    model_config: Any = backbone.model.config
    return int(model_config.image_token_id), int(model_config.video_token_id)


def build_from_ids(
    backbone: Backbone,
    prefix: list[int],
    medium: Medium | None,
    responses: list[list[int]],
    indices: Sequence[int],
    plan: Plan,
) -> PackedSequence:
    """A sequence of token ids, as `SequenceBuilder` builds one from texts.

    Args:
        prefix: the medium's tokens, then the prompt's.
        responses: ids of each, at least one.
        indices: the responses of the sequence; `plan` is for as many.
    """
    responses = [responses[index] for index in indices]
    sequences = [_join(prefix, [responses[index] for index in branch]) for branch in plan.branches]
    first = torch.tensor(sequences[0][0])
    image_id, video_id = _media_ids(backbone)
    # Molmo2 has one token, and one type, for both.
    media_types = torch.where(first == image_id, 1, torch.where(first == video_id, 2, 0))
    inputs = medium.inputs if medium else {}
    positions = backbone.positions(first[None], media_types[None], inputs)
    return share_prefix(sequences, positions, media_types, Processed(None, inputs, {}))


def _join(prefix: list[int], responses: Sequence[list[int]]) -> tuple[list[int], list[Span]]:
    """The ids of a pass with token 0 between two responses, and each one's first and last token."""
    ids, spans = list(prefix), list[Span]()
    for place, response in enumerate(responses):
        ids += [0] * (place > 0) + response
        spans.append((len(ids) - len(response), len(ids) - 1))
    return ids, spans
