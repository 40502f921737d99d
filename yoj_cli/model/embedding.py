"""Rows that a judge adds to its backbone's input embedding, for a special token that the base has no row for.

The base's files stay as they are: the rows are a file of the checkpoint, and are put behind the base's own when the
judge is loaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.errors import CheckpointError
from yoj_cli.model.backbone import Backbone

MOST_ROWS = 4096
"""A tokenizer may know more tokens than its model has rows for (Gemma 3's one), but not by a vocabulary."""


def missing_rows(backbone: Backbone, token_id: int, *, where: str) -> int:
    """How many rows the embedding lacks for a token id; 0 where it has one.

    Raises:
        CheckpointError: more than a vocabulary could be short of.
    """
    n_missing = max(token_id + 1 - backbone.n_rows, 0)
    if n_missing > MOST_ROWS:
        raise CheckpointError(
            f"the tokenizer is not the backbone's: it knows tokens up to {token_id}, "
            f"and the embedding has {backbone.n_rows} rows",
            where=where,
        )
    return n_missing


def mean_rows(backbone: Backbone, n: int) -> Tensor:
    """New rows to begin with: the mean of the embedding's rows, each the same.

    It is rounded to bfloat16, so that it is the same number in a base of either type and survives `yoj merge`.

    Returns:
        (n, H) in the embedding's dtype and on its device; on the meta device, without values.
    """
    weight = _embedding(backbone).weight
    mean: Tensor = weight.detach().float().mean(0).to(torch.bfloat16)
    return mean.to(weight.dtype).expand(n, -1).contiguous()


def add_rows(backbone: Backbone, rows: Tensor, *, where: str) -> None:
    """Put rows behind those of the input embedding, frozen like them.

    Args:
        rows: (K, H); cast to the embedding's dtype.
        where: the folder they come from or are made for, for errors.
    Raises:
        CheckpointError: their width is not the embedding's, or this architecture's vocabulary cannot grow.
    """
    embedding = _embedding(backbone)
    weight = embedding.weight
    if rows.ndim != 2 or rows.shape[1] != weight.shape[1]:
        raise CheckpointError(
            f"the added embedding rows are {tuple(rows.shape)}, the backbone's have {weight.shape[1]} numbers each",
            where=where,
        )
    others = [
        name
        for name, module in backbone.model.named_modules()
        if isinstance(module, nn.Embedding)
        and module is not embedding
        and module.weight.shape[0] == weight.shape[0]
    ]
    if not isinstance(embedding, nn.Embedding) or backbone.family.released or others:
        raise CheckpointError(
            "the vocabulary of this backbone is full and cannot grow",
            where=where,
            hint="Name a special token of the base that no text uses: --separator-token TOKEN.",
        )
    added = rows.to(weight.device, weight.dtype)
    embedding.weight = nn.Parameter(torch.cat([weight.detach(), added]), requires_grad=False)
    embedding.num_embeddings = backbone.n_rows
    backbone.text_config.vocab_size = backbone.n_rows


def _embedding(backbone: Backbone) -> Any:
    return backbone.model.get_input_embeddings()  # type: ignore[operator]
