"""Building a group's packed sequence: a shared prefix, then branches of responses.

    prefix: media, prompt, assistant header | branch 0: r0 <sep> r1 <sep> r2 | branch 1: r1 <sep> r2 <sep> r0

Every branch is tokenized together with the prefix, exactly as a sequence of its own would be, because byte-pair merges
reach across the boundary; the longest prefix that all have in common is then stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from yoj_cli.config.judge import Role
from yoj_cli.errors import CheckpointError, OutOfMemoryError, TooLongError, errors_at
from yoj_cli.groups import Group
from yoj_cli.media.budget import loaded_media
from yoj_cli.media.load import Clip, Picture
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.device import translate_oom
from yoj_cli.plan.branches import Plan, build_plan
from yoj_cli.sequence.chat import ChatTemplate, Segments, render
from yoj_cli.sequence.media_inputs import MediaProcessor, Processed
from yoj_cli.sequence.packed import PackedSequence, Span, share_prefix
from yoj_cli.sequence.text_bound import CHARS_PER_TOKEN
from yoj_cli.sequence.tokens import Separator, SpecialTokens, TextEncoder
from yoj_cli.sequence.vision_budget import MARGIN, Shown, shrink


class SequenceBuilder:
    """Builds sequences for one backbone; safe to call from several threads at once.

    Args:
        separator: the text between two responses, with its one special token.
        role: the turn that holds the responses: "assistant" (how the weights were trained) or "user".
        max_tokens: longest sequence (prefix and one branch) accepted.
        where: the checkpoint, for errors.
        text_bos: where the family starts a sequence with bos, a group of text alone is started so as well; the
            released trainer leaves it out there.
        truncate: a group of one branch that is longer than `max_tokens` loses its end, and with it the responses
            that begin there; without, it is refused. Single responses lose each their own end.
        max_vision_tokens: pictures and clips that take more, or leave their text no room within `max_tokens`, are
            shown smaller; see `vision_budget`. None does neither.
    Raises:
        CheckpointError: a separator, a chat template or a processor that cannot be used.
    """

    def __init__(
        self,
        backbone: Backbone,
        separator: str,
        role: Role,
        max_tokens: int,
        *,
        where: str,
        text_bos: bool = True,
        truncate: bool = False,
        max_vision_tokens: int | None = None,
    ) -> None:
        self.max_tokens = max_tokens
        self._backbone, self._role, self._where = backbone, role, where
        self.attention_window = backbone.attention_window
        tokenizer, family = backbone.tokenizer, backbone.family
        self._bos = (tokenizer.bos_token_id or tokenizer.eos_token_id) if family.adds_bos else None
        self._text_bos, self._truncate, self._max_vision_tokens = text_bos, truncate, max_vision_tokens
        self._specials = SpecialTokens(tokenizer)
        self._separator = Separator.parse(separator, self._specials, where=where)
        self._encoder = TextEncoder(
            tokenizer, max_tokens, truncate=truncate, can_raise=max_tokens < backbone.context
        )
        self._template = ChatTemplate(backbone.processor, role, takes_media=family.reads_media, where=where)
        self._media = MediaProcessor(
            backbone.processor,
            pin=backbone.device.type == "cuda",
            reads_frames_apart=family.reads_frames_apart,
        )
        if family.reads_media:
            self._media.check(where)
        self._own_crops = family.own_crops(backbone.processor)

    def prepare(self, group: Group, plan: Plan, media: MediaOptions) -> PackedSequence:
        """Load a group's media and build its sequence: everything before the forward pass. Runs in a worker thread.

        Raises:
            YojError: whatever goes wrong, with the group's line in front.
        """
        with (
            errors_at(group.where),
            translate_oom(_no_room_to_prepare),
            loaded_media(group.media, media) as loaded,
        ):
            return self.build(group, loaded, plan)

    def build(self, group: Group, media: Sequence[Picture | Clip], plan: Plan) -> PackedSequence:
        """Build a group's sequence from media that are loaded.

        Args:
            media: what `group.media` was loaded to, in the same order.
            plan: the branches to read.
        Raises:
            InputError: a text that cannot be tokenized, or a conversation the chat template refuses.
            TooLongError: prefix and branch together exceed `max_tokens`.
            CheckpointError: a token that the backbone has no row for.
        """
        backbone = self._backbone
        backbone.family.check_media(group.media)
        # 1. Media to tensors, the chat template around the texts, and each branch to token ids.
        processed, (before, after), sequences, is_shrunk = self._fit(group, Shown(media), plan)
        # 2. No branch is longer than it may be.
        longest = max(len(ids) for ids, _ in sequences)
        if longest > self.max_tokens and self._truncate:
            sequences = [self._cut(ids, spans) for ids, spans in sequences]
        if longest > self.max_tokens and not (self._truncate and all(spans for _, spans in sequences)):
            raise TooLongError(
                f"the group is {longest} tokens long, over the limit of {self.max_tokens}",
                hint=self._advise(before, after, group.responses),
            )
        highest = max(max(ids) for ids, _ in sequences)
        if highest >= backbone.n_rows:  # on a GPU, to look it up would end all work
            raise CheckpointError(
                f"the tokenizer gives a token the id {highest}, and the embedding has {backbone.n_rows} rows",
                where=self._where,
            )
        # 3. What the branches have in common is stored once.
        media_types = self._media_types(sequences[0][0])  # (T0,)
        first = torch.tensor([sequences[0][0]])  # (1, T0)
        positions = backbone.positions(first, media_types[None], processed.inputs)
        packed = share_prefix(sequences, positions, media_types, processed)
        return replace(packed, n_cut=max(0, longest - self.max_tokens), is_shrunk=is_shrunk)

    def _fit(
        self, group: Group, shown: Shown, plan: Plan
    ) -> tuple[Processed, tuple[Segments, Segments], list[tuple[list[int], list[Span]]], bool]:
        """Media as tensors, the segments around the responses, each branch, and whether media had to be shrunk."""
        is_shrunk = False
        while True:
            processed = self._media.process(shown.media, shown.max_crops)
            before, after = render(group, self._role, self._template, self._specials, processed.expansions)
            with_bos = self._bos is not None and (shown.media or self._text_bos)
            if self._bos is not None and with_bos and before[0] != self._bos:
                before.insert(0, self._bos)
            sequences = self._branch_sequences(before, after, group.responses, plan)
            if self._max_vision_tokens is None or not shown.media:
                break
            texts = [text for media in processed.expansions.values() for text in media]
            n_vision = sum(len(self._encode_trusted(text)) for text in texts)
            n_text = max(len(ids) for ids, _ in sequences) - n_vision
            room = min(self._max_vision_tokens, self.max_tokens - n_text - MARGIN)
            if n_vision <= room:
                break
            smaller = shrink(shown, self._own_crops, n_vision, room)
            if smaller is None:
                raise TooLongError(
                    f"pictures or clips take {n_vision} tokens at least, and there is room for {max(room, 0)}",
                    hint="Raise --max-vision-tokens or --max-tokens, or shorten the texts.",
                )
            shown, is_shrunk = smaller, True
        return processed, (before, after), sequences, is_shrunk

    def _encode_trusted(self, text: str) -> list[int]:
        """The tokens of what stands for a picture or a clip."""
        parts = (
            self._encoder.encode(part, name="a clip's times") if isinstance(part, str) else [part]
            for part in self._specials.split(text)
        )
        return [token for part in parts for token in part]

    def _cut(self, ids: list[int], spans: list[Span]) -> tuple[list[int], list[Span]]:
        """A branch within the limit, with the responses that begin within it."""
        n = self.max_tokens
        return ids[:n], [(first, min(last, n - 1)) for first, last in spans if first < n]

    def _advise(self, before: Segments, after: Segments, responses: Sequence[str]) -> str:
        """What makes a group fit; an option that cannot help is not named."""

        def lengths(texts: Sequence[str]) -> list[int]:
            single = build_plan(len(texts), mode="single")
            return [len(ids) for ids, _ in self._branch_sequences(before, after, texts, single)]

        raise_it = "" if self.max_tokens >= self._backbone.context else "Raise --max-tokens, or: "
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
        self, before: Segments, after: Segments, responses: Sequence[str], plan: Plan
    ) -> list[tuple[list[int], list[Span]]]:
        """Each branch as a sequence of its own: (ids, first and last token of each response)."""
        known: dict[tuple[str, str], tuple[list[int], int]] = {}

        def encode_after(left: str, text: str, name: str) -> tuple[list[int], int]:
            if (left, text) not in known:
                known[left, text] = self._encoder.encode_after(left, text, name=name)
            return known[left, text]

        def encode(text: str, name: str) -> list[int]:
            return encode_after("", text, name)[0]

        def flatten(segments: Segments) -> list[int]:
            ids: list[int] = []
            n_chars_left = sum(len(each) for each in segments if isinstance(each, str))
            for each in segments:
                if self._is_hopeless(len(ids), n_chars_left):
                    raise self._much_too_long(len(ids), "shorten the prompt")
                ids += encode(each, "the prompt") if isinstance(each, str) else [each]
                n_chars_left -= len(each) if isinstance(each, str) else 0
            return ids

        header, footer = str(before[-1]), str(after[0])
        head, tail = flatten(before[:-1]), flatten(after[1:])
        sequences = []
        for branch in plan.branches:
            ids, spans = list(head), list[Span]()
            for place, response in enumerate(branch):
                if self._is_hopeless(len(ids), sum(len(responses[each]) for each in branch[place:])):
                    if self._truncate:
                        break
                    raise self._much_too_long(
                        len(ids), "judge each response alone (--mode single), or shorten it"
                    )
                is_last = place == len(branch) - 1
                # The separator's text is tokenized with the responses around it, the prompt's end with the first one.
                left, after_separator = ("", self._separator.after) if place else (header, "")
                right = footer if is_last else self._separator.before
                own, n_left = encode_after(
                    left, f"{after_separator}{responses[response]}{right}", f"responses[{response}]"
                )
                start = len(ids) + n_left
                ids += own + (tail if is_last else [])
                end = len(ids) - 1
                spans.append((min(start, end), end))  # an empty text has no token of its own
                if not is_last:
                    ids.append(self._separator.token_id)
            sequences.append((ids, spans))
        return sequences

    def _is_hopeless(self, n_tokens: int, n_chars_left: int) -> bool:
        """Whether a sequence is too long already, and too much of it is left to be tokenized for its length alone."""
        return n_tokens > self.max_tokens and n_chars_left > CHARS_PER_TOKEN * self.max_tokens

    def _much_too_long(self, n_tokens: int, way_on: str) -> TooLongError:
        raise_it = "" if self.max_tokens >= self._backbone.context else "raise --max-tokens, "
        hint = raise_it + way_on
        return TooLongError(
            f"the group is more than {n_tokens} tokens long, over the limit of {self.max_tokens}",
            hint=f"{hint[0].upper()}{hint[1:]}.",
        )

    def _media_types(self, ids: list[int]) -> Tensor:
        if not self._backbone.family.reads_media:
            return torch.zeros(len(ids), dtype=torch.int64)
        return torch.tensor(self._backbone.processor.create_mm_token_type_ids([ids])[0])


def _no_room_to_prepare() -> OutOfMemoryError:
    return OutOfMemoryError(
        "out of memory while the group was prepared",
        hint="Use smaller pictures, fewer frames (--max-frames) or shorter texts, or free memory.",
    )
