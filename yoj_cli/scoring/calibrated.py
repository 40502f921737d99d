"""Which temperature a judge's P(best) has: from a file, from the checkpoint, or none."""

from __future__ import annotations

from typing import Any

from yoj_cli.checkpoint.content_hash import content_hash
from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import UsageError
from yoj_cli.plan.branches import Mode
from yoj_cli.verdicts.calibration import read_calibration


def find_calibration(
    config: JudgeConfig, checkpoint: Checkpoint, mode: Mode
) -> tuple[dict[str, Any] | None, float]:
    """What the output says of the calibration, and the temperature; None and 1 without one.

    Where the checkpoint holds one, but for other ways of reading only, the output says that there is no temperature.

    Raises:
        UsageError: the file that was asked for is of another judge, or of other ways of reading.
        InputError: it is no calibration.
    """
    orders, window = config.orders, config.window
    if config.calibration is not None:
        found, where = read_calibration(str(config.calibration)), str(config.calibration)
        if found.content != content_hash(checkpoint):
            raise UsageError(
                f"is of another judge: it was fitted for {found.model!r} with other files",
                where=where,
                hint="Fit one for this judge: yoj calibrate FILE -m JUDGE -o OUT.",
            )
        fitted = found.find(mode, orders, window)
        if fitted is None:
            known = ", ".join(_describe(each.mode, each.orders, each.window) for each in found.temperatures)
            raise UsageError(
                f"was fitted for {known}, not for {_describe(mode, orders, window)}",
                where=where,
                hint="Scores that are read in another way have another scale: calibrate with the same options.",
            )
        return found.describe(fitted), fitted.temperature
    stored = checkpoint.calibration
    fitted = stored.find(mode, orders, window) if stored else None
    if stored is None or fitted is None:
        return ({"temperature": None} if stored else None), 1.0
    return stored.describe(fitted), fitted.temperature


def _describe(mode: str, orders: int, window: int | None) -> str:
    """multi, multi with 3 orders, multi with a window of 4."""
    with_window = f" with a window of {window}" if window else ""
    return f"{mode}{f' with {orders} orders' if orders > 1 else ''}{with_window}"
