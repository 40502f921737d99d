"""Plans: every response is read, and what branches agree on is what is joined."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.fuzz.target import Target
from yoj_cli.errors import UsageError
from yoj_cli.plan.branches import build_plan
from yoj_cli.plan.join import join

PLANS = st.fixed_dictionaries(
    {
        "n": st.integers(1, 40),
        "mode": st.sampled_from(["multi", "single", "both"]),
        "orders": st.integers(-1, 9),
        "window": st.none() | st.integers(0, 9),
        "seed": st.integers(-(2**70), 2**70),
    }
)


def check_plan(given: dict[str, Any]) -> None:
    try:
        plan = build_plan(**given)
    except UsageError:
        return
    assert plan == build_plan(**given)
    read: set[int] = set()
    for branch in plan.branches:
        assert len(set(branch)) == len(branch)
        assert given["window"] is None or len(branch) <= max(given["window"], 1) or plan.mode == "single"
        read |= set(branch)
    assert read == set(range(given["n"]))
    # A response's score is the same in every branch, which are moved against each other: the order comes out.
    scores, spread = join(
        plan,
        [
            [float(response) + 0.25 * place for response in branch]
            for place, branch in enumerate(plan.branches)
        ],
    )
    if plan.mode != "single":
        assert sorted(range(given["n"]), key=scores.__getitem__) == list(range(given["n"]))
    assert spread is None or max(spread) < 1e-3


PLANS_TARGET = Target("plans", PLANS, check_plan, share=0.5)
