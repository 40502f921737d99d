"""A loaded checkpoint that scores groups: the object behind every command, and the library's front door."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from yoj_cli.checkpoint.read import Checkpoint, load_checkpoint
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import UsageError, errors_at
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.model.side_effects import keep_random_state, quietly, unsharded
from yoj_cli.plan.branches import Plan, build_plan, check_plan_options
from yoj_cli.records.parse import parse_records, parse_values
from yoj_cli.scoring.calibrated import find_calibration
from yoj_cli.scoring.engine import Engine
from yoj_cli.scoring.lifetime import UntilClosed, close_judge, open_judge
from yoj_cli.scoring.stream import score_stream
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.verdicts.verdict import Verdict
from yoj_cli.version import __version__, installed

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Picture: TypeAlias = str | PathLike[str] | Image | NDArray[np.uint8]

DEFAULT_MAX_TOKENS = 24_576
"""Longest sequence the published weights were trained on (arXiv 2604.10966)."""


class Judge:
    """Scores groups of responses with one loaded checkpoint.

    Load it once, keep it, and call `score` (one group, from Python values) or `score_groups` (a stream):

        judge = Judge.load("demo")
        verdict = judge.score(prompt="Describe this image.", images=["scene.png"], responses=[a, b, c])
        verdict.best, verdict.scores

    `close` gives the device's memory back, as does the end of `with Judge.load("demo") as judge:`. Loading, scoring
    and closing leave logging, warnings, random numbers and the like of the program around it as they were.
    """

    backbone = UntilClosed[Backbone]()
    head = UntilClosed[ValueHead]()
    engine = UntilClosed[Engine]()
    _sequences = UntilClosed[SequenceBuilder]()

    def __init__(
        self, config: JudgeConfig, backbone: Backbone, head: ValueHead, checkpoint: Checkpoint
    ) -> None:
        self.config = config
        self.backbone = backbone
        self.head = head
        self.checkpoint = checkpoint
        self.role = config.responses_role or checkpoint.role
        self.mode = config.mode or checkpoint.mode
        check_plan_options(self.mode, config.orders, config.window)
        self.calibration, self.temperature = find_calibration(config, checkpoint, self.mode)
        self.max_frames = config.max_frames or checkpoint.max_frames
        self.max_tokens = config.max_tokens or min(DEFAULT_MAX_TOKENS, backbone.context)
        if self.max_tokens > backbone.context:
            raise UsageError(
                f"{self.max_tokens} is beyond the backbone's context of {backbone.context} tokens",
                where="--max-tokens",
            )
        self._sequences = SequenceBuilder(
            backbone,
            checkpoint.separator,
            self.role,
            self.max_tokens,
            where=str(checkpoint.folder),
            text_bos=checkpoint.scoring_text_bos,
        )
        self.engine = Engine(backbone, head, config.max_batch_tokens)
        open_judge(self)

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
        with quietly(), keep_random_state(), unsharded():
            return cls(config, *load_checkpoint(config))

    def close(self) -> None:
        """Free the model and, with the last open judge, end the processes that decode clips.

        What was scored stays valid, and `description` says by what. To score with a closed judge is a UsageError.
        """
        if not self.closed:
            _ = self.description  # kept from here on
        close_judge(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return "backbone" not in self.__dict__

    def __enter__(self) -> Judge:
        _ = self.engine  # raises if closed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def description(self) -> dict[str, Any]:
        """What is written beside every score, as resolved: all that changes one, beside the group itself.

        A score moves by rounding with the device, with the versions and with the groups read beside it.
        """
        registered = self.checkpoint.registered_separator
        return {
            "model": self.checkpoint.name,
            "mode": self.mode,
            "orders": self.config.orders,
            "window": self.config.window,
            "responses_role": self.role,
            "quant": self.backbone.quant,
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "seed": self.config.seed,
            "revision": self.checkpoint.revision,
            "base": self.checkpoint.base_model,
            "base_revision": self.checkpoint.base_revision,
            "max_frames": self.max_frames,
            "resp_repr_mode": self.head.config.resp_repr_mode,
            **({} if self.checkpoint.scoring_text_bos else {"text_bos": False}),
            **({} if self.calibration is None else {"calibration": self.calibration}),
            **({} if registered is None else {"separator_registered_as": registered}),
            "device": str(self.backbone.device),
            "versions": {
                "yoj": __version__,
                **{name: number for name, number in installed().items() if number},
            },
        }

    def score(
        self,
        *,
        responses: Iterable[str],
        prompt: str | None = None,
        messages: Iterable[Mapping[str, Any]] | None = None,
        images: Picture | Iterable[Picture] | None = None,
        videos: str | PathLike[str] | Iterable[str | PathLike[str]] | None = None,
        media: MediaOptions | None = None,
        limits: Limits = LIMITS,
    ) -> Verdict:
        """Score one group given as Python values; they mean what they mean in a line of JSON.

        Args:
            responses: (N,) candidate texts.
            prompt: the question; without one, a picture or clip gets "Describe this image." / "…video.". An empty
                text is a prompt like any other.
            messages: a chat instead of `prompt`, as role/content dictionaries; the last turn is the user's.
            images: one or several, shown before the prompt: paths, data: URLs, Pillow pictures, or numpy arrays
                (H, W, 3) of uint8, RGB.
            videos: one or several paths of clips.
            media: the limits of media; by default nothing from the network, with the judge's `max_frames`.
            limits: how many responses, pictures and clips there may be.
        Raises:
            InputError: something in the group cannot be used.
            OutOfMemoryError: the group does not fit on the device.
        """
        given = {
            "prompt": prompt,
            "messages": messages,
            "images": images,
            "videos": videos,
            "responses": responses,
        }
        return self.score_group(parse_values(given, limits), media=media)

    def score_group(self, group: Group, *, media: MediaOptions | None = None) -> Verdict:
        """Score one parsed group; see `score`."""
        (found,) = self.score_groups([group], media=media)
        if isinstance(found, Failure):
            raise found.error
        return found

    def score_groups(
        self,
        groups: Iterable[Group | Failure | Mapping[str, Any]],
        *,
        media: MediaOptions | None = None,
        limits: Limits = LIMITS,
        live: bool = False,
        n_before: int = 0,
        after_window: Callable[[], None] = lambda: None,
    ) -> Generator[Verdict | Failure, None, None]:
        """Score a stream in its order, preparing the next groups while the device works.

        Short groups are read together. Which ones follows from the stream alone, so that the same stream gives
        the same scores to the last bit; beside other groups a group's scores differ by rounding.
        A group that cannot be scored, for whatever reason, gives a Failure in its place and the stream goes on;
        the caller decides whether that ends the run. Memory does not grow with the stream. See `score_stream`.

        Args:
            groups: from `read_groups`, or records with the fields of a JSON line; read in a thread of its own.
            media: see `score`.
            limits: of records; groups were measured when they were read.
            live: no group waits for those that are yet to come (a slow pipe); those that are there are read
                together, and the last digits of a score depend on the moment.
            n_before, after_window: for runs that go on after an interruption; see `score_stream`.
        Raises:
            DeviceError: the device cannot be used any more; after the groups before the first one it failed for.
        """
        _ = self.engine  # a closed judge says so here, and not when the stream is first asked
        return score_stream(
            self,
            parse_records(groups, limits),
            media or MediaOptions(),
            live=live,
            n_before=n_before,
            after_window=after_window,
        )

    def prepare(self, group: Group, options: MediaOptions) -> tuple[Plan, PackedSequence]:
        """Everything before the forward pass: files, frames, tokens. Runs in a worker thread.

        Raises:
            YojError: whatever goes wrong, with the group's line in front.
        """
        if options.max_frames is None:
            options = replace(options, max_frames=self.max_frames)
        with errors_at(group.where):
            plan = build_plan(
                len(group.responses),
                mode=self.mode,
                orders=self.config.orders,
                window=self.config.window,
                seed=self.config.seed,
            )
        return plan, self._sequences.prepare(group, plan, options)
