"""What the last steps of a run say together: running means, and signs that it learns nothing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

WINDOW_GROUPS, WINDOW_STEPS = 256, 10
"""Running means are over so many groups, and at least so many steps."""
LEAST_STEPS = 4
"""Fewer say nothing about whether a difference is more than noise."""
EARLY = 0.25
"""Share of the run that may pass before it has to have learnt something."""
COLLAPSED_SPREAD = 0.01
"""Scores that are less than this apart (standard deviation) are within 1 % of equal odds: no response is preferred."""

COLLAPSED, NOTHING_LEARNT, WORSE = "collapsed", "nothing_learnt", "worse_than_constant"
SIGNS = (COLLAPSED, NOTHING_LEARNT, WORSE)
"""Signs, under the names of metrics.jsonl; 1 where one shows."""


class RunningMeans:
    """Means over the last steps, from their lines of metrics.jsonl.

    Args:
        batch_size: groups of a step.
    """

    def __init__(self, batch_size: int) -> None:
        self._lines: deque[Mapping[str, float]] = deque(
            maxlen=max(WINDOW_STEPS, math.ceil(WINDOW_GROUPS / batch_size))
        )

    def add(self, line: Mapping[str, float]) -> None:
        self._lines.append(line)

    @property
    def n_steps(self) -> int:
        """Steps that the means are over."""
        return len(self._lines)

    @property
    def is_full(self) -> bool:
        return self.n_steps == self._lines.maxlen

    def values(self, name: str) -> list[float]:
        return [line[name] for line in self._lines if name in line]

    def mean(self, name: str) -> float:
        """NaN where no step has the figure."""
        values = self.values(name)
        return fmean(values) if values else math.nan

    def signs(self, step: int, n_steps: int) -> list[str]:
        """What looks wrong at a step; nothing as long as it is too early to say, which at the end it never is.

        Args:
            n_steps: of the whole run.
        """
        is_last = step >= n_steps
        if not (is_last or (self.is_full and step >= EARLY * n_steps)):
            return []
        found = [COLLAPSED] if self.mean("spread") < COLLAPSED_SPREAD else []
        losses, constants = self.values("loss"), self.values("constant_loss")
        gains = [constant - loss for loss, constant in zip(losses, constants, strict=False)]
        if len(gains) >= LEAST_STEPS:
            error = stdev(gains) / math.sqrt(len(gains))
            if fmean(gains) < -2 * error:
                found.append(WORSE)
            elif fmean(gains) <= 2 * error:
                found.append(NOTHING_LEARNT)
        return found

    def describe(self, sign: str) -> str:
        """A sign as a sentence with its figures, and what to do."""
        over = "over the last step" if self.n_steps == 1 else f"over the last {self.n_steps:,} steps"
        loss, constant = self.mean("loss"), self.mean("constant_loss")
        if sign == COLLAPSED:
            return (
                f"{over}, scores within a group are {self.mean('spread'):.1g} apart (standard deviation), with a "
                f"gradient norm of {self.mean('grad_norm'):.1g}: the judge does not tell responses apart. Try another "
                "--learning-rate, --head-learning-rate or --warmup-ratio"
            )
        if sign == WORSE:
            return (
                f"{over}, the loss of {loss:.4g} is above the {constant:.4g} of a judge that scores all responses "
                "alike. Lower the --learning-rate, or add --warmup-ratio"
            )
        return (
            f"{over}, the loss of {loss:.4g} is not clearly below the {constant:.4g} of a judge that scores all "
            "responses alike: nothing has been learnt. Try another --learning-rate or more --epochs"
        )


def warnings_at_end(
    lines: Sequence[Mapping[str, float]], batch_size: int, kept_step: int | None = None
) -> list[str]:
    """What looks wrong about a finished run, as sentences.

    Args:
        lines: of metrics.jsonl.
        kept_step: the step whose state the judge is; the last by default.
    """
    means = RunningMeans(batch_size)
    steps = [line for line in lines if "loss" in line]
    for line in steps:
        means.add(line)
    found = [means.describe(sign) for sign in means.signs(1, 1)] if steps else []
    evaluations = [line for line in lines if "eval_loss" in line and kept_step in (None, line["step"])]
    return found + _held_out_warning(evaluations)


def _held_out_warning(evaluations: Iterable[Mapping[str, float]]) -> list[str]:
    last: Mapping[str, float] = ([*evaluations] or [{}])[-1]
    names = ("eval_best_of_n", "eval_best_of_n_low", "eval_best_of_n_high", "eval_chance")
    if not all(name in last for name in names):
        return []
    value, low, high, chance = (last[name] for name in names)
    if low > chance:
        return []
    return [
        f"on the held-out groups, {value:.1%} best of N (95 % interval {low:.1%} to {high:.1%}) is not clearly above "
        f"the {chance:.1%} of a blind pick"
    ]
