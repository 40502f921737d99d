"""Attention over packed sequences: a prefix, and branches that attend to it and to themselves.

One dense mask over the whole sequence would compute every pair of tokens and discard those of different branches: with
64 branches, nearly all. Here the prefix attends to itself, and each branch, as a row of its own, to the prefix and
to itself. That is what N separate passes would compute, while all other layers see every token once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from yoj_cli.errors import ModelError
from yoj_cli.model.device import send

NAME = "yoj_branches"
"""The name under which transformers finds this attention (`attn_implementation`)."""

BUCKET_KEYS = 8192
"""Most keys of the branches that are computed together: each has its own copy of the prefix's, one layer at a time.

For a 4B backbone in half precision these are 67 MB of keys, and as much of values.
"""


NOT_IN_SDPA = ("softcap", "s_aux")
"""What transformers hands over for Gemma 2's cap on the scores and for gpt-oss's sinks, and torch's function lacks."""

CANNOT = "this architecture does not keep branches apart when they are read in one pass"
ONE_BRANCH = "Use --mode multi without --orders and --window: one branch needs nothing of the kind."


class RowSpans(Protocol):
    """What attention needs to know of a row of the batch: its prefix, its branches and its media tokens."""

    @property
    def n_tokens(self) -> int: ...
    @property
    def n_prefix(self) -> int: ...
    @property
    def branch_starts(self) -> Sequence[int]: ...
    @property
    def branch_lengths(self) -> Sequence[int]: ...
    @property
    def media_types(self) -> Tensor:
        """(1, T) 0 = text, else a picture or frame token."""


class Branch(NamedTuple):
    """Where a branch stands in the batch.

    Attributes:
        row: its row.
        n_prefix: tokens of its prefix, at the start of the row.
        start: column of its first token.
        length: its tokens.
    """

    row: int
    n_prefix: int
    start: int
    length: int


@dataclass(frozen=True)
class LengthBucket:
    """S branches of similar lengths, computed together, padded on the right to L tokens.

    Attributes:
        rows: (S, 1) the row of the batch that each branch stands in.
        columns: (S, L) where its tokens stand in that row; padding repeats the last.
        n_prefix: P, keys at the start of a row that a branch may attend to.
        mask: (S or 1, 1, L, P + L) bool, True where a token attends to a key; never to the padding after it. None
            where causal attention from the prefix and the branch, whose first P rows are discarded, is less work.
        unpadded: (n,) indices into S * L of the tokens that are no padding.
    """

    rows: Tensor
    columns: Tensor
    n_prefix: int
    mask: Tensor | None
    unpadded: Tensor


@dataclass
class AttentionPlan:
    """Which token attends to which, in one forward pass over B rows.

    Attributes:
        n_cached: keys in the KV cache, before those of the pass.
        n_causal: tokens at the start of every row whose attention is plainly causal.
        media: (B, 1, M, M) bool, the mask of the first M tokens where media tokens attend to each other in both
            directions; M is 0 where none do.
        buckets: all branches, by length and not by row.
        n_layers: layers that have used the plan so far.
    """

    n_cached: int
    n_causal: int
    media: Tensor
    buckets: tuple[LengthBucket, ...]
    n_layers: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """For the backbone's forward, which takes a mask of four dimensions as it is, and makes none of its own."""
        return {"attention_mask": self.media, "attention_plan": self}

    def check_used(self, n_layers: int) -> None:
        """Make sure that every layer has used the plan.

        Raises:
            ModelError: an architecture some of whose layers mix tokens otherwise than by attention.
        """
        if self.n_layers < n_layers:
            raise ModelError(
                f"{n_layers - self.n_layers} of the {n_layers} layers of this architecture cannot keep branches apart",
                hint=ONE_BRANCH,
            )


def install(model: nn.Module) -> None:
    """Have a backbone's language model follow an `AttentionPlan`; without one its attention is as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    config: Any = model.config
    nested = "text_config" in config.sub_configs
    model.set_attn_implementation({"text_config": NAME} if nested else NAME)  # type: ignore[operator]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    attention_plan: AttentionPlan | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers asks for it, a layer at a time.

    Args:
        query: (B, heads, T, D).
        key, value: (B, key heads, C + T, D), C of them from the cache.
        attention_mask: (…, T, C + T) for a plain pass; what a plan needs of masks, it brings.
        attention_plan: which token attends to which; None for a plain pass.
    Returns:
        (B, T, heads, D).
    Raises:
        ModelError: sliding-window attention whose window is shorter than the sequence; an architecture that does not
            pass `attention_plan` on to its layers, or whose attention torch does not compute.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if left_out := [name for name in NOT_IN_SDPA if options.get(name) is not None]:
        raise ModelError(f"this architecture's attention has a {left_out[0]}, which torch's does not compute")

    def compute(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found: Tensor = sdpa_attention_forward(module, query, key, value, mask, **options)[0]
        return found

    if attention_plan is None:
        if attention_mask is not None and attention_mask.shape[-1] != key.shape[2]:
            raise ModelError(CANNOT, hint=ONE_BRANCH)
        return compute(query, key, value, attention_mask), None
    chunk = getattr(getattr(module, "config", None), "attention_chunk_size", None)  # Llama 4's
    window = options.get("sliding_window") or chunk or key.shape[2]
    if window < key.shape[2]:
        raise ModelError(
            f"this architecture has sliding-window attention over {window} tokens, "
            f"and the prefix with its branches is longer ({key.shape[2]} tokens)",
            hint=f"{ONE_BRANCH} Or give shorter groups.",
        )
    attention_plan.n_layers += 1
    # Padding holds zeros: masked values are weighted by 0, so they must be finite.
    n_rows, n_heads, n_tokens, _ = query.shape
    found = query.new_zeros(n_rows, n_tokens, n_heads, value.shape[3])  # (B, T, heads, D)
    # 1. The prefixes: causal first, then the media among them. Later steps overwrite earlier ones, and must: where
    #    another row's prefix is longer, step 1 also writes to this row's branches.
    for n, mask in ((attention_plan.n_causal, None), (attention_plan.media.shape[-1], attention_plan.media)):
        if n:
            found[:, :n] = compute(query[:, :, :n], key[:, :, :n], value[:, :, :n], mask)
    # 2. The branches, a length bucket at a time, each with its prefix's keys and values before its own.
    for bucket in attention_plan.buckets:
        own = bucket.columns - attention_plan.n_cached  # (S, L)
        queries = query[bucket.rows, :, own].transpose(1, 2)  # (S, heads, L, D)
        if bucket.mask is None:
            queries = nn.functional.pad(queries, (0, 0, bucket.n_prefix, 0))  # (S, heads, P + L, D)
        result = compute(queries, _gather(key, bucket), _gather(value, bucket), bucket.mask)
        result = result[:, -own.shape[1] :]  # (S, L, heads, D)
        rows = bucket.rows.expand_as(own).reshape(-1)[bucket.unpadded]
        found[rows, own.reshape(-1)[bucket.unpadded]] = result.flatten(0, 1)[bucket.unpadded]
    return found, None


def _gather(states: Tensor, bucket: LengthBucket) -> Tensor:
    """(B, heads, C + T, D) -> (S, heads, P + L, D): the keys or values that each branch may attend to."""
    prefix = states[bucket.rows[:, 0], :, : bucket.n_prefix]
    own = states[bucket.rows, :, bucket.columns].transpose(1, 2)
    return torch.cat([prefix, own], dim=2)


def build_attention_plan(
    rows: Sequence[RowSpans], device: torch.device, *, bidirectional_media_attention: bool
) -> AttentionPlan | None:
    """Which token attends to which where each sequence is a row of one pass; None where all attention is causal.

    Args:
        bidirectional_media_attention: picture and frame tokens attend to each other in both directions.
    """
    media = _media_mask([row.media_types[0] for row in rows] if bidirectional_media_attention else [], device)
    branches = [
        Branch(index, row.n_prefix, *place)
        for index, row in enumerate(rows)
        for place in zip(row.branch_starts, row.branch_lengths, strict=True)
        if len(row.branch_lengths) > 1
    ]
    if not branches and not media.shape[-1]:
        return None
    n_causal = max(row.n_prefix or row.n_tokens for row in rows)
    return AttentionPlan(0, n_causal, media, tuple(_bucket_by_length(branches, device)))


def build_cached_attention_plan(n_prefix: int, lengths: Sequence[int], device: torch.device) -> AttentionPlan:
    """The same where the prefix is in the KV cache, and the pass holds some of its branches one after the other."""
    starts = accumulate(lengths[:-1], initial=n_prefix)
    branches = [Branch(0, n_prefix, *place) for place in zip(starts, lengths, strict=True)]
    return AttentionPlan(n_prefix, 0, _media_mask([], device), tuple(_bucket_by_length(branches, device)))


def _media_mask(media_types: Sequence[Tensor], device: torch.device) -> Tensor:
    """(B, 1, M, M) bool: causal, and media tokens in both directions; M is the index behind the last of them.

    Args:
        media_types: (T,) of each row, 0 = text; no rows where media are read like text.
    """
    reach = max((int(types.nonzero().max()) + 1 for types in media_types if types.any()), default=0)
    if not reach:
        return torch.ones(1, 1, 0, 0, dtype=torch.bool, device=device)
    media = send(
        pad_sequence([types[:reach] > 0 for types in media_types], batch_first=True), device
    )  # (B, M)
    causal = torch.ones(reach, reach, dtype=torch.bool, device=device).tril()
    return (causal | (media[:, :, None] & media[:, None, :]))[:, None]


def _bucket_by_length(branches: Sequence[Branch], device: torch.device) -> Iterator[LengthBucket]:
    """Branches in length buckets; none is padded to twice its length."""
    waiting = sorted(branches, key=lambda branch: branch.length)
    while waiting:
        size = waiting[0].length.bit_length()
        several = [branch for branch in waiting if branch.length.bit_length() == size]
        longest, n_prefix = several[-1].length, max(branch.n_prefix for branch in several)
        several = several[: max(1, BUCKET_KEYS // (n_prefix + longest))]
        waiting = waiting[len(several) :]
        yield _pad(several, device)


def _pad(branches: Sequence[Branch], device: torch.device) -> LengthBucket:
    rows, prefixes, starts, lengths = (torch.tensor(each)[:, None] for each in zip(*branches, strict=True))
    steps = torch.arange(int(lengths.max()))
    n_prefix, is_one_prefix = int(prefixes.max()), bool((prefixes == prefixes[0]).all())
    mask = None
    # With a mask, L * (P + L) pairs are computed; without, causal attention computes half the square of P + L. On a
    # CPU the second is faster from about L = 2 P on; below, it saves too little for the P rows that it adds.
    if 2 * n_prefix > len(steps) or not is_one_prefix:
        own = torch.ones(len(steps), len(steps), dtype=torch.bool).tril()
        seen = torch.arange(n_prefix) < (prefixes[:1] if is_one_prefix else prefixes)
        shape = (len(seen), 1, len(steps), -1)
        mask = send(torch.cat([seen[:, None, None].expand(shape), own.expand(shape)], dim=-1), device)
    return LengthBucket(
        rows=send(rows, device),
        columns=send(starts + steps.clamp(max=lengths - 1), device),
        n_prefix=n_prefix,
        mask=mask,
        unpadded=send((steps < lengths).reshape(-1).nonzero()[:, 0], device),
    )
