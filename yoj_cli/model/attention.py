"""Attention in a pass that holds branches beside their prefix.

A dense mask would have every token look at every other one, and throw away what passes between branches: of 64
branches, nearly all of it. Here the prefix attends to itself, and each branch, as a row of its own, to the prefix
and to itself: exactly what N separate passes would compute, with every other layer computed once for all tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from yoj_cli.errors import ModelError
from yoj_cli.model.device import send

NAME = "yoj_branches"
"""What transformers knows this attention by."""

BUCKET_KEYS = 8192
"""Keys of the branches that are computed together: each has its own copy of the prefix's, for one layer at a time.

A 4B backbone takes 67 MB for so many keys in half precision, and as much for their values.
"""


ONE_BRANCH = "Use --mode multi without --orders and --window: one branch needs nothing of the kind."


class RowSpans(Protocol):
    """What attention needs to know of a row of a pass: where its prefix and its branches stand, and what are media."""

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
    """Where a branch stands: its row, the tokens of its prefix at the row's start, its first column, its tokens."""

    row: int
    n_prefix: int
    start: int
    length: int


@dataclass(frozen=True)
class LengthBucket:
    """Branches of like lengths, computed together: S rows, padded on the right to L tokens.

    Attributes:
        rows: (S, 1) the row of the pass that a branch stands in.
        columns: (S, L) where its tokens stand in that row; padding repeats the last.
        n_prefix: P, keys at the start of a row that a branch may look at.
        mask: (S or 1, 1, L, P + L) bool, who sees whom; no token sees the padding after it. None where it is less
            work to attend from the prefix as well, as any text does, and to throw that part away.
        places: (n,) indices into S * L of the tokens that are no padding.
    """

    rows: Tensor
    columns: Tensor
    n_prefix: int
    mask: Tensor | None
    places: Tensor


@dataclass
class AttentionPlan:
    """Who sees whom in one pass over B rows.

    Attributes:
        n_cached: keys in the cache, before those of the pass.
        n_causal: tokens at the start of every row that see those before them, as in any text.
        media: (B, 1, M, M) bool, who sees whom among the first M tokens where media tokens see each other in both
            directions; M is 0 where none do.
        bunches: branches, whatever row they stand in.
        n_layers: layers that have asked.
    """

    n_cached: int
    n_causal: int
    media: Tensor
    buckets: tuple[LengthBucket, ...]
    n_layers: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """For the backbone's forward. It takes a mask of four dimensions as it is, and makes none of its own."""
        return {"attention_mask": self.media, "attention_plan": self}

    def check_used(self, n_layers: int) -> None:
        """Make sure that every layer has asked.

        Raises:
            ModelError: an architecture some of whose layers mix tokens in another way.
        """
        if self.n_layers < n_layers:
            raise ModelError(
                f"{n_layers - self.n_layers} of the {n_layers} layers of this architecture cannot keep branches apart",
                hint=ONE_BRANCH,
            )


def install(model: nn.Module) -> None:
    """Have a backbone's language model attend as a `AttentionPlan` says; without one it attends as it always does."""
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
        attention_plan: who sees whom; None for a plain pass.
    Returns:
        (B, T, heads, D).
    Raises:
        ModelError: a layer that looks through a window, which the prefix may be beyond; or an architecture that
            does not hand on `attention_plan`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def compute(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found: Tensor = sdpa_attention_forward(module, query, key, value, mask, **options)[0]
        return found

    if attention_plan is None:
        if attention_mask is not None and attention_mask.shape[-1] != key.shape[2]:
            raise ModelError(
                "this architecture does not tell its layers how to keep branches apart", hint=ONE_BRANCH
            )
        return compute(query, key, value, attention_mask), None
    if (options.get("sliding_window") or key.shape[2]) < key.shape[2]:
        raise ModelError(
            f"this architecture looks through a window of {options['sliding_window']} tokens, which branches beside "
            f"their prefix ({key.shape[2]} tokens) do not fit",
            hint=f"{ONE_BRANCH} Or give shorter groups.",
        )
    attention_plan.n_layers += 1
    # Zeros for padding: what a mask hides is multiplied by nothing, and must be a number for that.
    found = query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3])
    # What is written later is right where ways overlap: another row's longer prefix reaches into this row's branches.
    for n, mask in ((attention_plan.n_causal, None), (attention_plan.media.shape[-1], attention_plan.media)):
        if n:
            found[:, :n] = compute(query[:, :, :n], key[:, :, :n], value[:, :, :n], mask)
    for bucket in attention_plan.buckets:
        own = bucket.columns - attention_plan.n_cached
        looking = query[bucket.rows, :, own].transpose(1, 2)
        if bucket.mask is None:
            looking = nn.functional.pad(looking, (0, 0, bucket.n_prefix, 0))
        result = compute(looking, _gather(key, bucket), _gather(value, bucket), bucket.mask)[
            :, -own.shape[1] :
        ]
        rows = bucket.rows.expand_as(own).reshape(-1)[bucket.places]
        found[rows, own.reshape(-1)[bucket.places]] = result.flatten(0, 1)[bucket.places]
    return found, None


def _gather(states: Tensor, bucket: LengthBucket) -> Tensor:
    """(B, heads, C + T, D) -> (S, heads, P + L, D): what each branch may look at."""
    prefix = states[bucket.rows[:, 0], :, : bucket.n_prefix]
    own = states[bucket.rows, :, bucket.columns].transpose(1, 2)
    return torch.cat([prefix, own], dim=2)


def build_attention_plan(
    rows: Sequence[RowSpans], device: torch.device, *, bidirectional_media_attention: bool
) -> AttentionPlan | None:
    """Who sees whom as rows of one pass; None where every token sees all those before it.

    Args:
        bidirectional_media_attention: picture and frame tokens see each other in both directions.
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
    """Who sees whom where the prefix is in the cache and the pass holds some branches, one after the other."""
    starts = accumulate(lengths[:-1], initial=n_prefix)
    branches = [Branch(0, n_prefix, *place) for place in zip(starts, lengths, strict=True)]
    return AttentionPlan(n_prefix, 0, _media_mask([], device), tuple(_bucket_by_length(branches, device)))


def _media_mask(media_types: Sequence[Tensor], device: torch.device) -> Tensor:
    """(B, 1, M, M) bool: causal, and media tokens in both directions; M reaches to the last of them.

    Args:
        media_types: (T,) of each row, 0 = text; none where media are read like text.
    """
    reach = max((int(types.nonzero().max()) + 1 for types in media_types if types.any()), default=0)
    rows = [nn.functional.pad(types[:reach], (0, max(0, reach - len(types)))) > 0 for types in media_types]
    media = send(torch.stack(rows), device) if reach else torch.zeros(1, 0, dtype=torch.bool, device=device)
    causal = torch.ones(reach, reach, dtype=torch.bool, device=device).tril()
    return (causal | (media[:, :, None] & media[:, None, :]))[:, None]


def _bucket_by_length(branches: Sequence[Branch], device: torch.device) -> Iterator[LengthBucket]:
    """Branches of like lengths together: none is padded to twice its length."""
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
    # A mask takes L * (P + L) of work; without one a kernel does half the square of P + L. On a CPU the second is
    # faster from about L = 2 P on: below it saves too little for the rows that it adds.
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
        places=send((steps < lengths).reshape(-1).nonzero()[:, 0], device),
    )
