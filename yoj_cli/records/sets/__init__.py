"""Public preference sets as training records: one file a set, each a pure function of one row."""

from __future__ import annotations

from yoj_cli.errors import UsageError
from yoj_cli.records.sets import (
    helpsteer3,
    hh_rlhf,
    llava_critic,
    mm_rlhf,
    nectar,
    pku_saferlhf,
    povid,
    rlaif_v,
    skywork,
    tulu,
    ultrafeedback,
    vlfeedback,
    wildvision,
)
from yoj_cli.records.sets.public_set import PublicSet

SETS: tuple[PublicSet, ...] = (
    ultrafeedback.SET,
    nectar.SET,
    helpsteer3.SET,
    vlfeedback.SET,
    rlaif_v.SET,
    llava_critic.SET,
    mm_rlhf.SET,
    hh_rlhf.SET,
    skywork.SET,
    pku_saferlhf.SET,
    wildvision.SET,
    povid.SET,
    tulu.SET,
)
"""As `yoj data --list` shows them."""


def find_set(name: str) -> PublicSet:
    """The set of that name.

    Raises:
        UsageError: there is none.
    """
    found = next((each for each in SETS if each.name == name.lower()), None)
    if found is None:
        raise UsageError(
            f"there is no set {name!r}", hint=f"One of: {', '.join(each.name for each in SETS)}."
        )
    return found
