"""One row -> votes: a vote, whole rankings by annotators, HelpSteer3's preferences, or a record with `pairwise`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from yoj_cli.errors import InputError, first_few
from yoj_cli.records.turns import is_number, kind_of
from yoj_cli.votes.vote import Row, Vote, Winner

WINNERS: Mapping[str, Winner] = {
    "a": "a",
    "b": "b",
    "tie": "tie",
    "model_a": "a",
    "model_b": "b",
    "tie (bothbad)": "tie",
}
"""How a winner is written, in any case; the name of the winning response says the same."""

CARRIED = ("messages", "image", "images", "video", "videos", "sampling_interval", "fps")
"""What of a vote's row belongs to its group, besides the prompt."""

MAX_WEIGHT = 1e9
"""And one over it is the least: sums of such weights, and differences of sums, stay exact enough."""

NAMES = ("names", "models")
"""Where a record with `responses` has what its responses are called; without either they are "0", "1" …"""

PAIRWISE: Mapping[int, Winner] = {1: "a", 2: "b", 0: "tie"}


def parse_row(record: Mapping[str, Any], columns: Mapping[str, str], *, default_id: str = "") -> Row:
    """What a row says.

    Args:
        columns: name of a part of a vote -> its column, see `config.votes.COLUMNS`.
        default_id: the id of a record that is a whole group and has none.
    Raises:
        InputError: a column is missing or its value cannot be used.
    """
    if "pairwise" in record:
        return _parse_record(record, default_id, _pairwise_votes)
    if "individual_preference" in record or "overall_preference" in record:
        return _parse_helpsteer(record, default_id)
    if "rankings" in record:
        return _parse_record(record, default_id, _ranking_votes)
    return _parse_vote(record, columns)


def parse_group(record: Mapping[str, Any], default_id: str) -> Row:
    """A record with `responses`, without what may be votes in it: its texts and fields."""
    return _parse_record(record, default_id, lambda record, names: [])


def _parse_vote(record: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    needed = [columns[part] for part in ("a", "b", "winner") if record.get(columns[part]) is None]
    if not needed and all(record.get(columns[part]) is None for part in ("group", "prompt")):
        needed = [columns["group"]]
    if needed:
        raise InputError(
            f"the row has no {first_few([repr(name) for name in needed])}; it has "
            f"{first_few([repr(str(name)[:40]) for name in record], 8) or 'nothing'}",
            hint="--columns says what other columns mean: --columns group=question_id,a=model_a,b=model_b,winner=vote.",
        )
    a, b = (_name(record[columns[part]], columns[part]) for part in ("a", "b"))
    if a == b:
        raise InputError(f"a vote is about two responses, and this names {a[:60]!r} twice")
    group, prompt = record.get(columns["group"]), record.get(columns["prompt"])
    if prompt is not None and not isinstance(prompt, str):
        raise InputError(f"{columns['prompt']!r} must be a text, found {kind_of(prompt)}")
    group_id = None if group is None else _name(group, columns["group"])
    annotator = record.get(columns["annotator"])
    vote = Vote(
        a,
        b,
        _winner(record[columns["winner"]], a, b),
        "" if annotator is None else _name(annotator, columns["annotator"]),
        _weight(record.get(columns["weight"]), columns["weight"]),
    )
    texts = {
        name: _text(record[columns[part]], columns[part])
        for name, part in ((a, "a_text"), (b, "b_text"))
        if record.get(columns[part]) is not None
    }
    fields = {key: record[key] for key in CARRIED if record.get(key) is not None}
    if prompt is not None:
        fields = {"prompt": prompt, **fields}
    return Row(group_id or prompt or "", group_id, [vote], texts, fields)


def _parse_record(record: Mapping[str, Any], default_id: str, votes_of: Any) -> Row:
    """A whole group: its responses, what they are called, and its votes."""
    responses = record.get("responses")
    if not isinstance(responses, list) or len(responses) < 2:
        raise InputError(f"'responses' must be a list of at least two texts, found {kind_of(responses)}")
    key = next((key for key in NAMES if record.get(key) is not None), None)
    raw = record[key] if key else [str(place) for place in range(len(responses))]
    if not isinstance(raw, list) or len(raw) != len(responses):
        raise InputError(f"{key!r} must name each of the {len(responses)} responses")
    names = [_name(name, f"{key}[{place}]") for place, name in enumerate(raw)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{key!r} names two responses {twice[:60]!r}")
    texts = {
        name: _text(text, f"responses[{at}]")
        for at, (name, text) in enumerate(zip(names, responses, strict=True))
    }
    used = {"id", "group", "responses", "rankings", "pairwise", "annotator", "weight", key}
    group_id = next((record[key] for key in ("id", "group") if record.get(key) is not None), None)
    prompt = record.get("prompt")
    if group_id is None and isinstance(prompt, str):
        found, key_of_group = None, prompt
    else:
        found = default_id if group_id is None else _name(group_id, "id")
        key_of_group = found
    fields = {name: value for name, value in record.items() if name not in used}
    return Row(key_of_group, found, votes_of(record, names), texts, fields)


def _pairwise_votes(record: Mapping[str, Any], names: Sequence[str]) -> list[Vote]:
    """[i, j, 1 first better, 2 second better, 0 tie], perhaps with an annotator as a fourth."""
    raw = record["pairwise"]
    if not isinstance(raw, list):
        raise InputError(f"'pairwise' must be a list, found {kind_of(raw)}")
    votes = []
    for at, entry in enumerate(raw):
        found = entry[:3] if isinstance(entry, list) else []
        is_fine = len(found) == 3 and len(entry) <= 4 and all(type(value) is int for value in found)
        if not is_fine or not {found[0], found[1]} <= set(range(len(names))) or found[2] not in PAIRWISE:
            raise InputError(
                f"'pairwise[{at}]' is not [first, second, winner]: two of the responses 0 to {len(names) - 1}, then 1 "
                "where the first is better, 2 where the second is, 0 for a tie"
            )
        if found[0] == found[1]:
            raise InputError(f"'pairwise[{at}]' compares response {found[0]} with itself")
        annotator = _name(entry[3], f"pairwise[{at}][3]") if len(entry) == 4 else ""
        votes.append(Vote(names[found[0]], names[found[1]], PAIRWISE[found[2]], annotator))
    return votes


def _ranking_votes(record: Mapping[str, Any], names: Sequence[str]) -> list[Vote]:
    """All pairs of a ranking, or of several annotators' rankings of the same responses; null leaves one out."""
    raw = record["rankings"]
    annotator = record.get("annotator")
    own = "" if annotator is None else _name(annotator, "annotator")
    if isinstance(raw, dict):
        rankings = [(_name(who, "rankings"), ranks) for who, ranks in raw.items()]
    elif isinstance(raw, list) and raw and all(isinstance(ranks, list) for ranks in raw):
        rankings = [(str(number), ranks) for number, ranks in enumerate(raw, start=1)]
    else:
        rankings = [(own, raw)]
    votes = []
    for who, ranks in rankings:
        if not isinstance(ranks, list) or len(ranks) != len(names):
            raise InputError(
                f"a ranking of {len(names)} responses must be a list of {len(names)} ranks, 1 = best"
            )
        if not all(rank is None or is_number(rank) for rank in ranks):
            raise InputError("a ranking must be numbers, 1 = best, or null where a response was not ranked")
        for i, j in combinations(range(len(names)), 2):
            if ranks[i] is not None and ranks[j] is not None:
                winner: Winner = "a" if ranks[i] < ranks[j] else "b" if ranks[j] < ranks[i] else "tie"
                votes.append(Vote(names[i], names[j], winner, who))
    return votes


def _parse_helpsteer(record: Mapping[str, Any], default_id: str) -> Row:
    """Each annotator's preference is a vote: below 0 for the first response, above for the second, 0 a tie."""
    names = ("response1", "response2")
    missing = [name for name in ("context", *names) if record.get(name) is None]
    if missing:
        raise InputError(f"the row has no {first_few([repr(name) for name in missing])}")
    individual = record.get("individual_preference")
    if individual is None:
        individual = [{"score": record["overall_preference"]}]
    if not isinstance(individual, list) or not all(isinstance(each, dict) for each in individual):
        raise InputError(f"'individual_preference' must be a list of objects, found {kind_of(individual)}")
    votes = []
    for number, each in enumerate(individual, start=1):
        score = each.get("score")
        if not is_number(score):
            raise InputError(
                f"'individual_preference[{number - 1}].score' must be a number, found {kind_of(score)}"
            )
        winner: Winner = "a" if score < 0 else "b" if score > 0 else "tie"
        votes.append(Vote(*names, winner, str(number)))
    context = record["context"]
    fields: dict[str, Any] = (
        {"messages": context} if isinstance(context, list) else {"prompt": _text(context, "context")}
    )
    fields |= {key: record[key] for key in ("domain", "language") if record.get(key) is not None}
    key = default_id if record.get("id") is None else _name(record["id"], "id")
    return Row(key, key, votes, {name: _text(record[name], name) for name in names}, fields)


def _winner(raw: Any, a: str, b: str) -> Winner:
    """As one of WINNERS, or as the name of the better response; what could mean both is refused."""
    text = str(raw).strip() if isinstance(raw, (str, int)) and not isinstance(raw, bool) else ""
    found: set[Winner] = {WINNERS[text.lower()]} if text.lower() in WINNERS else set()
    if text == a:
        found.add("a")
    if text == b:
        found.add("b")
    if len(found) != 1:
        shown = repr(text[:40]) if text else kind_of(raw)
        reason = "says two things: a name and a place" if found else "is none of a, b, tie and the two names"
        raise InputError(f"the winner, {shown}, {reason}")
    return found.pop()


def _weight(raw: Any, column: str) -> float:
    if raw is None:
        return 1.0
    try:
        weight = float(raw) if isinstance(raw, str) or is_number(raw) else math.nan
    except ValueError:
        weight = math.nan
    if not 1 / MAX_WEIGHT <= weight <= MAX_WEIGHT:  # NaN is neither
        shown = repr(raw[:40]) if isinstance(raw, str) else kind_of(raw)
        raise InputError(f"{column!r} must be a number above 0, up to {MAX_WEIGHT:g}, found {shown}")
    return weight


def _name(raw: Any, column: str) -> str:
    """A name, a group or an annotator: a text or a whole number."""
    if isinstance(raw, str) and raw.strip():
        return raw
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    raise InputError(f"{column!r} must be a text or a whole number, found {kind_of(raw)}")


def _text(raw: Any, column: str) -> str:
    if not isinstance(raw, str):
        raise InputError(f"{column!r} must be a text, found {kind_of(raw)}")
    return raw
