"""In which order a judge reads the responses: never the file's unless asked, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from yoj_cli.groups import Group
from yoj_cli.plan.orders import Order
from yoj_cli.verdicts.verdict import Verdict, build_verdict

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reading:
    """How responses are put before the judge.

    Attributes:
        as_given: in the file's order; else shuffled.
        seed: of the shuffle; the judge draws further orders and windows by it too.
        n_orders: orders that each group's scores are a mean of, the first one as above.
        reverse: read each group a second time, in reverse, to see whether its winner flips.
    """

    as_given: bool = False
    seed: int = 0
    n_orders: int = 1
    reverse: bool = True

    def order_of(self, number: int, n: int) -> Order:
        """The order of the n responses of a run's group `number`: it follows from the seed and that alone, so that
        two judges read the same groups in the same orders."""
        return (
            tuple(range(n)) if self.as_given else tuple(Random(f"{self.seed} {number}").sample(range(n), n))
        )

    def describe(self) -> str:
        """In words."""
        start = "as given in the file" if self.as_given else f"shuffled (seed {self.seed})"
        if self.n_orders > 1:
            return f"mean of {self.n_orders} orders, the first {start}"
        return f"{start}; read again in reverse to count flips" if self.reverse else start


def arrange(group: Group, order: Sequence[int]) -> Group:
    """The group as it is put before a judge, without its gold."""
    return replace(group, responses=tuple(group.responses[i] for i in order), rankings=None)


def put_back(values: Sequence[Value], order: Sequence[int]) -> tuple[Value, ...]:
    """Values in the order read, as values in the order of the input."""
    place_of = {response: place for place, response in enumerate(order)}
    return tuple(values[place_of[i]] for i in range(len(order)))


def restore(verdict: Verdict, group: Group, order: Sequence[int]) -> Verdict:
    """A verdict on the arranged group as one on the group itself."""
    return build_verdict(
        group,
        put_back(verdict.scores, order),
        spread=None if verdict.spread is None else put_back(verdict.spread, order),
        order_agreement=verdict.order_agreement,
        n_orders=verdict.n_orders,
        n_tokens=verdict.n_tokens,
        seconds=verdict.seconds,
        temperature=verdict.temperature,
    )
