"""`yoj bench-speed`: all ways to read the same groups, in turn."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoj_cli.bench.case import Case, Sizes, count_media_tokens
from yoj_cli.bench.flops import count_flops, count_vision_flops
from yoj_cli.bench.groups import GroupSource
from yoj_cli.bench.measure import Timing, matmul_peak, memory_method, peak_memory, take_turns
from yoj_cli.bench.random_ids import draw_ids
from yoj_cli.bench.random_init import build_random, draw_media, read_architecture
from yoj_cli.bench.report import Comparison, Row, SpeedReport
from yoj_cli.bench.variants import VARIANTS, Subject, Variant
from yoj_cli.config.bench import BenchConfig
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import OutOfMemoryError
from yoj_cli.media.options import DEFAULTS, MediaOptions
from yoj_cli.render.wording import counted
from yoj_cli.scoring.judge import Judge
from yoj_cli.version import __version__

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far two ways to compute the same score may be apart, for scores of size 1 and in proportion above it.

In half precision every layer rounds its result, and kernels of another shape add up in another order. NF4 weights are
the same in all of them and are computed with in the compute type, so 4-bit has the tolerance of its type.
"""
TOLERANCE_8BIT = 2e-1
"""8-bit also rounds activations, and which columns are spared depends on the other tokens in the pass."""

SETTINGS = ("orders", "repeats", "warmup", "seed")
"""Options that a report repeats; sizes are reported as they turned out."""

Draw = Callable[[int], list[Case]]
"""Groups of N responses."""


def compare_speed(
    config: BenchConfig,
    *,
    path: str | None,
    media_root: Path | None = None,
    media: MediaOptions = DEFAULTS,
    limits: Limits = LIMITS,
    tell: Callable[[str], None],
) -> SpeedReport:
    """Measure every way to read the same groups, for each N.

    Args:
        path: JSON Lines of real groups; drawn ones where there is none.
        media_root: see `read_groups`.
        media: the limits of media.
        limits: of lines and groups.
        tell: told what is going on.
    Raises:
        InputError, TooLongError: a group cannot be used, or is too long for the judge.
        ModelError, DeviceError: the judge cannot be loaded, or its device has no room for any way.
    """
    tell("loading")
    subject, draw, facts = _load(config, path, media_root, media, limits)
    backbone = subject.backbone
    report = SpeedReport(
        facts=facts | _machine(subject) | {name: getattr(config, name) for name in SETTINGS},
        random_weights=read_architecture(config.random_init)["title"] if config.random_init else None,
        matmul_flop_per_s=matmul_peak(backbone.device, backbone.dtype),
        memory_method=memory_method(backbone.device),
    )
    for n in config.sizes:
        tell(f"N = {n}: preparing")
        report.comparisons.append(compare(subject, draw(n), config, tell=partial(_tell, tell, n)))
    return report


def _tell(tell: Callable[[str], None], n: int, what: str) -> None:
    tell(f"N = {n}: {what}")


def _load(
    config: BenchConfig, path: str | None, media_root: Path | None, media: MediaOptions, limits: Limits
) -> tuple[Subject, Draw, dict[str, Any]]:
    """What reads, where the groups come from, and what to call both."""
    options: dict[str, Any] = {"n_groups": config.groups, "orders": config.orders, "seed": config.seed}
    sizes = Sizes(*config.token_sizes)
    if config.random_init:
        name = config.random_init
        backbone, head = build_random(name, replace(config.judge, model=name), config.seed)

        def draw(n: int) -> list[Case]:
            media = draw_media(name, sizes, config.groups, config.seed)
            return draw_ids(backbone, n, sizes, media, orders=config.orders, seed=config.seed)

        facts = {"model": None, "quant": backbone.quant, "groups": "random token ids and noise"}
        return Subject.build(backbone, head), draw, facts
    judge = Judge.from_config(config.judge)
    media = replace(media, max_frames=judge.max_frames)
    source = GroupSource(judge)
    facts = {"model": judge.checkpoint.name, "revision": judge.checkpoint.revision}
    facts["quant"] = judge.backbone.quant
    facts["groups"] = Path(path).name if path else "random words and noise"
    read = (
        partial(source.read, path, media_root=media_root, media=media, limits=limits, **options)
        if path
        else partial(source.draw, sizes=sizes, **options)
    )
    return Subject.build(judge.backbone, judge.head), read, facts


def _machine(subject: Subject) -> dict[str, Any]:
    device = subject.backbone.device
    weights = [*subject.backbone.model.parameters(), *subject.head.parameters()]
    on_gpu = device.type == "cuda"
    n_threads = torch.get_num_threads()
    return {
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device)
        if on_gpu
        else f"CPU, {counted(n_threads, 'thread')}",
        "cpu_threads": n_threads,
        "dtype": str(subject.backbone.dtype).removeprefix("torch."),
        "model_bytes": sum(weight.nbytes for weight in weights),
        "lm_head_bytes": sum(weight.nbytes for weight in subject.lm_head.parameters()),
        "yoj": __version__,
        "torch": torch.__version__,
        "system": platform.platform(),
    }


def compare(
    subject: Subject, cases: Sequence[Case], config: BenchConfig, *, tell: Callable[[str], None]
) -> Comparison:
    """All ways on some groups of one N: time in turn, then memory, then whether the scores agree.

    Args:
        cases: at least one, all of the same number of responses.
    Raises:
        DeviceError: not even one pass per response fits.
    """
    backbone = subject.backbone
    with torch.inference_mode():
        ways = {variant.key: partial(_read_all, variant, subject, cases) for variant in VARIANTS}
        timings = take_turns(ways, backbone.device, warmup=config.warmup, repeats=config.repeats, tell=tell)
        if timings["a"].error:
            raise OutOfMemoryError("out of memory on one response at a time", hint="Give smaller sizes.")
        tell("memory")
        peaks = {key: None if timings[key].error else _peak(ways[key], subject) for key in ways}
    vision_flops = [count_vision_flops(backbone, case.multi) for case in cases]
    rows = {}
    for variant in VARIANTS:
        works = [variant.work(subject, case) for case in cases]
        rows[variant.key] = Row(
            key=variant.key[0],
            name=variant.name,
            timing=timings[variant.key],
            tokens=sum(work.tokens for work in works),
            flop=sum(
                count_flops(backbone, work, vision) for work, vision in zip(works, vision_flops, strict=True)
            ),
            peak_memory_bytes=peaks[variant.key],
            difference=_difference(variant, timings),
        )
    faster, slower = sorted((rows.pop("c1"), rows.pop("c2")), key=_seconds)
    scores = [score for timing in timings.values() for scores in timing.found or () for score in scores]
    tolerance = tolerance_of(str(backbone.dtype).removeprefix("torch."), backbone.quant)
    media_tokens = [count_media_tokens(case.multi) for case in cases]
    return Comparison(
        n=cases[0].n,
        picture_tokens=[picture for picture, _ in media_tokens],
        clip_tokens=[clip for _, clip in media_tokens],
        prefix_tokens=[case.single.n_prefix for case in cases] if cases[0].n > 1 else None,
        alone_tokens=[[sequence.n_tokens for sequence in case.alone] for case in cases],
        n_orders=cases[0].plan.n_orders,
        rows=sorted([*rows.values(), faster], key=lambda row: row.key),
        slower=slower,
        tolerance=tolerance * max([1.0, *map(abs, scores)]),
    )


def tolerance_of(dtype: str, quant: str) -> float:
    """How far apart two ways to compute the same score of size 1 may be."""
    return max(TOLERANCES[dtype], TOLERANCE_8BIT if quant == "8bit" else 0.0)


def _read_all(variant: Variant, subject: Subject, cases: Sequence[Case]) -> list[list[float]]:
    return [variant.read(subject, case) for case in cases]


def _peak(way: Callable[[], Any], subject: Subject) -> int | None:
    return peak_memory(way, subject.backbone.device)


def _difference(variant: Variant, timings: dict[str, Timing]) -> float | None:
    """Largest deviation from the scores that a way's must equal; NaN counts as infinitely far."""
    if variant.equals is None or timings[variant.key].error or timings[variant.equals].error:
        return None
    pairs = zip(timings[variant.key].found, timings[variant.equals].found, strict=True)
    gaps = [abs(a - b) for found, wanted in pairs for a, b in zip(found, wanted, strict=True)]
    return max(gap if gap == gap else float("inf") for gap in gaps)


def _seconds(row: Row) -> float:
    return float("inf") if row.median_s is None else row.median_s
