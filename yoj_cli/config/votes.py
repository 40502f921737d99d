"""What `yoj votes` reads, and how it ranks and samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import Options, option, positive, valid_seed
from yoj_cli.config.limits import LineLimits
from yoj_cli.errors import UsageError

COLUMNS = ("group", "prompt", "a", "b", "winner", "annotator", "weight", "a_text", "b_text")
"""What a vote may say, and the columns that say it unless --columns names others."""

Method = Literal["graph", "copeland", "wins", "win-rate", "bradley-terry", "newman", "elo", "pagerank"]


def parse_columns(text: str | None) -> dict[str, str]:
    """ "group=question_id,a=model_a" -> the column of each of COLUMNS.

    Raises:
        UsageError: an entry is not NAME=COLUMN, or names nothing that a vote has.
    """
    found = {name: name for name in COLUMNS}
    for entry in (text or "").split(","):
        name, sign, column = entry.partition("=")
        if not entry.strip():
            continue
        if not sign or name.strip() not in COLUMNS or not column.strip():
            raise UsageError(
                f"{entry!r} is not NAME=COLUMN",
                where="--columns",
                hint=f"NAME is one of {', '.join(COLUMNS)}: --columns group=question_id,winner=vote.",
            )
        found[name.strip()] = column.strip()
    return found


def _valid_columns(text: str) -> str | None:
    parse_columns(text)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class VotesConfig(LineLimits):
    """What is read as votes."""

    columns: str | None = option(
        None,
        "Columns of other names than group, prompt, a, b, winner, annotator, weight, a_text, b_text, as "
        "NAME=COLUMN,NAME=COLUMN.",
        metavar="LIST",
        check=_valid_columns,
    )
    texts: Path | None = option(
        None,
        "Prompts and responses, JSON Lines: groups with `responses` and `names`, or a `name` and a `text` a line.",
        metavar="FILE",
    )
    on_error: Literal["stop", "skip"] = option(
        "stop", "At a row or group that cannot be used: stop, or report it and go on."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingConfig(Options):
    """How votes become rankings, and where they go."""

    method: Method = option(
        "graph",
        "graph: preference graph, cycles removed; copeland: pairs won less pairs lost; wins, win-rate, bradley-terry, "
        "newman, elo, pagerank: evalica's.",
    )
    compare: Method = option("bradley-terry", "A second method; how far the two agree is said.")
    no_texts: bool = option(False, "Write names and ranks only, where no texts are at hand.")
    output: Path | None = option(
        None, "Write to this new file instead of standard output.", "--output", "-o", metavar="FILE"
    )
    overwrite: bool = option(False, "Let -o and --figures replace what FILE holds.")
    json: bool = option(False, "JSON Lines on a terminal, too.", "--json")
    figures: Path | None = option(
        None, "Write what is printed about the votes to this file as JSON.", metavar="FILE"
    )
    quiet: bool = option(False, "Say nothing about the votes.", "--quiet", "-q")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig(LineLimits):
    """How groups of N are drawn from ranked groups."""

    n: int = option(4, "Responses of a variant.", "--n", metavar="N", check=positive)
    unique_best: bool = option(False, "Only variants that have one best response.")
    per_group: int = option(
        1, "Variants of a group, no two with the same responses; fewer where there are not so many.",
        metavar="K", check=positive,
    )  # fmt: skip
    seed: int = option(0, "Seed of the draw.", metavar="S", check=valid_seed)
    output: Path | None = option(
        None, "Write to this new file instead of standard output.", "--output", "-o", metavar="FILE"
    )
    overwrite: bool = option(False, "Let -o replace the results that FILE holds.")
    on_error: Literal["stop", "skip"] = option(
        "stop", "At a line that cannot be used: stop, or report it and go on."
    )
    quiet: bool = option(False, "No summary.", "--quiet", "-q")

    def check_together(self) -> None:
        if self.n < 2:
            raise UsageError("a variant has at least 2 responses", where="--n")
