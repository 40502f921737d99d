"""What `yoj calibrate` fits and where it puts it; when `yoj score` abstains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yoj_cli.config.field import Options, option, positive
from yoj_cli.config.io import OnError
from yoj_cli.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateConfig(Options):
    """What is fitted, and where it goes."""

    output: Path | None = option(
        None, "Write the calibration to this new file, for --calibration.", "--output", "-o", metavar="FILE"
    )
    overwrite: bool = option(False, "Let -o replace the calibration that FILE holds.")
    store: bool = option(
        False,
        "Put it into the checkpoint's reward_model_config.json; from then on P(best) is calibrated everywhere.",
    )
    limit: int | None = option(None, "Read the first K groups only.", metavar="K", check=positive)
    on_error: OnError = option("stop", "At a group that cannot be judged: stop, or report it and go on.")
    json: bool = option(False, "One JSON document instead of tables.", "--json")
    quiet: bool = option(False, "No progress.", "--quiet", "-q")

    def check_together(self) -> None:
        if self.output is None and not self.store:
            raise UsageError(
                "the calibration has no place to go",
                hint="Give -o FILE, or --store to put it into the checkpoint.",
            )
        if self.overwrite and self.output is None:
            raise UsageError("there is nothing to overwrite without -o FILE", where="--overwrite")


def _valid_share(value: float) -> str | None:
    return None if 0 < value <= 1 else f"{value} is no probability above 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstainConfig(Options):
    """When no response is called the best."""

    abstain_below: float | None = option(
        None,
        'Where the highest P(best) is below P, write "best": null and "abstained": true.',
        metavar="P",
        check=_valid_share,
    )
    escalate: Path | None = option(
        None,
        "Also write the input lines of these groups to this new file, for a stronger judge.",
        metavar="FILE",
    )

    def check_together(self) -> None:
        if self.escalate is not None and self.abstain_below is None:
            raise UsageError("nothing abstains without --abstain-below P", where="--escalate")
