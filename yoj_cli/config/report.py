"""What `yoj report` puts into its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yoj_cli.config.field import Options, not_negative, option


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig(Options):
    """What `yoj report` puts into its page."""

    output: Path = option(Path("report.html"), "The page, one file.", "--output", "-o", metavar="FILE")
    overwrite: bool = option(False, "Let -o replace the page that FILE holds.")
    title: str | None = option(None, "Heading of the page. Default: the names of the files.", metavar="TEXT")
    max_mb: float = option(
        50.0,
        "Most megabytes of pictures in the page: small ones first, then larger ones to click on.",
        metavar="MB",
        check=not_negative,
    )
