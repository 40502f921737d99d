"""`yoj quantize`: a judge in, the same judge with stored 4-bit weights out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.config.judge import Dtype, JudgeConfig


@with_options(config=(JudgeConfig, ("revision", "base", "device")))
def quantize(
    config: JudgeConfig,
    checkpoint: Annotated[
        str, typer.Argument(help="Hub id, checkpoint folder, or 'demo'.", metavar="CHECKPOINT")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new checkpoint.", metavar="DIR")],
    dtype: Annotated[
        Dtype, typer.Option(help="Type of the weights that stay whole; auto is that of the base's files.")
    ] = "auto",
) -> None:
    """Store a judge's 4-bit weights: the scores of --quant 4bit, loaded in a fraction of the time.

    Only the base is quantized; an adapter stays whole beside it. Both are loaded, and the times reported.
    """
    from yoj_cli.checkpoint.quantize import quantize as run
    from yoj_cli.render.wording import render_size

    done = run(replace(config, model=checkpoint, dtype=dtype), out)
    say(
        f"quantized: {render_size(done.n_bytes_before)} -> {render_size(done.n_bytes_after)}, "
        f"loads in {done.load_after_s:.3g} s instead of {done.load_before_s:.3g} s"
    )
