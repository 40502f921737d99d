"""`yoj votes`: the commands about pairwise votes."""

from __future__ import annotations

import typer

from yoj_cli.cli.command import SETTINGS, Command
from yoj_cli.cli.votes_explain import explain
from yoj_cli.cli.votes_rank import rank
from yoj_cli.cli.votes_sample import sample

votes = typer.Typer(
    name="votes", help="Pairwise votes to rankings, and rankings to groups of N responses.", **SETTINGS
)
for command in (rank, sample, explain):
    votes.command(cls=Command)(command)
