"""The separator of a judge: its token in the tokenizer, and its row in the embedding.

Molmo2 and Qwen3-VL have rows to spare. A base whose vocabulary is full (Llama, SmolLM2, Gemma) has none: the judge
brings the row, in a file of its checkpoint, and the base's files stay as they are.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from yoj_cli.errors import CheckpointError
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.embedding import add_rows, mean_rows, missing_rows
from yoj_cli.sequence.tokens import Separator, SpecialTokens, register_separator
from yoj_cli.storage.files import read_weights
from yoj_cli.storage.names import ADDED_ROWS, ADDED_ROWS_KEY


def restore_separator(backbone: Backbone, separator: str, folder: Path) -> tuple[int | None, Tensor | None]:
    """Give the backbone what a checkpoint says of its separator.

    Args:
        separator: text between two responses, with its one special token.
        folder: the checkpoint's, which has the row where the base has none.
    Returns:
        (the id it was registered at, None where the tokenizer knows it; (K, H) rows that were added, or None).
    Raises:
        CheckpointError: the separator is no single special token, or its row is missing or does not fit.
    """
    registered = register_separator(backbone.tokenizer, separator)
    token_id = Separator.parse(separator, SpecialTokens(backbone.tokenizer), where=str(folder)).token_id
    n_missing = missing_rows(backbone, token_id, where=str(folder))
    rows = read_rows(folder)
    if rows is None and n_missing:
        raise CheckpointError(
            f"the backbone has no embedding row for the separator: its id is {token_id}, "
            f"the rows are {backbone.n_rows}",
            where=str(folder),
            hint="The tokenizer files must come from the checkpoint, and where the base has no row to spare the row, "
            f"too ({ADDED_ROWS}).",
        )
    if rows is not None:
        if rows.shape[0] != n_missing:
            raise CheckpointError(
                f"holds {rows.shape[0]} embedding rows, and the base lacks {n_missing}: it is for another base",
                where=str(folder / ADDED_ROWS),
            )
        add_rows(backbone, rows, where=str(folder / ADDED_ROWS))
    return registered, rows


def begin_separator(backbone: Backbone, separator: str, *, where: str) -> Tensor | None:
    """Give a base that is to be trained its separator: registered, and with a row of its own where it has none.

    The row is the mean of the embedding, and stays so: training moves the adapter and the head alone, so that the
    separator costs no further optimizer state and a base with a row to spare is trained in the same way.

    Returns:
        (K, H) rows that were added, None where the base had one.
    Raises:
        CheckpointError: this architecture's vocabulary cannot grow.
    """
    register_separator(backbone.tokenizer, separator)
    token_id = Separator.parse(separator, SpecialTokens(backbone.tokenizer), where=where).token_id
    if not (n_missing := missing_rows(backbone, token_id, where=where)):
        return None
    rows = mean_rows(backbone, n_missing)
    add_rows(backbone, rows, where=where)
    return rows


def read_rows(folder: Path) -> Tensor | None:
    """The rows that a checkpoint adds to the embedding, (K, H); None where it adds none.

    Raises:
        CheckpointError: the file is damaged or holds something else.
    """
    path = folder / ADDED_ROWS
    if not path.exists():
        return None
    found = read_weights(path)
    if set(found) != {ADDED_ROWS_KEY} or found[ADDED_ROWS_KEY].ndim != 2:
        raise CheckpointError(f"must hold one matrix, {ADDED_ROWS_KEY}", where=str(path))
    if not bool(found[ADDED_ROWS_KEY].isfinite().all()):
        raise CheckpointError("holds numbers that are not finite", where=str(path))
    return found[ADDED_ROWS_KEY]


def write_rows(folder: Path, rows: Tensor) -> None:
    """Write the rows that a judge adds to its base's embedding, (K, H)."""
    from safetensors.torch import save_file

    save_file(
        {ADDED_ROWS_KEY: rows.detach().cpu().contiguous()}, folder / ADDED_ROWS, metadata={"format": "pt"}
    )
