"""Groups of completions through a judge; one that cannot be read costs itself, and never its group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from yoj_cli.client.judge import RemoteJudge
from yoj_cli.errors import TooLongError, YojError, is_of_one_group
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge


@dataclass(frozen=True)
class Judged:
    """What a judge said of one group.

    Attributes:
        verdict: of the responses that could be read, in the order of the group; None where there are none.
        left_out: the others, by their place in the group, each with the reason.
        failure: why none could be read, where that is no response's fault.
    """

    verdict: Verdict | None
    left_out: dict[int, YojError] = field(default_factory=dict)
    failure: YojError | None = None


def judge_groups(judge: Judge | RemoteJudge, groups: Sequence[Group], media: MediaOptions) -> list[Judged]:
    """Score groups, short ones together.

    The host's autocast would change the scores, and is off meanwhile.

    Raises:
        DeviceError: the device cannot be used any more.
        ServerError: the server is away.
    """
    with _own_precision(judge):
        found = list(judge.score_groups(groups, media=media))
        return [
            Judged(item) if isinstance(item, Verdict) else _judge_readable(judge, group, item, media)
            for group, item in zip(groups, found, strict=True)
        ]


def _own_precision(judge: Judge | RemoteJudge) -> AbstractContextManager[object]:
    if isinstance(judge, RemoteJudge):
        return nullcontext()
    return torch.autocast(judge.backbone.device.type, enabled=False)


def _judge_readable(
    judge: Judge | RemoteJudge, group: Group, failure: Failure, media: MediaOptions
) -> Judged:
    """Score those responses of a group that can be read, when the group as a whole could not."""
    empty = _try(judge, replace(group, responses=("",)), media)
    if isinstance(empty, YojError):  # the prompt or what it shows is to blame
        return Judged(None, failure=empty)
    alone = {place: _try(judge, _part(group, [place]), media) for place in range(len(group.responses))}
    left_out = {place: each for place, each in alone.items() if isinstance(each, YojError)}
    lengths = {place: each for place, each in alone.items() if isinstance(each, int)}
    error, kept = failure.error, sorted(lengths)
    while kept and (len(kept) < len(group.responses) or isinstance(error, TooLongError)):
        item = next(judge.score_groups([_part(group, kept)], media=media))
        if isinstance(item, Verdict):
            return Judged(item, left_out)
        error = item.error
        if not isinstance(error, TooLongError):
            break
        longest = max(kept, key=lambda place: (lengths[place], place))
        kept.remove(longest)
        left_out[longest] = error
    return Judged(None, left_out, failure=error if kept else None)


def _try(judge: Judge | RemoteJudge, group: Group, media: MediaOptions) -> int | YojError:
    """How long a group is, in a measure that tells longer ones from shorter ones; or why it cannot be read."""
    if isinstance(judge, RemoteJudge):  # which has no way of preparing a group, and not reading it
        item = next(judge.score_groups([group], media=media))
        return item.error if isinstance(item, Failure) else sum(map(len, group.responses))
    try:
        return judge.prepare(group, media)[1].n_tokens
    except YojError as error:
        if not is_of_one_group(error):
            raise
        return error


def _part(group: Group, places: Sequence[int]) -> Group:
    return replace(group, responses=tuple(group.responses[place] for place in places))
