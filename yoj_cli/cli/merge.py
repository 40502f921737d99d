"""`yoj merge`: a LoRA and its base in, one model in the official format out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.config.judge import JudgeConfig


@with_options()
def merge(
    checkpoint: Annotated[
        str, typer.Argument(help="Hub id, checkpoint folder, or 'demo'.", metavar="CHECKPOINT")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the merged model.", metavar="DIR")],
    revision: Annotated[
        Optional[str],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Option(help="Branch, tag or commit of the checkpoint on the Hub.", metavar="REV"),
    ] = None,
    base: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where the base is, folder or Hub id, if not where it says.", metavar="NAME"),
    ] = None,
) -> None:
    """Merge a judge's LoRA into its base, in the official format: one model that needs no adapter.

    Weights keep the type of the base: a bfloat16 base rounds the sum, and scores move by that much.
    """
    from yoj_cli.checkpoint.merge import merge as run
    from yoj_cli.render.wording import render_size

    merged = run(JudgeConfig(model=checkpoint, revision=revision, base=base), out)
    say(f"merged {merged.n_layers} layers: {render_size(merged.n_bytes)} in {out}")
    if not merged.has_lm_head:
        say("note: the base has no language-model head, nor has the result; no score uses one")
