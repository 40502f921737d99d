"""What `yoj data` converts, and what it writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from yoj_cli.config.field import Options, option, positive, valid_seed
from yoj_cli.config.io import OnError
from yoj_cli.errors import UsageError

PARTS = ("", "-eval", "-test")
"""What stands behind the output's name for each part of a split."""


def parse_split(text: str) -> tuple[float, ...]:
    """ "0.9/0.1" -> (0.9, 0.1).

    Raises:
        ValueError: two or three positive shares that sum to 1 are wanted.
    """
    shares = tuple(float(share) for share in text.split("/"))
    if (
        not 2 <= len(shares) <= len(PARTS)
        or min(shares) <= 0
        or not math.isclose(sum(shares), 1, abs_tol=1e-6)
    ):
        raise ValueError(text)
    return shares


def _valid_split(text: str) -> str | None:
    try:
        parse_split(text)
    except ValueError:
        return f"{text!r} is not two or three positive shares that sum to 1, such as 0.9/0.1"
    return None


def _at_least_two(value: int) -> str | None:
    return None if value >= 2 else f"{value} responses cannot be ranked; give 2 or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(Options):
    """How a public preference set is converted."""

    list: bool = option(False, "Show the sets: licence, where they are, what was verified.")
    data: Path | None = option(
        None,
        "A local copy (parquet, JSON, JSON Lines, zip, folder). Default: the Hub's.",
        metavar="PATH",
    )
    revision: str | None = option(
        None, "Commit, branch or tag on the Hub. Default: see --list.", metavar="REV"
    )
    media: Path | None = option(
        None, "A folder or zip with the pictures and clips, if they lie elsewhere.", metavar="PATH"
    )
    output: Path | None = option(None, "The new training file.", "--output", "-o", metavar="FILE")
    overwrite: bool = option(False, "Let -o replace what FILE holds.")
    split: str | None = option(
        None,
        "Shares of prompts for FILE and FILE-eval (and FILE-test); all groups of a prompt go to one of them.",
        metavar="A/B",
        check=_valid_split,
    )
    n: int | None = option(
        None,
        "Keep N responses, drawn at random, of a group that has more.",
        "--n",
        "-n",
        metavar="N",
        check=_at_least_two,
    )
    seed: int = option(0, "Seed of --split and --n.", metavar="N", check=valid_seed)
    limit: int | None = option(None, "Stop after K groups.", metavar="K", check=positive)
    on_error: OnError = option("stop", "At a row that cannot be used: stop, or report it and go on.")
    format: str = option("table", "How --list is printed: table or markdown.", "--format", "-f")
    json: bool = option(False, "--list as one JSON document.", "--json")
    quiet: bool = option(False, "Say the licence and what failed only.", "--quiet", "-q")

    def check_together(self) -> None:
        if self.data is not None and self.revision is not None:
            raise UsageError("a local copy has no revision to choose", where="--revision")
        if self.output is not None and str(self.output) == "-":
            raise UsageError("media and the card lie beside a file", where="-o", hint="Give a file's name.")
        if (self.json or self.format != "table") and not self.list:
            raise UsageError("is for --list", where="--json" if self.json else "--format")
        if self.format not in ("table", "markdown"):
            raise UsageError(f"{self.format!r} is not one of table, markdown", where="--format")

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each part; (1.0,) without a split."""
        return parse_split(self.split) if self.split else (1.0,)
