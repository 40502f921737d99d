"""Which layers a stranger's adapter names: by lists, or by regular expressions that run within a time limit.

Python's engine tries every way to match: `(\\w+\\.?)+x` on the name of a layer takes years, and nothing in the same
process can stop it. So expressions are matched in a process that is ended when it takes too long.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from yoj_cli.errors import CheckpointError

if TYPE_CHECKING:
    from peft import LoraConfig  # slow to import

MATCH_S = 5
"""For all patterns of an adapter and all layers; real ones take some milliseconds."""

PROGRAM = f"""
import json, re, signal, sys
getattr(signal, "alarm", int)({MATCH_S + 5})  # whoever asked may be gone
given = json.load(sys.stdin)
found = []
for method, pattern in given["patterns"]:
    match = getattr(re.compile(pattern), method)
    matches = [match(name) for name in given["names"]]
    found.append([None if each is None else (each.groupdict().get("idx") or "") for each in matches])
json.dump(found, sys.stdout)
"""

PLAIN = re.compile(r"[\w.-]+")
"""A name, also as a pattern: it has no two ways to match."""
ANY_LAYER = r".*?\.[^.]*\."
"""Before a layer's number, where the configuration does not say."""

Value = TypeVar("Value")


class Pattern(NamedTuple):
    """A regular expression of the file's, in its place within one of PEFT's."""

    text: str
    before: str = ""
    after: str = ""
    method: str = "match"

    @property
    def whole(self) -> str:
        return f"{self.before}{self.text}{self.after}"


def match_patterns(
    patterns: Iterable[Pattern], names: Sequence[str], *, where: str
) -> dict[Pattern, list[str | None]]:
    """Match each pattern with each name.

    Args:
        names: (N,) names of layers.
        where: the file that has the patterns, for errors.
    Returns:
        For each pattern (N,): None where it does not match, else its group `idx`, "" where it has none.
    Raises:
        CheckpointError: they take too long, or one is no regular expression in its place.
    """
    found: dict[Pattern, list[str | None]] = {}
    odd: list[Pattern] = []
    for pattern in patterns:
        if not PLAIN.fullmatch(pattern.text):
            odd.append(pattern)
            continue
        matches = [getattr(re, pattern.method)(pattern.whole, name) for name in names]
        found[pattern] = [None if each is None else each.groupdict().get("idx") or "" for each in matches]
    if odd and names:
        found |= zip(odd, _match_apart(odd, names, where), strict=True)
    return found


def _match_apart(patterns: Sequence[Pattern], names: Sequence[str], where: str) -> list[list[str | None]]:
    given = {"patterns": [(each.method, each.whole) for each in patterns], "names": list(names)}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROGRAM],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=MATCH_S,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"the patterns that name layers did not come to an end within {MATCH_S} s",
            where=where,
            hint="Name the layers (target_modules: a list), or write simpler patterns.",
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["the process ended"])[-1]
        raise CheckpointError(f"the patterns that name layers cannot be used: {reason[:200]}", where=where)
    found: list[list[str | None]] = json.loads(done.stdout)
    return found


def named_layers(config: LoraConfig, names: Sequence[str], *, where: str) -> set[str]:
    """Those of some layers that a configuration adapts, as PEFT reads it (`check_target_module_exists`).

    Args:
        names: (N,) of the layers, as the model that was trained may have called them.
        where: `adapter_config.json`, for errors.
    Raises:
        CheckpointError: as `match_patterns`.
    """
    targets, excluded = config.target_modules, config.exclude_modules
    by_number = [
        Pattern(text, r"(?:^|.*?\.)", r"\.(?P<idx>\d+)\.")
        for text in _as_list(config.layers_pattern)
        if config.layers_to_transform not in (None, [])
    ]
    whole = {
        role: Pattern(text, method="fullmatch")
        for role, text in (("targets", targets), ("excluded", excluded))
        if isinstance(text, str)
    }
    found = match_patterns([*whole.values(), *by_number], names, where=where)
    wanted = {int(number) for number in _as_list(config.layers_to_transform)}
    layers: set[str] = set()
    for place, name in enumerate(names):
        if "excluded" in whole and found[whole["excluded"]][place] is not None:
            continue
        if not isinstance(excluded, str) and _is_listed(name, excluded or ()):
            continue
        if "targets" in whole:
            if found[whole["targets"]][place] is not None:
                layers.add(name)
        elif name in targets or (_is_listed(name, targets) and not wanted):
            layers.add(name)
        elif _is_listed(name, targets):
            numbers = [found[each][place] for each in by_number] or [_number(name)]
            number = next((each for each in numbers if each), None)
            if number is not None and int(number) in wanted:
                layers.add(name)
    return layers


def _is_listed(name: str, listed: Iterable[str]) -> bool:
    return any(name == each or name.endswith(f".{each}") for each in listed)


def _number(name: str) -> str | None:
    match = re.match(rf"{ANY_LAYER}(\d+)\.", name)
    return match and match[1]


def _as_list(value: object) -> list[str]:
    return [] if value in (None, "") else list(value) if isinstance(value, (list, set, tuple)) else [value]  # type: ignore[list-item]


def values_by_layer(
    by_pattern: Mapping[str, Value], layers: Mapping[str, str], *, where: str
) -> dict[str, Value]:
    """PEFT's ranks (or alphas) that differ from layer to layer, by the decoder's names instead of the file's.

    Args:
        by_pattern: values by pattern; the first one that matches counts, as in PEFT (`get_pattern_key`).
        layers: the decoder's layers, each with the name of its layer in the file.
        where: `adapter_config.json`, for errors.
    Raises:
        CheckpointError: as `match_patterns`.
    """
    patterns = {Pattern(text, r"(.*\.)?(", ")$"): value for text, value in by_pattern.items()}
    found = match_patterns(patterns, list(layers.values()), where=where)
    values: dict[str, Value] = {}
    for place, layer in enumerate(layers):
        for pattern, value in patterns.items():
            if found[pattern][place] is not None:
                values[layer] = value
                break
    return values
