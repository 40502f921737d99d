"""What a person sees of a training run: what was found before it, and a line for each step."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoj_cli.config.recipes import PAPER, RECIPES, against_official
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import first_few
from yoj_cli.render.wording import counted, render_size
from yoj_cli.train.validate import DataReport, list_errors

if TYPE_CHECKING:
    from yoj_cli.train.prepare import Run


def render_recipe(config: TrainConfig, named: str | None) -> str:
    """A named recipe with all that it sets; and in what the run differs from the released training script."""
    lines = []
    if named:
        values = {name: getattr(config, name) for name in RECIPES[named]}
        shown = ", ".join(f"{name} {_plain(value)}" for name, value in values.items())
        lines += _wrapped(f"recipe {named}: {shown}")
        lines.append(f"note: {PAPER}")
    differences = against_official(config)
    told = ", ".join(
        f"{name} {_plain(here)} (there {_plain(there)})" for name, (here, there) in differences.items()
    )
    lines += _wrapped(f"against the released training script: {told or 'no difference'}")
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unset" if value is None else str(value)


def render_run(run: Run) -> str:
    """What the files hold, what will be done with them, and what looks wrong."""
    config = run.config
    lines = ["training data: " + _render_data(run.train_report)]
    if run.eval_report:
        lines.append("held-out data: " + _render_data(run.eval_report))
    lines.append(
        f"{run.n_steps} steps of {config.batch_size} groups, {counted(config.epochs, 'epoch')}; "
        f"{config.mode}, {config.resolved_loss}, LoRA r {config.lora_r} on {config.base}"
    )
    if run.memory:
        total, weights, trained, activations = map(
            render_size,
            (run.memory.total, run.memory.weights, run.memory.trained, run.memory.activations),
        )
        lines.append(
            f"about {total} of memory: weights {weights}, adapter and optimizer {trained}, activations {activations}"
        )
    lines += [f"note: {warning}" for warning in _warnings(run)]
    return "\n".join(lines)


def _render_data(report: DataReport) -> str:
    sizes = ", ".join(f"{count:,} of {n}" for n, count in sorted(report.n_groups_of.items()))
    media = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.n_media.items()))
    lines = [
        f"{report.n_groups:,} groups, {report.n_responses:,} responses",
        f"responses: groups {sizes}",
        f"media: {media}",
        f"rankings: {report.n_tied / report.n_groups:.0%} of groups have ties, "
        f"{report.n_single_best / report.n_groups:.0%} a single best, blind pick {report.chance:.3f}",
    ]
    if report.longest[0]:
        lines.append(
            f"tokens: {report.n_tokens:,}; longest group {report.longest[0]:,} ({report.longest[1]})"
        )
    for errors, why in ((report.unusable, "unusable"), (report.too_long, "too long")):
        if errors:
            lines.append(f"left out, {why}: {len(errors)}\n{list_errors(errors)}")
    if report.n_truncated:
        lines.append(
            f"truncated: {report.n_truncated} groups, which lose {report.n_cut} responses as a whole"
        )
    if report.n_shrunk:
        lines.append(f"shown with fewer crops or frames: {report.n_shrunk} groups")
    if report.n_empty:
        lines.append(f"left out, responses without a text: {report.n_empty}")
    if report.teaches_nothing:
        lines.append(
            f"left out, all responses tie: {len(report.teaches_nothing)} "
            f"({first_few(report.teaches_nothing)})"
        )
    return "\n".join(lines)


def _warnings(run: Run) -> list[str]:
    found = []
    report = run.train_report
    if not run.config.shuffle_responses and report.n_best_first > 0.9 * report.n_groups:
        found.append(
            f"the best response stands first in {report.n_best_first / report.n_groups:.0%} of the groups, and "
            "--no-shuffle-responses keeps it there: the judge will learn the place"
        )
    if run.n_shared:
        found.append(f"{run.n_shared} held-out groups are in the training data too")
    if not run.config.check:
        found.append("--no-check: media and lengths are not looked at before the run")
    return found


def show_line(line: Mapping[str, float], n_steps: int) -> None:
    """Print one line of metrics.jsonl for a person."""
    where = f"step {line['step']}/{n_steps}"
    if "eval_loss" in line:
        sys.stderr.write(
            f"{where}  held out: loss {line['eval_loss']:.4f}  best of N {line['eval_best_of_n']:.3f}"
            f"  pairs {line['eval_pairs']:.3f}  tau {line['eval_tau']:.3f}  flipped {line['eval_flipped']:.3f}\n"
        )
        return
    sys.stderr.write(
        f"{where}  loss {line['loss']:.4f}  best of N {line['best_of_n']:.3f}"
        f"  {line['tokens_per_s']:,.0f} tokens/s\n"
    )
