"""A temperature for P(best) from ranked groups, and what it is worth on groups that it was not fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from yoj_cli.errors import InputError
from yoj_cli.evaluate.calibration import Calibration, measure_calibration
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.statistics import Figure
from yoj_cli.evaluate.tables import interval_text, value_text
from yoj_cli.plan.branches import Mode
from yoj_cli.render.blocks import Block, Heading, Lines, Table
from yoj_cli.render.wording import counted
from yoj_cli.verdicts.calibration import MIN_PROMPTS, PRECISION, Temperature, fit_temperature
from yoj_cli.verdicts.intervals import Resamples
from yoj_cli.verdicts.verdict import p_best

N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One way of reading: the temperature, and P(best) before and after.

    Attributes:
        n_prompts: groups of one prompt are never in two folds.
        before: of the plain softmax.
        after: each group with the temperature that the other folds gave.
    """

    temperature: Temperature
    n_prompts: int
    before: Calibration
    after: Calibration

    def to_json(self) -> dict[str, Any]:
        figures = {
            when: {name.partition(",")[0].lower(): _figure(figure) for name, figure in _figures(found)}
            for when, found in (("before", self.before), ("after", self.after))
        }
        return {**asdict(self.temperature), "n_prompts": self.n_prompts, **figures}


def calibrate(
    judged: Sequence[Judged], mode: Mode, *, orders: int = 1, window: int | None = None, seed: int = 0
) -> Calibrated:
    """Fit the temperature of one way of reading, and measure it on held-out folds.

    Args:
        judged: groups with scores; those whose ranking tells no responses apart are left out.
        mode, orders, window: how they were read.
        seed: of the folds.
    Raises:
        InputError: they are too few to tell, or no temperature fits them.
    """
    gold = [each for each in judged if each.is_gold]
    scores = [each.scores for each in gold]
    rankings = [each.rankings or () for each in gold]
    prompts = [each.cluster for each in gold]
    n_prompts = len(set(prompts))
    if n_prompts < MIN_PROMPTS:
        raise InputError(
            f"{mode}: {counted(n_prompts, 'prompt')} with a ranking cannot tell a temperature",
            hint=f"Give at least {MIN_PROMPTS}; a hundred and more is usual.",
        )
    fit = fit_temperature(scores, rankings, prompts)
    if fit.n_needed > n_prompts:
        raise InputError(
            f"{mode}: {counted(n_prompts, 'prompt')} cannot tell the temperature: it lies between {fit.low:.3g} and "
            f"{fit.high:.3g}",
            hint=f"About {fit.n_needed:,} prompts like these tell it to a factor of {PRECISION:g}, which is enough.",
        )
    held_out = _held_out_temperatures(scores, rankings, prompts, seed)
    resamples = Resamples(prompts)
    return Calibrated(
        Temperature(mode, orders, window, fit.temperature, fit.low, fit.high, len(gold)),
        n_prompts,
        measure_calibration([p_best(each) for each in scores], rankings, resamples),
        measure_calibration(list(map(p_best, scores, held_out)), rankings, resamples),
    )


def _held_out_temperatures(
    scores: Sequence[tuple[float, ...]],
    rankings: Sequence[tuple[float, ...]],
    prompts: Sequence[str],
    seed: int,
) -> list[float]:
    """Of each group, the temperature that the folds without its prompt give."""
    names = sorted(set(prompts))
    Random(seed).shuffle(names)
    fold_of = {name: place % N_FOLDS for place, name in enumerate(names)}
    folds = [fold_of[prompt] for prompt in prompts]
    temperatures = []
    for fold in range(N_FOLDS):
        kept = [at for at, other in enumerate(folds) if other != fold]
        found = fit_temperature(
            [scores[at] for at in kept], [rankings[at] for at in kept], [prompts[at] for at in kept]
        )
        temperatures.append(found.temperature)
    return [temperatures[fold] for fold in folds]


def describe_calibration(found: Sequence[Calibrated]) -> list[Block]:
    """The temperatures, and the figures before and after."""
    blocks: list[Block] = [Heading("P(best) before and after, on held-out folds")]
    for each in found:
        t = each.temperature
        how = f"{t.mode}{f', {t.orders} orders' if t.orders > 1 else ''}{f', window {t.window}' if t.window else ''}"
        fact = (
            f"{how}: temperature {t.temperature:.3f} ({t.low:.3f} to {t.high:.3f}) from "
            f"{counted(t.n_groups, 'group')}, {counted(each.n_prompts, 'prompt')}"
        )
        rows = [
            (name, _text(before), _text(after))
            for (name, before), (_, after) in zip(_figures(each.before), _figures(each.after), strict=True)
        ]
        blocks += [Lines((fact,)), Table(how, ("before", f"after, {N_FOLDS} folds"), tuple(rows))]
    return blocks


def _figures(found: Calibration) -> list[tuple[str, Figure]]:
    return [("ECE", found.ece), ("NLL, nats", found.nll), ("Brier", found.brier)]


def _figure(figure: Figure) -> dict[str, float | None]:
    value = None if math.isnan(figure.value) else figure.value
    return {"value": value, "low": figure.low, "high": figure.high}


def _text(figure: Figure) -> str:
    interval = interval_text(figure.low, figure.high, "score")
    return f"{value_text(figure.value, 'score')} ({interval})"
