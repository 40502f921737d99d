"""What is fuzzed: a kind of input, and what must hold for any of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

ROUND = 500
"""Examples that hypothesis draws before it starts afresh with the next seed."""


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: of the table.
        inputs: draws one.
        check: raises whatever it likes where one is not handled as promised.
        share: of the time, among those of all targets.
        shrinks: whether a smaller failing input is looked for; too slow where one takes a second.
    """

    name: str
    inputs: SearchStrategy[Any]
    check: Callable[[Any], None]
    share: float = 1.0
    shrinks: bool = True


@dataclass
class Outcome:
    """What came of a target: inputs tried, and for each one that failed what was said."""

    name: str
    n_inputs: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)


class _TimeIsUp(KeyboardInterrupt):
    """Ends a round; hypothesis takes any other exception for a failure of the input."""


def fuzz(target: Target, *, seconds: float, first_seed: int, most_failures: int = 3) -> Outcome:
    """Try inputs until the time is up, or some have failed.

    Args:
        first_seed: the same seed draws the same inputs, as many as there is time for.
    """
    outcome = Outcome(target.name)
    start = time.monotonic()
    phases = [Phase.generate, *([Phase.shrink] if target.shrinks else [])]
    number = first_seed
    while time.monotonic() - start < seconds and len(outcome.failures) < most_failures:

        @seed(number)
        @settings(
            max_examples=ROUND,
            database=None,
            deadline=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )
        @given(target.inputs)
        def run(value: Any) -> None:
            if time.monotonic() - start > seconds:
                raise _TimeIsUp
            outcome.n_inputs += 1
            target.check(value)

        try:
            run()
        except _TimeIsUp:
            break
        except Exception:
            outcome.failures.append(f"seed {number}\n{traceback.format_exc()}")
        number += 1
    outcome.seconds = time.monotonic() - start
    return outcome
