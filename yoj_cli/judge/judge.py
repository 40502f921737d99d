"""A loaded checkpoint that scores groups: the object behind every command, and the library's front door."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from yoj_cli.config import JudgeConfig
from yoj_cli.errors import InputError, ModelError, OutOfMemoryError, UsageError
from yoj_cli.inputs.media import MediaOptions
from yoj_cli.inputs.records import Failure, Group, parse
from yoj_cli.judge.ahead import map_ahead
from yoj_cli.judge.backbone import Backbone
from yoj_cli.judge.checkpoint import Checkpoint, load_checkpoint
from yoj_cli.judge.head import ValueHead
from yoj_cli.judge.layout import Layout, LayoutBuilder
from yoj_cli.judge.scorer import branch_scores
from yoj_cli.outputs.ranking import Verdict, build_verdict
from yoj_cli.plan import Plan, build_plan, check_plan_options, join

if TYPE_CHECKING:
    from os import PathLike

    from PIL.Image import Image

DEFAULT_MAX_TOKENS = 24_576
"""Longest sequence the published weights were trained on (arXiv 2604.10966)."""

AHEAD = 4
"""Groups that are read, decoded and tokenized while the device works on the one before."""


class Judge:
    """Scores groups of responses with one loaded checkpoint.

    Load it once, keep it, and call `score` (one group, from Python values) or `score_groups` (a stream):

        judge = Judge.load("demo")
        verdict = judge.score(prompt="Describe this image.", images=["scene.png"], responses=[a, b, c])
        verdict.best, verdict.scores
    """

    def __init__(
        self, config: JudgeConfig, backbone: Backbone, head: ValueHead, checkpoint: Checkpoint
    ) -> None:
        self.config = config
        self.backbone = backbone
        self.head = head
        self.checkpoint = checkpoint
        self.role = config.layout or checkpoint.role
        self.mode = config.mode or checkpoint.mode
        check_plan_options(self.mode, config.orders, config.window)
        self.max_tokens = config.max_tokens or min(DEFAULT_MAX_TOKENS, backbone.context)
        if self.max_tokens > backbone.context:
            raise UsageError(
                f"{self.max_tokens} is beyond the backbone's context of {backbone.context} tokens",
                where="--max-tokens",
            )
        self._layouts = LayoutBuilder(
            backbone, checkpoint.separator, self.role, self.max_tokens, where=str(checkpoint.folder)
        )

    @classmethod
    def load(cls, model: str | None = None, **options: Any) -> Judge:
        """Load a judge onto its device.

        Args:
            model: Hub id, checkpoint folder or "demo"; default $YOJ_MODEL, else the published judge.
            options: any field of `JudgeConfig`: device, quant, dtype, mode, orders, window, seed, …
        Raises:
            UsageError: an unknown option or options that contradict each other.
            ModelError, DeviceError: the checkpoint or the device cannot be used.
        """
        try:
            config = JudgeConfig(model=model, **options)
        except TypeError as error:
            raise UsageError(str(error).replace("JudgeConfig.__init__()", "Judge.load()")) from error
        return cls.from_config(config)

    @classmethod
    def from_config(cls, config: JudgeConfig) -> Judge:
        """Load the judge that a complete configuration describes."""
        config = config.resolved()
        return cls(config, *load_checkpoint(config))

    @property
    def description(self) -> dict[str, Any]:
        """What is written beside every score: enough to tell two judges' numbers apart."""
        return {
            "model": self.checkpoint.name,
            "mode": self.mode,
            "orders": self.config.orders,
            "window": self.config.window,
            "layout": self.role,
            "quant": self.config.quant,
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "seed": self.config.seed,
            "revision": self.checkpoint.revision,
        }

    def score(
        self,
        *,
        responses: Sequence[str],
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        images: Sequence[str | PathLike[str] | Image] = (),
        videos: Sequence[str | PathLike[str]] = (),
        media: MediaOptions | None = None,
    ) -> Verdict:
        """Score one group given as Python values.

        Args:
            responses: (N,) candidate texts.
            prompt: the question; without one, a picture or clip gets "Describe this image." / "…video.".
            messages: a chat instead of `prompt`, as role/content dictionaries; the last turn is the user's.
            images: paths, data: URLs or PIL pictures, shown before the prompt.
            videos: paths of clips.
        Raises:
            InputError: something in the group cannot be used.
            OutOfMemoryError: the group does not fit on the device.
        """
        given = {
            "prompt": prompt,
            "messages": messages and list(messages),
            "images": list(images),
            "videos": list(videos),
        }
        record = {name: value for name, value in given.items() if value} | {"responses": list(responses)}
        return self.score_group(parse(record), media=media)

    def score_group(self, group: Group, *, media: MediaOptions | None = None) -> Verdict:
        """Score one parsed group; see `score`."""
        return self._verdict(group, *self.prepare(group, media or MediaOptions()))

    def score_groups(
        self, groups: Iterable[Group | Failure], *, media: MediaOptions | None = None
    ) -> Iterator[Verdict | Failure]:
        """Score a stream in its order, preparing the next groups while the device works.

        A group that cannot be scored gives a Failure in its place and the stream goes on; the caller decides
        whether that ends the run. Memory does not grow with the stream.
        """
        options = media or MediaOptions()

        def prepare_item(item: Group | Failure) -> tuple[Group, Plan, Layout] | Failure:
            if isinstance(item, Failure):
                return item
            try:
                return item, *self.prepare(item, options)
            except InputError as error:
                return Failure(item.where, item.record, error)

        with closing(map_ahead(prepare_item, groups, n_ahead=AHEAD)) as stream:
            for prepared in stream:
                item = prepared()
                yield item if isinstance(item, Failure) else self._verdict_or_failure(*item)

    def _verdict_or_failure(self, group: Group, plan: Plan, layout: Layout) -> Verdict | Failure:
        try:
            return self._verdict(group, plan, layout)
        except OutOfMemoryError as error:
            return Failure(group.where, group.record, error.at(group.where))

    def prepare(self, group: Group, options: MediaOptions) -> tuple[Plan, Layout]:
        """Everything before the forward pass: files, frames, tokens. Runs in a worker thread."""
        plan = build_plan(
            len(group.responses),
            mode=self.mode,
            orders=self.config.orders,
            window=self.config.window,
            seed=self.config.seed,
        )
        return plan, self._layouts.prepare(group, plan, options)

    @torch.inference_mode()
    def _verdict(self, group: Group, plan: Plan, layout: Layout) -> Verdict:
        started = time.perf_counter()
        found = branch_scores(self.backbone, self.head, layout)
        values = [branch.tolist() for branch in found]
        if not all(torch.isfinite(branch).all() for branch in found):
            raise ModelError(
                "the judge gave a score that is no number",
                where=group.where,
                hint="Try --dtype bfloat16 or float32; if it persists the weights are damaged.",
            )
        scores, spread = join(plan, values)
        seconds = time.perf_counter() - started
        return build_verdict(group, scores, spread=spread, n_tokens=layout.n_tokens, seconds=seconds)
