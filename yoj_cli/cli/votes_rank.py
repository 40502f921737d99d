"""`yoj votes rank`: votes in, ranked groups out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import Annotated, Optional

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, resolve_format, writing
from yoj_cli.cli.votes_input import read_all
from yoj_cli.config.io import OutputConfig
from yoj_cli.config.votes import RankingConfig, VotesConfig
from yoj_cli.errors import ExitCode, InputError


@with_options(votes=VotesConfig, ranking=RankingConfig)
def rank(
    votes: VotesConfig,
    ranking: RankingConfig,
    files: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(help="Votes, JSON Lines or CSV; - for standard input.", metavar="FILE"),
    ] = None,
) -> None:
    """Rank the responses of each group by pairwise votes; lines in the training format come out.

    A vote is a row: {"group": "q7", "a": "opt", "b": "bloom", "winner": "a", "annotator": "kim"}
    with "winner" a, b, tie or a name, "weight" and "prompt" where there are any, and texts in
    "a_text" and "b_text" or from --texts. Also read: whole rankings ("responses" with "rankings",
    one list or one per annotator), HelpSteer3's lines, and records with "pairwise".
    """
    output = OutputConfig(output=ranking.output, overwrite=ranking.overwrite, json=ranking.json)
    inputs = [*(files or ["-"]), *([str(votes.texts)] if votes.texts else [])]
    with ExitStack() as stack:
        stream = stack.enter_context(open_output(output, inputs))
        figures_file = None
        if ranking.figures is not None:
            named = OutputConfig(output=ranking.figures, overwrite=ranking.overwrite)
            figures_file = stack.enter_context(open_output(named, inputs, whole=True))
        found, complaints = read_all(files, votes)
        from yoj_cli.render.votes import render_figures, render_ranking
        from yoj_cli.render.writers import render_json
        from yoj_cli.votes.ranking import figures_of, rank_group

        as_lines = resolve_format(output, stream) == "jsonl"
        ranked = []
        for group in found.groups:
            try:
                one = rank_group(group, ranking.method)
                record = one.to_record(with_texts=not ranking.no_texts) if as_lines else {}
            except InputError as error:
                if votes.on_error == "stop":
                    raise
                complaints.add(error)
                found.errors.append(error)
                continue
            ranked.append(one)
            with writing(stream):
                stream.write((render_json(record) if as_lines else render_ranking(one)) + "\n")
        with writing(stream):
            stream.flush()
        figures = figures_of(ranked, ranking.method, ranking.compare)
        if figures_file is not None:
            with writing(figures_file):
                figures_file.write(render_json(asdict(figures)) + "\n")
    complaints.finish()
    if not ranking.quiet:
        say(render_figures(figures))
    if found.errors:
        raise typer.Exit(ExitCode.SOME_FAILED)
