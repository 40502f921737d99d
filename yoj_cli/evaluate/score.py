"""Groups through a judge, in the orders of a reading; results are numbered as in the input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.evaluate.judged import Judged, of_verdict
from yoj_cli.evaluate.order import Reading, arrange, put_back, restore
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.orders import Order
from yoj_cli.verdicts.record import shortest_float32, to_record
from yoj_cli.verdicts.verdict import Verdict


class GroupScorer(Protocol):
    """What is asked of a `Judge`."""

    mode: Any
    config: JudgeConfig

    @property
    def description(self) -> dict[str, Any]: ...

    def score_groups(
        self, groups: Iterable[Group | Failure], *, media: MediaOptions | None = None
    ) -> Iterator[Verdict | Failure]: ...


def judge_groups(
    judge: GroupScorer, groups: Iterable[Group | Failure], reading: Reading, media: MediaOptions
) -> Iterator[Judged | Failure]:
    """Score groups with their responses in the orders of a reading.

    Each comes with its output line as `record`: what `yoj score` writes, and in "judge" also the "order" that was
    read, the "reversed_scores" of the second reading and the "seconds" of the first.

    Raises:
        DeviceError: as `Judge.score_groups`.
    """
    is_alone = judge.mode == "single"
    pending: deque[tuple[Group | Failure, Order, bool, bool]] = deque()

    def arranged() -> Iterator[Group | Failure]:
        """Read ahead of the results, in a thread of the judge's."""
        for number, item in enumerate(groups):
            if isinstance(item, Failure):
                pending.append((item, (), False, False))
                yield item
                continue
            n = len(item.responses)
            order = tuple(range(n)) if is_alone else reading.order_of(number, n)
            is_whole = n > 1 and not is_alone and n <= (judge.config.window or n)
            has_reverse = is_whole and reading.reverse and reading.n_orders == 1
            pending.append((item, order, is_whole, has_reverse))
            yield arrange(item, order)
            if has_reverse:
                yield arrange(item, order[::-1])

    results = judge.score_groups(arranged(), media=media)
    for found in results:
        item, order, is_whole, has_reverse = pending.popleft()
        second = next(results) if has_reverse else None
        if isinstance(found, Failure):
            yield found
            continue
        assert isinstance(item, Group), "a failure stays one"
        reversed_scores = (
            None if second is None or isinstance(second, Failure) else put_back(second.scores, order[::-1])
        )
        verdict = restore(found, item, order)
        shown = order if is_whole else None
        record = _record_of(verdict, judge.description, shown, reversed_scores)
        yield of_verdict(verdict, order=shown, reversed_scores=reversed_scores, record=record)


def _record_of(
    verdict: Verdict,
    description: Mapping[str, Any],
    order: Order | None,
    reversed_scores: tuple[float, ...] | None,
) -> dict[str, Any]:
    record = {"id": verdict.group.id, **to_record(verdict, description)}
    if order is not None:
        record["judge"]["order"] = list(order)
    if reversed_scores is not None:
        record["judge"]["reversed_scores"] = [shortest_float32(score) for score in reversed_scores]
    record["judge"]["seconds"] = round(verdict.seconds, 6)
    return record
