"""A run of `yoj calibrate`: groups judged in each mode, temperatures fitted and written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoj_cli.cli.input import build_media_options
from yoj_cli.cli.look import stopped_by
from yoj_cli.cli.messages import Complaints, complain
from yoj_cli.cli.output import open_output, writing
from yoj_cli.cli.progress import count_lines, show_loading, show_progress
from yoj_cli.config.calibrate import CalibrateConfig
from yoj_cli.config.io import InputConfig, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import InputError
from yoj_cli.evaluate.calibrate import Calibrated, calibrate, describe_calibration
from yoj_cli.evaluate.judged import Judged
from yoj_cli.evaluate.order import Reading
from yoj_cli.groups import Failure, Group
from yoj_cli.plan.branches import Mode
from yoj_cli.records.parse import read_groups
from yoj_cli.records.selection import Selection
from yoj_cli.render.blocks import Block
from yoj_cli.verdicts.calibration import Calibration

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge

MODES: tuple[Mode, ...] = ("multi", "single")


def run(
    paths: Sequence[str], config: CalibrateConfig, options: JudgeConfig, media: InputConfig
) -> tuple[int, list[Block], dict[str, Any], list[Path]]:
    """Judge, fit and write.

    Returns:
        how many groups failed, what is printed (as blocks and as one document), and the files that were written.
    Raises:
        YojError: of the first group that fails, unless `config.on_error` is "skip".
        InputError: the groups cannot tell a temperature.
    """
    from yoj_cli.checkpoint.content_hash import content_hash
    from yoj_cli.checkpoint.store_calibration import check_storable, store_calibration
    from yoj_cli.run.load import load_judge

    quiet = OutputConfig(quiet=config.quiet)
    with ExitStack() as stack:
        stream = None
        if config.output is not None:
            output = OutputConfig(output=config.output, overwrite=config.overwrite, format="jsonl")
            stream = stack.enter_context(open_output(output, paths, whole=True))
        groups = list(_read(paths, media, config.limit))
        with show_loading(options, quiet):
            first = load_judge(options)
        if config.store:
            check_storable(first.checkpoint)
        found, n_failed = _fit(first, groups, paths, config, media)
        content = content_hash(first.checkpoint)
        temperatures = tuple(each.temperature for each in found)
        calibration = Calibration(str(first.checkpoint.name), content, temperatures)
        written = []
        if stream is not None and config.output is not None:
            with writing(stream):
                stream.write(json.dumps(calibration.to_json(), indent=2) + "\n")
                stream.flush()
            written.append(config.output)
        if config.store:
            written.append(store_calibration(first.checkpoint, calibration))
    document = {"judge": first.description, "calibrated": [each.to_json() for each in found]}
    return n_failed, describe_calibration(found), document, written


def _read(paths: Sequence[str], media: InputConfig, limit: int | None) -> Iterator[Group | Failure]:
    selection = Selection(limit=limit)
    for path in paths:
        yield from read_groups(path, media_root=media.media_root, selection=selection, limits=media)


def _fit(
    first: Judge,
    groups: Sequence[Group | Failure],
    paths: Sequence[str],
    config: CalibrateConfig,
    media: InputConfig,
) -> tuple[list[Calibrated], int]:
    """Each mode that the options leave open, on the same weights; a mode that the judge was not trained in may fail."""
    from yoj_cli.scoring.judge import Judge

    asked, found, n_failed = first.config, [], 0
    is_given = asked.mode is not None or asked.orders > 1 or asked.window is not None
    for mode in (first.mode,) if is_given else sorted(MODES, key=lambda mode: mode != first.mode):
        judge = first
        if mode != first.mode:
            judge = Judge(replace(asked, mode=mode), first.backbone, first.head, first.checkpoint)
        judged, n_failed = _judge(judge, groups, paths, config, media)
        try:
            found.append(calibrate(judged, mode, orders=asked.orders, window=asked.window, seed=asked.seed))
        except InputError as error:
            if mode == first.mode:
                raise error.at(", ".join(paths)) from error
            complain(f"{error.what}; no temperature of this mode is written")
    return found, n_failed


def _judge(
    judge: Judge,
    groups: Sequence[Group | Failure],
    paths: Sequence[str],
    config: CalibrateConfig,
    media: InputConfig,
) -> tuple[list[Judged], int]:
    from yoj_cli.evaluate.score import judge_groups

    reading = Reading(seed=judge.config.seed, n_orders=judge.config.orders, reverse=False)
    results = judge_groups(judge, groups, reading, build_media_options(media))
    complaints, judged, n_failed = Complaints(rows_say_so=False), [], 0
    total = partial(count_lines, list(paths), config.limit)
    for item in show_progress(results, OutputConfig(quiet=config.quiet), total=total, pause=False):
        if isinstance(item, Failure):
            if config.on_error == "stop":
                raise stopped_by(item.error)
            complaints.add(item.error)
            n_failed += 1
        else:
            judged.append(replace(item, record={}, group=None))  # pictures may be in it
    complaints.finish()
    return judged, n_failed
