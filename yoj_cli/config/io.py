"""Where media come from, and what is printed where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from yoj_cli.config.field import Options, option, positive
from yoj_cli.config.limits import Limits
from yoj_cli.errors import UsageError

WrittenFormat = Literal["table", "jsonl", "csv", "markdown"]
Format = Literal["auto", WrittenFormat]
OnError = Literal["stop", "skip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputConfig(Limits):
    """Where media may come from, and what a group may cost."""

    media_root: Path | None = option(
        None, "Resolve media paths against this folder and refuse any that leave it.", metavar="DIR"
    )
    allow_remote_media: bool = option(
        False, "Fetch http(s) media from public addresses; off by default. No proxy is used."
    )
    allow_private_media: bool = option(
        False, "With --allow-remote-media: from this machine and private networks too."
    )
    max_download_mb: float = option(256.0, "Refuse a larger file of media.", metavar="MB", check=positive)
    max_total_download_gb: float = option(
        100.0, "Fetch no more than so much in one run.", metavar="GB", check=positive
    )

    def check_together(self) -> None:
        if self.media_root is not None and not self.media_root.is_dir():
            raise UsageError(f"there is no folder {self.media_root}", where="--media-root")
        if self.allow_private_media and not self.allow_remote_media:
            raise UsageError("does nothing without --allow-remote-media", where="--allow-private-media")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig(Options):
    """What is printed where."""

    format: Format = option(
        "auto", "auto prints tables on a terminal and JSON Lines elsewhere.", "--format", "-f"
    )
    json: bool = option(False, "Short for --format jsonl.", "--json")
    output: Path | None = option(
        None, "Write to this new file instead of standard output.", "--output", "-o", metavar="FILE"
    )
    overwrite: bool = option(False, "Let -o replace the results that FILE holds.")
    top: int | None = option(None, "Show only the K best responses of a group.", metavar="K", check=positive)
    raw: bool = option(
        False, "CSV cells exactly as in the input, also those that a terminal or spreadsheet would act on."
    )
    quiet: bool = option(False, "No progress, no summary.", "--quiet", "-q")

    def check_together(self) -> None:
        if self.json and self.format not in ("auto", "jsonl"):
            raise UsageError(f"--json contradicts --format {self.format}")
        if self.overwrite and self.output is None:
            raise UsageError("there is nothing to overwrite without -o FILE", where="--overwrite")
        if self.raw and self.format != "csv":
            raise UsageError("is for --format csv; no other format changes a text", where="--raw")
