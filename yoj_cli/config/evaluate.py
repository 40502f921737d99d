"""What `yoj eval` evaluates, in which order it reads, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import Options, option, positive
from yoj_cli.config.io import OnError
from yoj_cli.errors import UsageError

EvalFormat = Literal["table", "markdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig(Options):
    """How a judge is evaluated."""

    list: bool = option(
        False, "Show the benchmarks: size, metric, licence, whether they are on this machine."
    )
    data: Path | None = option(
        None,
        "A benchmark's local copy (parquet, JSON, JSON Lines, zip, folder); with several benchmarks, a folder of "
        "copies named after them. Default: the Hub's.",
        metavar="PATH",
    )
    as_given: bool = option(
        False,
        "Read responses in the file's order, where gold answers often have a fixed place. Default: shuffled.",
    )
    reversal: bool = option(
        True, "Read each group a second time, in reverse, to count winners that flip (not with --orders)."
    )
    limit: int | None = option(None, "Read the first K groups of each set only.", metavar="K", check=positive)
    on_error: OnError = option("stop", "At a group that cannot be judged: stop, or report it and go on.")
    save: Path | None = option(
        None, "Keep verdicts, figures, plots and an Inspect log in this folder.", metavar="DIR"
    )
    overwrite: bool = option(False, "Let --save replace the runs that DIR holds.")
    plot: Path | None = option(
        None,
        "Draw reliability, accuracy by position and risk against coverage into this folder.",
        metavar="DIR",
    )
    format: EvalFormat = option("table", "How figures are printed.", "--format", "-f")
    json: bool = option(False, "One JSON document instead of tables.", "--json")
    quiet: bool = option(False, "No progress.", "--quiet", "-q")

    def check_together(self) -> None:
        if self.json and self.format != "table":
            raise UsageError(f"--json contradicts --format {self.format}")
        if self.overwrite and self.save is None:
            raise UsageError("there is nothing to overwrite without --save DIR", where="--overwrite")
