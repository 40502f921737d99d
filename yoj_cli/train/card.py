"""The model card of a trained judge: what it is, how to use it, and what is known about it."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from yoj_cli.config.judge import DEMO
from yoj_cli.storage.hub import is_hub_id
from yoj_cli.train.card_facts import CardFacts

CARD = "README.md"
TASK = "text-ranking"
"""The Hub's task for models that order texts for a query; "image-text-to-text" is for those that write."""

TAGS = ("reward-model", "judge", "best-of-n", "lora", "yoj-cli")
MEDIA_TAG = "vision-language"
LOSSES = {
    "ce": "cross-entropy on the best response",
    "plackett-luce": "Plackett-Luce on the whole ranking",
    "bradley-terry": "Bradley-Terry on all pairs",
}
COUNTS = {
    "single_best_share": "share of groups with one single best response",
    "best_first_share": "share of groups whose first response is a best one",
    "groups_with_text": "groups with text only",
    "chance": "share of groups that a blind pick gets right",
    "longest_tokens": "tokens of the longest group",
    "truncated": "groups that lost their end: too long",
    "cut_responses": "responses that were cut off with it, in the order of the file",
    "shrunk_media": "groups with fewer crops or frames: too many vision tokens",
    "left_out_empty_responses": "responses left out: without a text",
    "left_out_all_tied": "groups left out: all responses share one rank",
    "left_out_too_long": "groups left out: too long",
    "left_out_unusable": "groups left out: unusable",
}
MEASURES = {
    "eval_best_of_n": "best of N right",
    "eval_chance": "best of N right by a blind pick",
    "eval_pairs": "pairs in the right order",
    "eval_tau": "Kendall's tau",
    "eval_flipped": "winner changes when the responses are reversed",
    "eval_loss": "loss, nats",
    "eval_n_groups": "groups",
}

INTERVALS = (
    "In brackets are 95 % intervals of a bootstrap over prompts; ± is one standard error over the groups."
)


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write the folder's README.md, the old one replaced as a whole.

    Raises:
        OSError: the folder cannot be written to.
    """
    sections = [
        f"---\n{_front_matter(facts)}\n---",
        _introduction(facts),
        _usage(facts),
        _data(facts),
        _held_out(folder, facts),
        _settings(facts),
        _limits(facts),
    ]
    partial = folder / f".{CARD}.tmp"
    # A file's name may hold bytes that are no text.
    partial.write_bytes(("\n\n".join(sections) + "\n").encode("utf-8", "replace"))
    os.replace(partial, folder / CARD)


def _front_matter(facts: CardFacts) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    last = facts.final
    kinds = {"eval_best_of_n": "accuracy", "eval_pairs": "accuracy", "eval_tau": "kendall_tau"}
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type="held-out",
            dataset_name="Held-out groups of the training's own data",
            metric_type=kind,
            metric_name=MEASURES[key],
            metric_value=last[key],
        )
        for key, kind in kinds.items()
        if math.isfinite(last.get(key, math.nan))
    ]
    # The Hub refuses a card whose base or data set is no id of its own.
    on_hub = facts.base_model != DEMO and is_hub_id(facts.base_model)
    data = ModelCardData(
        base_model=facts.base_model if on_hub else None,
        datasets=[name for name in facts.datasets if is_hub_id(name)] or None,
        library_name="yoj-cli",
        pipeline_tag=TASK,
        tags=[*TAGS, MEDIA_TAG] if facts.reads_media else list(TAGS),
        model_name=_line(facts.name) if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _introduction(facts: CardFacts) -> str:
    how = (
        "reads all of them together, in one forward pass"
        if facts.mode == "multi"
        else "reads each of them alone, all in one forward pass"
    )
    what = ", its pictures or clip," if facts.reads_media else ""
    return (
        f"# {_text(facts.name)}\n\n"
        f"A judge: given a prompt{what} and N candidate responses, it gives each response a score; "
        f"the highest is the best. It {how} ([You Only Judge Once](https://arxiv.org/abs/2604.10966)).\n\n"
        f"It is a LoRA adapter and a value head on {_code(facts.base_model)}, which is frozen and has a "
        "licence of its own."
    )


def _usage(facts: CardFacts) -> str:
    name = _line(facts.name)
    command = f"yoj score candidates.jsonl -m {shlex.quote(name)}"
    asked, answered = '"What is this?"', '["A dog.", "Two cats."]'
    if not facts.reads_media:
        asked, answered = '"Why is the sky blue?"', '["Air scatters blue light most.", "It mirrors the sea."]'
    shown = ['"images": ["a.jpg"], ', 'images=["a.jpg"], '] if facts.reads_media else ["", ""]
    record = f'{{"prompt": {asked}, {shown[0]}"responses": {answered}}}'
    python = (
        "from yoj_cli import Judge\n\n"
        f"judge = Judge.load({json.dumps(name, ensure_ascii=False)})\n"
        f"verdict = judge.score(prompt={asked}, {shown[1]}responses={answered})\n"
        "print(verdict.scores, verdict.order[0])"
    )
    return (
        f"## How to use it\n\nWith the package yoj-cli installed:\n\n{_fenced(command, 'bash')}\n\n"
        f"where a line of `candidates.jsonl` is\n\n{_fenced(record, 'json')}\n\n"
        f"In Python:\n\n{_fenced(python, 'python')}"
    )


def _data(facts: CardFacts) -> str:
    rows = [
        (_count_name(key), _number(value))
        for key, value in facts.data.items()
        if value != 0 or not key.endswith("tokens")  # nought where they were not counted
    ]
    return "## What it was trained on\n\n" + (_table(("", ""), rows) if rows else "Not recorded.")


def _held_out(folder: Path, facts: CardFacts) -> str:
    parts = [f"> **Warning**: {_text(warning)}." for warning in facts.warnings]
    parts.append("## Results on held-out groups")
    if facts.evaluations:
        chosen = _chosen(facts.evaluations)
        header = ("", *(f"{roles}, step {line.get('step', 0):.0f}" for roles, line in chosen))
        rows = [
            (label, *(_measured(key, line) for _, line in chosen))
            for key, label in MEASURES.items()
            if any(key in line for line in facts.evaluations)
        ]
        parts.append(_table(header, rows))
        kept = (
            f"of step {facts.best_step}, which evaluated best by {_code(facts.best_by)}; chosen by these groups, "
            "the figures are a little too good"
            if facts.best_step and facts.best_by
            else "of the last step"
        )
        parts.append(f"The weights are those {kept}. {INTERVALS}")
    else:
        parts.append("No groups were held out, so how well it ranks is not known.")
    if facts.curves and (folder / facts.curves).is_file():
        parts.append(f"![Loss, accuracy and optimizer over the steps]({quote(facts.curves)})")
    return "\n\n".join(parts)


def _settings(facts: CardFacts) -> str:
    minutes = round(facts.seconds / 60)
    took = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{facts.seconds / 60:.1f} min"
    rows = [(_code(key), _code(_plain(value))) for key, value in facts.recipe.items()]
    rows += [(_text(name), _code(version)) for name, version in facts.versions.items()]
    rows += [("wall time of the last session", took)]
    loss = LOSSES.get(facts.loss, _text(facts.loss))
    told = "; ".join(
        f"{_code(name)} is {_code(_plain(here))}, there {_code(_plain(there))}"
        for name, (here, there) in facts.against_official.items()
    )
    script = "[the released training script](https://github.com/yinuoyang01/multi-response-rm)"
    against = f"Otherwise than in {script}: {told}." if told else f"The settings are those of {script}."
    start = ""
    if facts.went_on_from:
        taken = ", ".join(f"{_code(name)} {_code(_plain(value))}" for name, value in facts.from_judge.items())
        start = f"It went on from {_code(facts.went_on_from)}; taken from it: {taken}.\n\n"
    return f"## How it was trained\n\n{start}Loss: {loss}.\n\n{against}\n\n" + _table(
        ("setting", "value"), rows
    )


def _limits(facts: CardFacts) -> str:
    """Only what is known of this judge; what was not measured is said to be so."""
    last = facts.final
    limits = [
        "It ranks responses within a group; scores of different groups, or of other judges, do not compare."
    ]
    if facts.mode == "single":
        limits.append("It reads each response alone, so the order of the responses does not matter.")
    elif "eval_flipped" in last:
        limits.append(
            f"Reversing the responses changed the winner in {_measured('eval_flipped', last)} of the held-out "
            "groups. `--orders 2` averages over both orders."
        )
    else:
        limits.append(
            "How much the order of the responses matters was not measured; `--orders 2` averages over it."
        )
    if facts.evaluations:
        limits.append("The held-out groups are all that it was measured on; elsewhere, it was not evaluated.")
    else:
        limits.append("It was not evaluated.")
    if facts.n_shared:
        limits.append(
            f"{facts.n_shared:,} of the held-out groups are in the training data too, "
            "so the results above may be better than on new ones."
        )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _chosen(evaluations: Sequence[Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """First, best and last, one column where they are the same."""
    best = max(range(len(evaluations)), key=lambda at: evaluations[at].get("eval_best_of_n", -math.inf))
    places = {"first": 0, "best": best, "last": len(evaluations) - 1}
    return [
        (" and ".join(role for role, place in places.items() if place == at), evaluations[at])
        for at in sorted(set(places.values()))
    ]


def _measured(key: str, line: Mapping[str, float]) -> str:
    value, n_groups = line.get(key, math.nan), line.get("eval_n_groups", 0)
    if not math.isfinite(value):
        return "–"
    if math.isfinite(line.get(f"{key}_low", math.nan)) and math.isfinite(line.get(f"{key}_high", math.nan)):
        low, high = line[f"{key}_low"], line[f"{key}_high"]
        if key in ("eval_loss", "eval_tau"):
            return f"{value:.4f} ({low:.4f} to {high:.4f})"
        return f"{value:.1%} ({low:.1%} to {high:.1%})"
    if key in ("eval_best_of_n", "eval_flipped") and n_groups > 0 and 0 < value < 1:
        return f"{value:.1%} ± {math.sqrt(value * (1 - value) / n_groups):.1%}"
    if key in ("eval_best_of_n", "eval_flipped", "eval_pairs", "eval_chance"):
        return f"{value:.1%}"
    return f"{value:.0f}" if key == "eval_n_groups" else f"{value:.4f}"


def _count_name(key: str) -> str:
    if found := re.fullmatch(r"groups_of_(\d+)", key):
        return f"groups of {found[1]} responses"
    return COUNTS.get(key) or _text(key.replace("_", " "))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else _text(str(value))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unset"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    # A bar ends a cell even between backticks. Tables lose one backslash before each, whatever stands before it.
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _line(text: str) -> str:
    """Anything in one line."""
    return " ".join(text.split())


def _text(text: str) -> str:
    """Words in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]<>&|$~])", r"\\\1", _line(text))


def _code(text: str) -> str:
    """Anything between backticks, more of them than it holds itself."""
    text = _line(text)
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{ticks}{room}{text}{room}{ticks}"


def _fenced(text: str, language: str) -> str:
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"
