"""Attention in a pass that holds branches beside their prefix.

A dense mask would have every token look at every other one, and throw away what passes between branches: of 64
branches, nearly all of it. Here the prefix attends to itself, and each branch, as a row of its own, to the prefix
and to itself: exactly what N separate passes would compute, with every other layer computed once for all tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from yoj_cli.errors import ModelError
from yoj_cli.judge.transfer import send

if TYPE_CHECKING:
    from yoj_cli.judge.layout import Layout

NAME = "yoj_branches"
"""What transformers knows this attention by."""

BUNCH_KEYS = 8192
"""Keys of the branches that are computed together: each has its own copy of the prefix's, for one layer at a time.

A 4B backbone takes 67 MB for so many keys in half precision, and as much for their values.
"""


ONE_BRANCH = "Use --mode multi without --orders and --window: one branch needs nothing of the kind."


class Branch(NamedTuple):
    """Where a branch stands: its row, the tokens of its prefix at the row's start, its first column, its tokens."""

    row: int
    n_prefix: int
    start: int
    length: int


@dataclass(frozen=True)
class Bunch:
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
class Sight:
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
    bunches: tuple[Bunch, ...]
    n_layers: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """For the backbone's forward. It takes a mask of four dimensions as it is, and makes none of its own."""
        return {"attention_mask": self.media, "sight": self}

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
    """Have a backbone's language model attend as a `Sight` says; without one it attends as it always does."""
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
    sight: Sight | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers asks for it, a layer at a time.

    Args:
        query: (B, heads, T, D).
        key, value: (B, key heads, C + T, D), C of them from the cache.
        sight: who sees whom; None for a plain pass.
    Returns:
        (B, T, heads, D).
    Raises:
        ModelError: a layer that looks through a window, which the prefix may be beyond; or an architecture that
            does not hand on `sight`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def compute(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        found: Tensor = sdpa_attention_forward(module, query, key, value, mask, **options)[0]
        return found

    if sight is None:
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
    sight.n_layers += 1
    # Zeros for padding: what a mask hides is multiplied by nothing, and must be a number for that.
    found = query.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3])
    # What is written later is right where ways overlap: another row's longer prefix reaches into this row's branches.
    for n, mask in ((sight.n_causal, None), (sight.media.shape[-1], sight.media)):
        if n:
            found[:, :n] = compute(query[:, :, :n], key[:, :, :n], value[:, :, :n], mask)
    for bunch in sight.bunches:
        own = bunch.columns - sight.n_cached
        looking = query[bunch.rows, :, own].transpose(1, 2)
        if bunch.mask is None:
            looking = nn.functional.pad(looking, (0, 0, bunch.n_prefix, 0))
        result = compute(looking, _gather(key, bunch), _gather(value, bunch), bunch.mask)[:, -own.shape[1] :]
        rows = bunch.rows.expand_as(own).reshape(-1)[bunch.places]
        found[rows, own.reshape(-1)[bunch.places]] = result.flatten(0, 1)[bunch.places]
    return found, None


def _gather(states: Tensor, bunch: Bunch) -> Tensor:
    """(B, heads, C + T, D) -> (S, heads, P + L, D): what each branch may look at."""
    prefix = states[bunch.rows[:, 0], :, : bunch.n_prefix]
    own = states[bunch.rows, :, bunch.columns].transpose(1, 2)
    return torch.cat([prefix, own], dim=2)


def see_rows(layouts: Sequence[Layout], device: torch.device, *, media_sees_itself: bool) -> Sight | None:
    """Who sees whom where each layout is a row; None where every token sees all those before it.

    Args:
        media_sees_itself: picture and frame tokens see each other in both directions.
    """
    media = _see_media([layout.media_types[0] for layout in layouts] if media_sees_itself else [], device)
    branches = [
        Branch(row, layout.n_prefix, *place)
        for row, layout in enumerate(layouts)
        for place in zip(layout.branch_starts, layout.branch_lengths, strict=True)
        if len(layout.branch_lengths) > 1
    ]
    if not branches and not media.shape[-1]:
        return None
    n_causal = max(layout.n_prefix or layout.n_tokens for layout in layouts)
    return Sight(0, n_causal, media, tuple(_bunch(branches, device)))


def see_cached(n_prefix: int, lengths: Sequence[int], device: torch.device) -> Sight:
    """Who sees whom where the prefix is in the cache and the pass holds some branches, one after the other."""
    starts = accumulate(lengths[:-1], initial=n_prefix)
    branches = [Branch(0, n_prefix, *place) for place in zip(starts, lengths, strict=True)]
    return Sight(n_prefix, 0, _see_media([], device), tuple(_bunch(branches, device)))


def _see_media(media_types: Sequence[Tensor], device: torch.device) -> Tensor:
    """(B, 1, M, M) bool: causal, and media tokens in both directions; M reaches to the last of them.

    Args:
        media_types: (T,) of each row, 0 = text; none where media are read like text.
    """
    reach = max((int(types.nonzero().max()) + 1 for types in media_types if types.any()), default=0)
    rows = [nn.functional.pad(types[:reach], (0, max(0, reach - len(types)))) > 0 for types in media_types]
    media = send(torch.stack(rows), device) if reach else torch.zeros(1, 0, dtype=torch.bool, device=device)
    causal = torch.ones(reach, reach, dtype=torch.bool, device=device).tril()
    return (causal | (media[:, :, None] & media[:, None, :]))[:, None]


def _bunch(branches: Sequence[Branch], device: torch.device) -> Iterator[Bunch]:
    """Branches of like lengths together: none is padded to twice its length."""
    waiting = sorted(branches, key=lambda branch: branch.length)
    while waiting:
        size = waiting[0].length.bit_length()
        several = [branch for branch in waiting if branch.length.bit_length() == size]
        longest, n_prefix = several[-1].length, max(branch.n_prefix for branch in several)
        several = several[: max(1, BUNCH_KEYS // (n_prefix + longest))]
        waiting = waiting[len(several) :]
        yield _pad(several, device)


def _pad(branches: Sequence[Branch], device: torch.device) -> Bunch:
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
    return Bunch(
        rows=send(rows, device),
        columns=send(starts + steps.clamp(max=lengths - 1), device),
        n_prefix=n_prefix,
        mask=mask,
        places=send((steps < lengths).reshape(-1).nonzero()[:, 0], device),
    )
