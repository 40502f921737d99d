"""`yoj votes explain`: one group's graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.cli.votes_input import read_all
from yoj_cli.config.io import OutputConfig
from yoj_cli.config.votes import VotesConfig


@with_options(votes=VotesConfig)
def explain(
    votes: VotesConfig,
    file: Annotated[str, typer.Argument(help="Votes, as for `yoj votes rank`.", metavar="FILE")],
    group: Annotated[str, typer.Argument(help="Its id, else its prompt.", metavar="GROUP")],
    dot: Annotated[
        Optional[Path],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Option(help="Also write the graph to this new file, for Graphviz.", metavar="FILE"),
    ] = None,
) -> None:
    """Show one group's preference graph: which edges there were, which were cut and why."""
    found, complaints = read_all([file], votes)
    from yoj_cli.render.votes import render_dot, render_explanation
    from yoj_cli.votes.collect import find_group
    from yoj_cli.votes.ranking import rank_group

    ranked = rank_group(find_group(found.groups, group))
    complaints.finish()
    if dot is not None:
        with open_output(OutputConfig(output=dot), [file], whole=True) as stream, writing(stream):
            stream.write(render_dot(ranked))
    with open_output(OutputConfig(format="jsonl"), [file]) as stream, writing(stream):
        stream.write(render_explanation(ranked) + "\n")
        stream.flush()
