"""Time attention between branches in several ways, and what torch.compile saves.

    python tests/benchmarks/attention_speed.py
    python tests/benchmarks/attention_speed.py --device cuda --architecture molmo2-4b

Two Markdown tables on standard output. First one layer's attention over a prefix and N branches: with a dense mask, as
the scorer does it, as FlexAttention with a block mask, and plain causal, which is what `multi` costs. Then the scorer's
passes over groups of different lengths, eager and compiled, without what an earlier run left in caches. Weights are
random; responses are half to one and a half times as long as asked for, prefixes in the second table half to once.
Exits with 1 where results differ that must be equal. TORCH_LOGS=recompiles,graph_breaks tells why graphs are made.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor.utils import fresh_cache
from torch.nn.attention.flex_attention import create_block_mask
from transformers.integrations.flex_attention import flex_attention_forward
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from yoj_cli.bench import random_init
from yoj_cli.bench.measure import Timing, peak_memory, synchronize, take_turns
from yoj_cli.bench.random_ids import build_from_ids
from yoj_cli.bench.speed import tolerance_of
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.model.attention import attend, build_attention_plan
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import ValueHead
from yoj_cli.plan.branches import build_plan
from yoj_cli.scoring.forward import branch_scores
from yoj_cli.sequence.packed import PackedSequence

Row = dict[str, Any]
make_block_mask = torch.compile(create_block_mask)


def build(args: Namespace, quant: str) -> tuple[Backbone, ValueHead]:
    """The architecture with random weights, and fewer layers where that is asked for."""
    description = random_init.read_architecture(args.architecture)
    if args.layers:
        description["model"]["text_config"]["num_hidden_layers"] = args.layers
    config = JudgeConfig(model=args.architecture, device=args.device, dtype=args.dtype, quant=quant)
    with patch.object(random_init, "read_architecture", return_value=description):
        return random_init.build_random(args.architecture, config, seed=0)


def draw(
    backbone: Backbone, size: Sequence[int], mode: str, generator: Random, n_picture: int = 0
) -> PackedSequence:
    """A group of random ids; size: tokens of the prefix (n_picture a picture's) and of a response, responses."""
    (n_prefix, n_response, n), choose = size, partial(generator.choices, range(1, 1000))
    responses = [choose(k=generator.randint(n_response // 2, n_response * 3 // 2) or 1) for _ in range(n)]
    n_media = min(n_picture, n_prefix)
    prefix = [backbone.model.config.image_token_id] * n_media + choose(k=n_prefix - n_media)
    plan = build_plan(n, mode=mode)  # type: ignore[arg-type]
    return build_from_ids(backbone, prefix, None, responses, range(n), plan)


def write_rule(
    sequence: PackedSequence, *, bidirectional_media_attention: bool, device: torch.device
) -> Callable[..., Tensor]:
    """Who sees whom, token by token, as FlexAttention wants it: nothing but indexing and comparing."""
    lengths = torch.tensor([sequence.n_prefix, *sequence.branch_lengths])
    branch_of = torch.arange(-1, len(lengths) - 1).repeat_interleave(lengths).to(device)
    media = ((sequence.media_types[0] > 0) & bidirectional_media_attention).to(device)

    def sees(_batch: Tensor, _head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        seen = branch_of[column]
        is_before = ((seen < 0) | (seen == branch_of[row])) & (column <= row)
        return is_before | (media[row] & media[column])

    return sees


def compare_attention(backbone: Backbone, size: Sequence[int], args: Namespace) -> Iterator[Row]:
    """A row for each way, on random states of the architecture's own heads; the first is what others must equal."""
    device, text, n_layers = backbone.device, backbone.text_config, backbone.n_layers
    both_ways = backbone.family.bidirectional_media_attention
    sequence = draw(backbone, size, "single", Random(0), args.picture)
    T, every = sequence.n_tokens, torch.arange(sequence.n_tokens, device=device)
    rule = write_rule(sequence, bidirectional_media_attention=both_ways, device=device)
    module = backbone.model.language_model.layers[0].self_attn
    n_heads = (text.num_attention_heads, text.num_key_value_heads, text.num_key_value_heads)
    states = [torch.randn(1, n, T, module.head_dim, device=device, dtype=backbone.dtype) for n in n_heads]

    def compute(attention: Callable[..., Any], mask: Any) -> Tensor:
        how = (
            {"attention_mask": None, "attention_plan": mask}
            if attention is attend
            else {"attention_mask": mask}
        )
        found: Tensor = attention(module, *states, **how, scaling=module.scaling)[0]
        return found

    ways: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
        "dense mask": (sdpa_attention_forward, partial(rule, every, every, every[:, None], every)),
        "scorer": (
            attend,
            partial(build_attention_plan, [sequence], device, bidirectional_media_attention=both_ways),
        ),
        "FlexAttention": (flex_attention_forward, partial(make_block_mask, rule, 1, 1, T, T, device)),
        "plain causal": (sdpa_attention_forward, lambda: None),
    }
    tell(f"{size}: masks, then attention")
    masks = take_all({key: make for key, (_, make) in ways.items()}, args)
    calls = {key: partial(compute, way, masks[key].found) for key, (way, _) in ways.items()}
    timings = take_all(calls, args)
    whole_s = {key: masks[key].median_s + n_layers * timing.median_s for key, timing in timings.items()}
    for key, timing in timings.items():
        peak_bytes = peak_memory(calls[key], device)
        gap = (timing.found - timings["dense mask"].found).abs().max()
        yield {
            "prefix + N × response": "{0} + {2} × {1}".format(*size),
            "tokens": T,
            "attention": key,
            "first calls s": masks[key].first_s + timing.first_s,
            "mask ms": 1000 * masks[key].median_s,
            "layer ms": 1000 * timing.median_s,
            f"mask + {n_layers} layers ms": 1000 * whole_s[key],
            "times as fast as dense": whole_s["dense mask"] / whole_s[key],
            "peak MiB": None if peak_bytes is None else peak_bytes / 2**20,
            "difference": None if key == "plain causal" else gap.item(),
            "allowed": tolerance_of(str(backbone.dtype).removeprefix("torch."), "none"),
        }


def compare_compiled(quant: str, mode: str, args: Namespace) -> Iterator[Row]:
    """A row for each way to run the decoder; the first is what the others must equal."""
    (backbone, head), generator = build(args, quant), Random(0)
    sizes = [
        (generator.randint(prefix // 2, prefix), *rest)
        for prefix, *rest in islice(cycle(args.sizes), 2 * args.passes)
    ]
    drawn = [draw(backbone, size, mode, generator) for size in sizes]
    passes, others = drawn[: args.passes], drawn[args.passes :]
    model, decoder, make = backbone.model, backbone.model.language_model, partial(torch.compile, dynamic=True)
    layers = decoder.layers

    def read(outer: nn.Module, inner: nn.ModuleList, sequences: list[PackedSequence]) -> Tensor:
        model.language_model, decoder.layers = outer, inner
        return torch.cat([score for each in sequences for score in branch_scores(backbone, head, each)])

    ways = {
        "eager": partial(read, decoder, layers),
        "each layer compiled": partial(read, decoder, nn.ModuleList(map(make, layers))),
    }
    if args.whole:
        ways["whole decoder compiled"] = partial(read, make(decoder), layers)
    first_s, graphs = {}, {}
    torch._dynamo.reset()
    with ExitStack() as caches:
        for key, way in ways.items():
            tell(f"{quant} {mode}: {key}, first passes")
            caches.enter_context(fresh_cache())
            counters.clear()
            started = time.perf_counter()
            way(passes)
            synchronize(backbone.device)
            first_s[key], graphs[key] = time.perf_counter() - started, count_graphs()
            way(others)
            graphs[key]["more for other lengths"] = count_graphs()["graphs"] - graphs[key]["graphs"]
        timings = take_all({key: partial(way, passes) for key, way in ways.items()}, args)
    eager, n_tokens = timings["eager"], [each.n_tokens for each in passes]
    tolerance = tolerance_of(str(backbone.dtype).removeprefix("torch."), quant)
    for key, timing in timings.items():
        saved_s, spent_s = (eager.median_s - timing.median_s) / len(passes), first_s[key] - timing.median_s
        yield {
            "quant": quant,
            "mode": mode,
            "decoder": key,
            "tokens": f"{min(n_tokens)} to {max(n_tokens)}",
            f"first {len(passes)} passes s": first_s[key],
            **graphs[key],
            "ms a pass": 1000 * timing.median_s / len(passes),
            "times as fast as eager": eager.median_s / timing.median_s,
            "even after passes": round(spent_s / saved_s) if saved_s > 0 and key != "eager" else None,
            "difference": (timing.found - eager.found).abs().max().item(),
            "allowed": tolerance * max(1.0, eager.found.abs().max().item()),
        }


def take_all(calls: dict[str, Callable[[], Any]], args: Namespace) -> dict[str, Timing]:
    return take_turns(calls, torch.device(args.device), warmup=1, repeats=args.repeats, tell=tell)


def count_graphs() -> dict[str, int]:
    """What torch.compile has made, and what it has left to Python, since its counters were cleared."""
    stats, frames, breaks = (counters[name] for name in ("stats", "frames", "graph_break"))
    n_given_up = frames["total"] - frames["ok"]
    return {"graphs": stats["unique_graphs"], "breaks": breaks.total(), "given up": n_given_up}


def show(rows: Iterable[Row]) -> int:
    """Write a Markdown table row by row, as they come; returns in how many results differ that must be equal."""

    def render(value: object) -> str:
        if not isinstance(value, float):
            return "–" if value is None else str(value)
        return f"{value:.1e}" if abs(value) < 0.01 else f"{value:.3g}" if value < 100 else f"{value:,.0f}"

    n_wrong = 0
    for number, row in enumerate(rows):
        head = [] if number else [list(row), ["---"] * len(row)]
        for cells in (*head, map(render, row.values())):
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()
        n_wrong += not (row["difference"] or 0.0) <= row["allowed"]  # NaN is wrong, too
    sys.stdout.write("\n")
    return n_wrong


def tell(what: str) -> None:
    sys.stderr.write(what + "\n")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--architecture", choices=("tiny", "molmo2-4b", "qwen3-vl-4b"), default="tiny")
    parser.add_argument("--layers", type=int, help="of the decoder; default: all")
    parser.add_argument("--prefix", type=int, nargs="+", default=[256, 1500, 1500, 1500])
    parser.add_argument("--response", type=int, nargs="+", default=[64, 200, 200, 200])
    parser.add_argument("--n", type=int, nargs="+", default=[8, 8, 16, 32])
    parser.add_argument("--picture", type=int, default=0, help="tokens of the prefix in the first table")
    parser.add_argument("--passes", type=int, default=12, help="of the second table")
    parser.add_argument("--quant", nargs="+", choices=("none", "4bit", "8bit"), default=["none", "4bit"])
    parser.add_argument("--whole", action="store_true", help="also compile the decoder in one: takes minutes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("attention", "compile"))
    args = parser.parse_args()
    args.sizes = list(zip(args.prefix, args.response, args.n, strict=True))
    device = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU x {torch.get_num_threads()}"
    sys.stdout.write(f"{args.architecture}, dtype {args.dtype}, {device}, torch {torch.__version__}\n\n")
    n_wrong = 0
    with torch.inference_mode(), fresh_cache():
        if args.only != "compile":
            backbone, _ = build(args, "none")
            n_wrong += show(row for size in args.sizes for row in compare_attention(backbone, size, args))
            del backbone
        if args.only != "attention":
            plans = [(quant, mode) for quant in args.quant for mode in ("multi", "single")]
            n_wrong += show(row for plan in plans for row in compare_compiled(*plan, args))
    sys.exit(f"results differ in {n_wrong} rows that must be equal" if n_wrong else 0)


if __name__ == "__main__":
    main()
