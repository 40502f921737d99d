"""How long a run over many groups takes, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from yoj_cli.config.field import Options, not_negative, option, positive


def _valid_list(value: str) -> str | None:
    try:
        numbers = [float(each) for each in value.split(",")]
    except ValueError:
        return f"{value!r} is no list of numbers, such as 1e4,1e6"
    wrong = [each for each in numbers if not 1 <= each <= 1e15]
    return f"{wrong[0]:g} is not between 1 and 1e15" if wrong else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRunConfig(Options):
    """What is known of the groups, the devices and the machines around them."""

    groups: str = option(
        "1e4,1e5,1e6,1e7,1e8,1e9", "Numbers of groups, with commas.", metavar="LIST", check=_valid_list
    )
    at: str = option("1,8,64,1000", "Numbers of devices, with commas.", metavar="LIST", check=_valid_list)
    groups_per_s: float | None = option(
        None, "Groups that one device scores in a second; by default from BENCH.", metavar="X", check=positive
    )
    tokens_per_group: float | None = option(
        None,
        "Tokens of your groups, where they are not those of BENCH; time is taken to grow with them.",
        metavar="T",
        check=positive,
    )
    load_s: float = option(
        60.0, "Seconds until a judge is loaded, once for each device.", metavar="S", check=not_negative
    )
    decode_s: float = option(
        0.0, "CPU seconds to read, decode and tokenize a group.", metavar="S", check=not_negative
    )
    cores_per_device: float = option(8.0, "CPU cores beside each device.", metavar="C", check=positive)
    mb_per_group: float = option(
        0.0, "Megabytes of media that a group fetches from shared storage.", metavar="MB", check=not_negative
    )
    network_mb_per_s: float = option(
        1000.0,
        "Megabytes a second that shared storage gives, to all devices together.",
        metavar="MB/S",
        check=positive,
    )
    price_per_hour: float | None = option(
        None, "Price of a device for an hour, in any currency.", metavar="P", check=not_negative
    )
    format: Literal["auto", "text", "markdown"] = option(
        "auto", "text or markdown; auto is text.", "--format", "-f"
    )
    json: bool = option(False, "One JSON document.", "--json")
