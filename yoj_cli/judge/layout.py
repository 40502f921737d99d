"""A group as one token sequence: a shared prefix, then branches of responses.

    prefix: media, prompt, assistant header | branch 0: r0 <sep> r1 <sep> r2 | branch 1: r1 <sep> r2 <sep> r0

Every branch is tokenized together with the prefix, exactly as a pass of its own would be (BPE merges across
the seam); what all branches have in common is then stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from yoj_cli.errors import ModelError, OutOfMemoryError, TooLongError, errors_at
from yoj_cli.inputs.media import MediaOptions, load
from yoj_cli.judge.backbone import name_device_errors
from yoj_cli.judge.conversation import Roles, Runs, render
from yoj_cli.judge.features import MediaKey, MediaProcessor, Processed
from yoj_cli.judge.tokens import Separator, SpecialTokens, TextEncoder
from yoj_cli.plan import build_plan

if TYPE_CHECKING:
    from yoj_cli.config import Role
    from yoj_cli.inputs.media import Clip, Picture
    from yoj_cli.inputs.records import Group
    from yoj_cli.judge.backbone import Backbone
    from yoj_cli.plan import Plan


Span: TypeAlias = tuple[int, int]
"""First and last token of a response."""


@dataclass(frozen=True)
class Layout:
    """One group, ready for the backbone.

    Attributes:
        input_ids: (1, T) int64, the prefix and then every branch.
        position_ids: (1, T), or (3, 1, T) for mRoPE; they restart after the prefix in each branch.
        media_types: (1, T) 0 = text, else a picture or frame token.
        branch_lengths: tokens of each branch; they stand one after the other behind the prefix.
        spans: for each branch, the indices into T of the first and the last token of each of its responses; a first
            token that all branches share stands in the prefix.
        media_inputs: pixel tensors and grids, by the model's argument names.
        n_prefix: tokens that all branches share; a single branch is all there is, and shares none.
        media_key: equal only for layouts with equal `media_inputs`; None where nothing is known of them.
    """

    input_ids: Tensor
    position_ids: Tensor
    media_types: Tensor
    branch_lengths: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    media_inputs: dict[str, Tensor]
    n_prefix: int
    media_key: MediaKey | None = None

    @property
    def ends(self) -> tuple[tuple[int, ...], ...]:
        """For each branch, the index into T of the last token of each of its responses."""
        return tuple(tuple(end for _, end in spans) for spans in self.spans)

    @property
    def n_tokens(self) -> int:
        return int(self.input_ids.shape[1])

    @property
    def branch_starts(self) -> tuple[int, ...]:
        """Index into T of each branch's first token."""
        return tuple(accumulate(self.branch_lengths[:-1], initial=self.n_prefix))

    @property
    def n_media_tokens(self) -> int:
        return int((self.media_types > 0).sum())


class LayoutBuilder:
    """Builds layouts for one backbone; safe to call from several threads at once.

    Args:
        separator: the text between two responses, with its one special token.
        role: the turn that holds the responses: "assistant" (how the weights were trained) or "user".
        max_tokens: longest sequence (prefix and one branch) accepted.
        where: the checkpoint, for errors.
    Raises:
        CheckpointError: a separator or a chat template that cannot be used.
    """

    def __init__(
        self, backbone: Backbone, separator: str, role: Role, max_tokens: int, *, where: str
    ) -> None:
        self.backbone = backbone
        self.role = role
        self.max_tokens = max_tokens
        self._specials = SpecialTokens(backbone.tokenizer)
        self._separator = Separator.parse(separator, self._specials, where=where)
        self._encoder = TextEncoder(backbone.tokenizer)
        self._roles = Roles(backbone, role, where=where)
        self._media = MediaProcessor(backbone.processor, pin=backbone.device.type == "cuda")

    def prepare(self, group: Group, plan: Plan, media: MediaOptions) -> Layout:
        """Load a group's media and lay it out: everything before the forward pass. Runs in a worker thread.

        Raises:
            YojError: whatever goes wrong, with the group's line in front.
        """
        with errors_at(group.where), name_device_errors(_no_room_to_prepare):
            return self.build(group, [load(medium, media) for medium in group.media], plan)

    def build(self, group: Group, media: Sequence[Picture | Clip], plan: Plan) -> Layout:
        """Lay a group out.

        Args:
            media: what `group.media` was loaded to, in the same order.
            plan: the branches to read.
        Raises:
            InputError: a text that cannot be tokenized, or a conversation the chat template refuses.
            TooLongError: prefix and branch together exceed `max_tokens`.
        """
        self.backbone.family.check_media(group.media)
        processed = self._media.process(media)
        before, after = render(
            group, self.role, self.backbone, self._specials, self._roles, processed.expansions
        )
        sequences = self._branch_sequences(before, after, group.responses, plan)
        longest = max(len(ids) for ids, _ in sequences)
        if longest > self.max_tokens:
            raise TooLongError(
                f"the group is {longest} tokens long, over the limit of {self.max_tokens}",
                hint=self._advise(before, after, group.responses),
            )
        return share_prefix(self.backbone, sequences, self._media_types(sequences[0][0]), processed)

    def _advise(self, before: Runs, after: Runs, responses: Sequence[str]) -> str:
        """What makes a group fit; an option that cannot help is not named."""

        def lengths(texts: Sequence[str]) -> list[int]:
            single = build_plan(len(texts), mode="single")
            return [len(ids) for ids, _ in self._branch_sequences(before, after, texts, single)]

        raise_it = "" if self.max_tokens >= self.backbone.context else "Raise --max-tokens, or: "
        (prompt,), alone = lengths([""]), lengths(responses)
        longest = max(range(len(alone)), key=alone.__getitem__)
        if prompt >= self.max_tokens:
            return f"{raise_it}shorten the prompt or what it shows, which takes {prompt} tokens by itself."
        if alone[longest] > self.max_tokens:
            return f"{raise_it}shorten responses[{longest}], which takes {alone[longest] - prompt} tokens by itself."
        # Each further response costs its tokens and a separator; one more for where tokens merge differently.
        costs = sorted((length - prompt + 2 for length in alone), reverse=True)
        n_fit = sum(total <= self.max_tokens - prompt for total in accumulate(costs))
        window = f", or at most {n_fit} at a time (--window {n_fit})" if n_fit > 1 else ""
        return f"{raise_it}shorten it, judge each response alone (--mode single){window}."

    def _branch_sequences(
        self, before: Runs, after: Runs, responses: Sequence[str], plan: Plan
    ) -> list[tuple[list[int], list[Span]]]:
        """Each branch as a pass of its own: (ids, first and last token of each response)."""
        memory: dict[tuple[str, str], tuple[list[int], int]] = {}

        def encode_after(left: str, text: str, name: str) -> tuple[list[int], int]:
            if (left, text) not in memory:
                memory[left, text] = self._encoder.encode_after(left, text, name=name)
            return memory[left, text]

        def encode(text: str, name: str) -> list[int]:
            return encode_after("", text, name)[0]

        def flatten(runs: Runs) -> list[int]:
            parts = (encode(run, "the prompt") if isinstance(run, str) else [run] for run in runs)
            return [token for part in parts for token in part]

        header, footer = str(before[-1]), str(after[0])
        head, tail = flatten(before[:-1]), flatten(after[1:])
        sequences = []
        for branch in plan.branches:
            ids, spans = list(head), list[Span]()
            for place, response in enumerate(branch):
                is_last = place == len(branch) - 1
                # What stands behind the separator is the next response's, what stands before the first is the prompt's.
                left, after_separator = ("", self._separator.after) if place else (header, "")
                right = footer if is_last else self._separator.before
                own, n_left = encode_after(
                    left, f"{after_separator}{responses[response]}{right}", f"responses[{response}]"
                )
                start = len(ids) + n_left
                ids += own + (tail if is_last else [])
                end = len(ids) - 1
                spans.append((min(start, end), end))  # an empty text has no token but the one before it
                if not is_last:
                    ids.append(self._separator.token_id)
            sequences.append((ids, spans))
        return sequences

    def _media_types(self, ids: list[int]) -> Tensor:
        if not self.backbone.family.reads_media:
            return torch.zeros(len(ids), dtype=torch.int64)
        return torch.tensor(self.backbone.processor.create_mm_token_type_ids([ids])[0])


def share_prefix(
    backbone: Backbone,
    sequences: Sequence[tuple[list[int], list[Span]]],
    media_types: Tensor,
    media: Processed,
) -> Layout:
    """Store the longest common run of some branches once; each branch keeps at least its last token.

    Args:
        sequences: each branch as a pass of its own: its ids, and the first and the last token of each response.
        media_types: (T0,) of the first sequence, 0 = text, 1 = picture token, 2 = clip token.
        media: what they stand for.
    Raises:
        ModelError: media behind the common run; every branch would have to hold them.
    """
    n_prefix = 0 if len(sequences) == 1 else _common_length([ids for ids, _ in sequences])
    if n_prefix and int(media_types[n_prefix:].sum()):
        raise ModelError("a picture stands after the responses; the prefix must hold all media")
    first = torch.tensor([sequences[0][0]])
    positions = backbone.positions(first, media_types[None], media.inputs)
    all_ids, all_positions = [first[:, :n_prefix]], [positions[..., :n_prefix]]
    all_spans: list[tuple[Span, ...]] = []
    start = n_prefix
    for index, (ids, spans) in enumerate(sequences):
        own = torch.tensor([ids[n_prefix:]])
        all_ids.append(own)
        all_positions.append(
            positions[..., n_prefix : n_prefix + 1] + torch.arange(own.shape[1])
            if index
            else positions[..., n_prefix:]
        )
        shift = start - n_prefix
        all_spans.append(
            tuple(
                (first + shift * (first >= n_prefix), last + shift * (last >= n_prefix))
                for first, last in spans
            )
        )
        start += own.shape[1]
    input_ids = torch.cat(all_ids, dim=1)
    all_types = torch.zeros_like(input_ids)
    all_types[0, : len(media_types)] = media_types
    return Layout(
        input_ids=input_ids,
        position_ids=torch.cat(all_positions, dim=-1),
        media_types=all_types,
        branch_lengths=tuple(len(ids) - n_prefix for ids, _ in sequences),
        spans=tuple(all_spans),
        media_inputs=media.inputs,
        n_prefix=n_prefix,
        media_key=media.key,
    )


def _no_room_to_prepare() -> OutOfMemoryError:
    return OutOfMemoryError(
        "out of memory while the group was prepared",
        hint="Use smaller pictures, fewer frames (--max-frames) or shorter texts, or free memory.",
    )


def _common_length(sequences: list[list[int]]) -> int:
    """Longest run of tokens that all sequences start with, leaving each at least its last token."""
    limit = min(len(ids) for ids in sequences) - 1
    first = sequences[0]
    return next((i for i in range(limit) if any(ids[i] != first[i] for ids in sequences[1:])), limit)
