"""`yoj merge`: a LoRA and its base in, one model in the official format out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.config.judge import JudgeConfig


@with_options(config=(JudgeConfig, ("revision", "base")))
def merge(
    config: JudgeConfig,
    checkpoint: Annotated[
        str, typer.Argument(help="Hub id, checkpoint folder, or 'demo'.", metavar="CHECKPOINT")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the merged model.", metavar="DIR")],
) -> None:
    """Merge a judge's LoRA into its base, in the official format: one model that needs no adapter.

    Weights keep the type of the base: a bfloat16 base rounds the sum, and scores move by that much.
    """
    from yoj_cli.checkpoint.merge import merge as run
    from yoj_cli.render.wording import render_size

    merged = run(replace(config, model=checkpoint), out)
    say(f"merged {merged.n_layers} layers: {render_size(merged.n_bytes)} in {out}")
    if not merged.has_lm_head:
        say("note: the base has no language-model head, nor has the result; no score uses one")
