"""What a person sees of a training run: what was found before it, and a line for each step."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoj_cli.config.field import value_of
from yoj_cli.config.recipes import PAPER, RECIPES, against_official
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import first_few
from yoj_cli.render.wording import counted, render_size
from yoj_cli.train.memory_estimate import LEFT_OUT
from yoj_cli.train.progress import SIGNS, RunningMeans
from yoj_cli.train.validate import DataReport, list_errors

if TYPE_CHECKING:
    from yoj_cli.train.prepare import Run


def render_recipe(config: TrainConfig, named: str | None) -> str:
    """A named recipe with all that it sets; and in what the run differs from the released training script."""
    lines = []
    if named:
        values = {name: value_of(config, name) for name in RECIPES[named]}
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
    n_together = min(config.batch_size, run.train_report.n_groups)
    lines.append(
        f"{counted(run.n_steps, 'step')} of {counted(n_together, 'group')}, {counted(config.epochs, 'epoch')}; "
        f"{config.mode}, {config.resolved_loss}, LoRA r {config.design.lora_r} on {config.base}"
    )
    if run.from_judge:
        told = ", ".join(f"{name} {_plain(value)}" for name, value in run.from_judge.items())
        lines += _wrapped(f"goes on from {config.init_from}; taken from it: {told}")
    lines.append(_render_memory(run))
    lines += [f"note: {warning}" for warning in _warnings(run)]
    return "\n".join(lines)


def _render_memory(run: Run) -> str:
    memory = run.memory
    total, weights, trained, activations = map(
        render_size, (memory.total, memory.weights, memory.trained, memory.activations)
    )
    so_far = f"this process so far {render_size(memory.process)}, " if memory.process else ""
    media = f", pictures and clips of a step {render_size(memory.media)}" if memory.media else ""
    how = "recomputed" if run.config.gradient_checkpointing else "kept"
    unknown = "" if run.config.check else " (lengths and media were not counted: a longer group takes more)"
    return (
        f"about {total} of memory: {so_far}weights {weights}, adapter and optimizer {trained}, {how} activations of "
        f"a pass of {memory.n_tokens:,} tokens {activations}{media}{unknown}; left out: {LEFT_OUT}"
    )


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


class Display:
    """Prints lines of metrics.jsonl for a person: every few seconds the means of the last steps, and each evaluation.

    Args:
        every_s: seconds between lines; 0 prints every step.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._means, self._every_s = RunningMeans(config.batch_size), config.log_every
        self._began: tuple[float, float] | None = None  # time and step of the first line
        self._shown_s = -math.inf
        self._warned: set[str] = set()

    def show(self, line: Mapping[str, float], n_steps: int) -> None:
        """Take one line, and print what is to be said now."""
        now = time.monotonic()
        if "eval_loss" in line:
            sys.stderr.write(f"step {line['step']}/{n_steps}  {_render_evaluation(line)}\n")
            return
        self._means.add(line)
        self._began = self._began or (now, line["step"])
        if now - self._shown_s >= self._every_s or line["step"] >= n_steps:
            self._shown_s = now
            sys.stderr.write(
                f"step {line['step']}/{n_steps}  {self._render_means()}{self._left(line, n_steps)}\n"
            )
        for sign in SIGNS:
            if (
                sign in line and sign not in self._warned and line["step"] < n_steps
            ):  # at the end all are told
                sys.stderr.write(f"warning: {self._means.describe(sign)}\n")
                self._warned.add(sign)
        if "micro_batch_tokens" in line and "memory" not in self._warned:
            tokens = int(line["micro_batch_tokens"])
            sys.stderr.write(
                f"note: out of memory; passes now hold {tokens} tokens (--micro-batch-tokens {tokens})\n"
            )
            self._warned.add("memory")

    def _render_means(self) -> str:
        mean = self._means.mean
        return (
            f"mean of {counted(self._means.n_steps, 'step')}: loss {mean('loss'):.4f} (all alike "
            f"{mean('constant_loss'):.4f})  best of N {mean('best_of_n'):.3f} (blind {mean('chance'):.3f})  "
            f"spread {mean('spread'):.2g}  gradient {mean('grad_norm'):.2g}  "
            f"{mean('tokens_per_s'):,.0f} tokens/s  {mean('groups_per_s'):.3g} groups/s"
        )

    def _left(self, line: Mapping[str, float], n_steps: int) -> str:
        """The time that is left at the pace of this session, its evaluations included."""
        assert self._began is not None
        began_s, first = self._began
        if line["step"] <= first or line["step"] >= n_steps:
            return ""
        seconds = (time.monotonic() - began_s) / (line["step"] - first) * (n_steps - line["step"])
        minutes = math.ceil(seconds / 60)
        left = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
        return f"  {left if seconds >= 60 else f'{seconds:.0f} s'} left"


def _render_evaluation(line: Mapping[str, float]) -> str:
    def interval(name: str) -> str:
        low, high = line.get(f"{name}_low"), line.get(f"{name}_high")
        return "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"

    names = {"best of N": "best_of_n", "pairs": "pairs", "tau": "tau", "flipped": "flipped"}
    parts = [f"{label} {line[f'eval_{name}']:.3f}{interval(f'eval_{name}')}" for label, name in names.items()]
    return f"held out: loss {line['eval_loss']:.4f}  " + "  ".join(parts)
