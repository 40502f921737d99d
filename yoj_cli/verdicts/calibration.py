"""The temperature that makes P(best) mean what it says: fitted, kept in a file or a checkpoint, found again.

P(best) is softmax(scores / temperature). One temperature changes no rank, and no score.
Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, On Calibration of Modern Neural Networks (2017).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from yoj_cli.errors import InputError
from yoj_cli.plan.branches import Mode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

VERSION = 1
MIN_PROMPTS = 30
"""Fewer prompts give an interval that means nothing itself."""

PRECISION = 2.0
"""The temperature has to be known to this factor, up and down, with 95 % confidence."""

Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Temperature:
    """A fitted temperature, and what it was fitted for.

    Attributes:
        mode, orders, window: how the responses were read; other scores have another scale.
        temperature: what scores are divided by for P(best), above 0.
        low, high: its 95 % interval.
        n_groups: it was fitted on.
    """

    mode: Mode
    orders: int
    window: int | None
    temperature: float
    low: float
    high: float
    n_groups: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """The temperatures of one judge.

    Attributes:
        model: the judge as it was named, for people.
        content: hash of its files, see `checkpoint.content_hash`.
    """

    model: str
    content: str
    temperatures: tuple[Temperature, ...]

    def find(self, mode: str, orders: int, window: int | None) -> Temperature | None:
        """The temperature for this way of reading."""
        asked = (mode, orders, window)
        return next(
            (each for each in self.temperatures if (each.mode, each.orders, each.window) == asked), None
        )

    def merged_into(self, earlier: Calibration | None) -> Calibration:
        """With what an earlier one has for other ways of reading, where it is of the same files."""
        if earlier is None or earlier.content != self.content:
            return self
        new = {(each.mode, each.orders, each.window) for each in self.temperatures}
        kept = [each for each in earlier.temperatures if (each.mode, each.orders, each.window) not in new]
        return Calibration(self.model, self.content, (*kept, *self.temperatures))

    def to_json(self) -> dict[str, Any]:
        return {
            "calibration_version": VERSION,
            "judge": {"model": self.model, "content": self.content},
            "temperatures": [asdict(each) for each in self.temperatures],
        }

    def describe(self, found: Temperature) -> dict[str, Any]:
        """What `judge` in the output says of it."""
        text = json.dumps([self.content, asdict(found)], sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return {"temperature": found.temperature, "groups": found.n_groups, "id": digest}


def parse_calibration(raw: Any, where: str) -> Calibration:
    """A calibration as `Calibration.to_json` wrote it.

    Raises:
        InputError: it is none, or of a newer version.
    """
    version = raw.get("calibration_version") if isinstance(raw, Mapping) else None
    if version is None:
        raise InputError(
            "is no calibration", where=where, hint="`yoj calibrate FILE -m JUDGE -o OUT` writes one."
        )
    if version != VERSION:
        raise InputError(
            f"has calibration_version {version!r}, this yoj reads {VERSION}",
            where=where,
            hint="Update yoj-cli.",
        )
    judge, rows = raw.get("judge"), raw.get("temperatures")
    is_whole = isinstance(judge, Mapping) and all(
        isinstance(judge.get(key), str) for key in ("model", "content")
    )
    if not is_whole or not isinstance(rows, list) or not rows:
        raise InputError("the calibration lacks its judge or its temperatures", where=where)
    return Calibration(judge["model"], judge["content"], tuple(_parse_row(row, where) for row in rows))


def read_calibration(path: str) -> Calibration:
    """A calibration file.

    Raises:
        InputError: it cannot be read, or is none.
    """
    try:
        with open(path, "rb") as file:
            raw = json.loads(file.read(1 << 20))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", where=path) from error
    except (ValueError, RecursionError) as error:
        raise InputError("is no calibration: it is not JSON", where=path) from error
    return parse_calibration(raw, path)


def _parse_row(row: Any, where: str) -> Temperature:
    try:
        found = Temperature(**row)
        numbers = (found.temperature, found.low, found.high)
        is_fine = (
            found.mode in ("multi", "single")
            and type(found.orders) is int
            and (found.window is None or type(found.window) is int)
            and type(found.n_groups) is int
            and all(type(value) in (int, float) and math.isfinite(value) and value > 0 for value in numbers)
        )
    except TypeError:
        is_fine = False
    if not is_fine:
        raise InputError(f"{json.dumps(row)[:80]} is no temperature of a calibration", where=where)
    return found


@dataclass(frozen=True, slots=True)
class Fit:
    """A temperature with its 95 % interval, and how many prompts like these it takes to know it to PRECISION."""

    temperature: float
    low: float
    high: float
    n_prompts: int
    n_needed: int


def fit_temperature(
    scores: Sequence[Sequence[float]], rankings: Sequence[Sequence[float]], prompts: Sequence[str]
) -> Fit:
    """The temperature of the smallest N-way NLL; tied best responses share the target.

    Args:
        scores: of each group, (N,).
        rankings: of each group, (N,) 1 = best, not all tied.
        prompts: of each group; groups of one prompt are not independent, which the interval takes into account.
    Raises:
        InputError: no temperature fits: the scores do not favour the best responses, or never err.
    """
    import numpy as np
    from scipy.optimize import brentq

    values, targets, there = _arrays(scores, rankings)

    def slopes(sharpness: float) -> Floats:
        """(G,) d NLL / d sharpness: the mean score that P(best) expects, less that of the best response."""
        found: Floats = ((_softmax(values * sharpness, there) - targets) * values).sum(axis=1)
        return found

    if not scores or slopes(0.0).mean() >= 0:
        raise InputError("the scores favour no best response, so that no temperature makes P(best) fit")
    highest = np.where(there, values, -np.inf).max(axis=1)
    if (np.where(targets > 0, values, np.inf).min(axis=1) >= highest).all():
        raise InputError("every best response has the highest score, so that P(best) shows no error to fit")
    low = high = 1 / float((highest - np.where(there, values, np.inf).min(axis=1)).mean())
    while slopes(low).mean() >= 0:
        low /= 4
    while slopes(high).mean() < 0:
        high *= 4
    sharpness = float(brentq(lambda value: slopes(value).mean(), low, high, rtol=1e-10))
    # The interval of log temperature: sandwich estimator, its sums over prompts.
    p, scaled = _softmax(values * sharpness, there), values * sharpness
    information = float(((p * scaled**2).sum(axis=1) - (p * scaled).sum(axis=1) ** 2).sum())
    _, places = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    sums = np.bincount(places.reshape(-1), weights=slopes(sharpness) * sharpness)
    deviation = float(np.sqrt((sums**2).sum()) / information)
    n_needed = max(MIN_PROMPTS, math.ceil(len(sums) * (Z * deviation / math.log(PRECISION)) ** 2))
    factor, temperature = math.exp(Z * deviation), 1 / sharpness
    return Fit(temperature, temperature / factor, temperature * factor, len(sums), n_needed)


def _arrays(
    scores: Sequence[Sequence[float]], rankings: Sequence[Sequence[float]]
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(G, N) scores less the highest of their group, (G, N) targets, and where there is a response at all."""
    import numpy as np

    width = max(map(len, scores), default=1)
    values, targets = np.zeros((len(scores), width)), np.zeros((len(scores), width))
    there = np.zeros((len(scores), width), dtype=bool)
    for at, (row, ranking) in enumerate(zip(scores, rankings, strict=True)):
        n, best = len(row), [rank == min(ranking) for rank in ranking]
        values[at, :n] = np.asarray(row) - max(row)
        targets[at, :n] = [is_best / sum(best) for is_best in best]
        there[at, :n] = True
    return values, targets, there


def _softmax(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """Of values whose largest in each row is 0."""
    import numpy as np

    weights = np.exp(values) * there
    found: Floats = weights / weights.sum(axis=1, keepdims=True)
    return found
