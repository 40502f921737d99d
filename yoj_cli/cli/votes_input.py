"""What the commands about votes read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from yoj_cli.cli.input import check_paths
from yoj_cli.cli.messages import Complaints, complain
from yoj_cli.config.votes import VotesConfig, parse_columns
from yoj_cli.errors import InputError, first_few, require

if TYPE_CHECKING:
    from yoj_cli.votes.collect import Votes


def read_all(files: Sequence[str] | None, config: VotesConfig) -> tuple[Votes, Complaints]:
    """The votes of all files, and what was wrong with rows that were skipped, said as it was found.

    Raises:
        UsageError: an extra is not installed.
        InputError: there is nothing to read, or no vote in it.
    """
    paths = check_paths(files)
    texts = None if config.texts is None else check_paths([str(config.texts)])[0]
    require("ranking votes", "networkx", "evalica", extra="eval")
    from yoj_cli.votes.collect import read_votes

    found = read_votes(
        paths, parse_columns(config.columns), texts=texts, skip=config.on_error == "skip", limits=config
    )
    complaints = Complaints("rows or groups", rows_say_so=False)
    for error in found.errors:
        complaints.add(error)
    if not found.groups:
        names = ["stdin" if path == "-" else path for path in paths]
        raise InputError("there is no vote in it", where=first_few(names))
    if found.n_without_votes:
        complain(f"{found.n_without_votes:,} responses have a text and no vote; they are left out")
    return found, complaints
