"""Time and weigh `yoj train` against the plain loop of the released trainer, on one tiny model and the same groups.

    python tests/benchmarks/train_speed.py
    python tests/benchmarks/train_speed.py --short
    python tests/benchmarks/train_speed.py --short --profile
    python tests/benchmarks/train_speed.py --passes

The plain loop reads a group in the main thread, runs the whole model with its 151,936-wide logits and the hidden
states of every layer, and throws all but one hidden state a response away. Both train the same adapter from the same
seed on a random backbone with a real vocabulary, in turn; the last line of standard output is one JSON document.
Losses must agree, or the comparison means nothing.

--short compares `yoj train` with itself, one group to a pass and several (--micro-batch-tokens), on groups of some 190
tokens of text: in one process, each in turn, medians over the steps. --profile adds the operations that take most time.
--passes times forward and backward alone, in seconds of the process instead of the clock, over the tokens of a pass.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.train import TrainConfig
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.load import load_backbone
from yoj_cli.plan.branches import build_plan
from yoj_cli.scoring.oom import Limits
from yoj_cli.train.data import Examples
from yoj_cli.train.losses import n_way_cross_entropy
from yoj_cli.train.metrics import METRICS, read_metrics
from yoj_cli.train.model import RewardModel, add_separator, build_sequences, load_model
from yoj_cli.train.passes import StepGradients
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train

PARITY = Path(__file__).parents[1] / "data" / "parity"
VOCABULARY = 151_936
SHORT_WORDS = (9, 19)
N_GROUPS, N_RESPONSES, N_STEPS, N_TURNS = 24, 4, 3, 3
PASS_TOKENS = (1, 512, 1024, 2048, 8192)


def write_base(folder: Path, **sizes: int) -> None:
    """A random Molmo2 with a real vocabulary and everything else tiny, or its decoder of other sizes."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    config = AutoConfig.from_pretrained(PARITY / "checkpoint")
    for name, size in ({"vocab_size": VOCABULARY} | sizes).items():
        setattr(config.text_config, name, size)
    config.adapter_config.text_hidden_size = config.text_config.hidden_size
    config.text_config.rope_scaling_layers = list(range(config.text_config.num_hidden_layers))
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    AutoProcessor.from_pretrained(PARITY / "checkpoint").save_pretrained(folder)


def write_groups(folder: Path, *, with_pictures: bool = True) -> Path:
    """Groups with a picture each and responses of 20 to 60 words; without, of 190 tokens in all."""
    generator, n_words = random.Random(0), (20, 60) if with_pictures else SHORT_WORDS
    words = [
        "a",
        "the",
        "red",
        "blue",
        "cat",
        "dog",
        "sits",
        "runs",
        "under",
        "over",
        "tree",
        "house",
        "and",
        "sky",
        "with",
        "two",
    ]
    lines = []
    for index in range(N_GROUPS):
        picture = {"image": f"{index}.png"} if with_pictures else {}
        if with_pictures:
            Image.effect_noise((120, 90), 60).convert("RGB").save(folder / f"{index}.png")
        responses = [
            " ".join(generator.choices(words, k=generator.randint(*n_words))) for _ in range(N_RESPONSES)
        ]
        record = picture | {"prompt": "What is shown?", "responses": responses}
        lines.append(
            json.dumps(record | {"rankings": generator.sample(range(1, N_RESPONSES + 1), N_RESPONSES)})
        )
    path = folder / "groups.jsonl"
    path.write_text("\n".join(lines))
    return path


def recipe(base: Path) -> TrainConfig:
    return TrainConfig(
        base=str(base),
        device="cpu",
        quant="none",
        lora_r=16,
        lora_dropout=0.0,
        head_dim=64,
        epochs=N_STEPS,
        batch_size=N_GROUPS,  # a step is an epoch: the order of the groups makes no difference
        learning_rate=1e-3,
        shuffle_responses=False,
        gradient_checkpointing=False,
    )


def train_ours(base: Path, data: Path, out: Path) -> dict[str, object]:
    """`yoj train`; seconds of the loop without loading, as its metrics have them."""
    run = prepare([data], out, recipe(base))
    train(run)
    lines = read_metrics(out / METRICS)
    seconds = sum(run.train_report.n_tokens / line["tokens_per_s"] for line in lines)
    return {
        "seconds": seconds,
        "losses": [line["loss"] for line in lines],
        "n_tokens": run.train_report.n_tokens,
    }


def train_plainly(base: Path, data: Path, out: Path) -> dict[str, object]:
    """The released trainer's way: one group after the other, all logits and all hidden states."""
    config = recipe(base)
    run = prepare([data], out, config)
    full, model = _load_full(config, base)
    builder = build_sequences(config, model.backbone)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / N_STEPS)
    model.train()
    losses = []
    started = time.perf_counter()
    for _ in range(N_STEPS):
        total = 0.0
        for group in run.train_report.groups:
            sequence = builder.prepare(group, build_plan(N_RESPONSES), run.media)
            outputs = full(
                input_ids=sequence.input_ids,
                position_ids=sequence.position_ids,
                mm_token_type_ids=sequence.media_types,
                **sequence.media_inputs,
                output_hidden_states=True,
                use_cache=False,
            )
            scores = model.head(outputs.hidden_states[-1][0, list(sequence.score_positions[0])])
            loss = n_way_cross_entropy(scores, torch.tensor(group.rankings))
            (loss / N_GROUPS).backward()
            total += loss.item() / N_GROUPS
        torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(total)
    return {"seconds": time.perf_counter() - started, "losses": losses, "n_tokens": run.train_report.n_tokens}


def _load_full(config: TrainConfig, base: Path) -> tuple[torch.nn.Module, RewardModel]:
    """The model with its LM head, and the adapter and value head that `load_model` would draw."""
    from transformers import AutoModelForImageTextToText

    bare = load_backbone(
        base, JudgeConfig(device="cpu", quant="none"), torch.device("cpu"), processor_folder=base
    )
    add_separator(bare, config, base)
    full = AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")
    full.eval().requires_grad_(False)
    torch.manual_seed(config.seed)
    return full, RewardModel(
        Backbone(full.model, bare.processor, bare.family, bare.device, bare.dtype), config
    )


def measure(folder: Path) -> dict[str, object]:
    """Both in turn, each in a process of its own, so that its peak memory is its own."""
    found: dict[str, list[dict[str, object]]] = {"plain": [], "ours": []}
    for turn in range(N_TURNS):
        for name, runs in found.items():
            command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--turn", str(turn)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            sys.stderr.write(f"{name}: {runs[-1]}\n")
    return _compare(found)


def _compare(found: dict[str, list[dict[str, object]]]) -> dict[str, object]:
    def middle(name: str, field: str) -> float:
        return statistics.median(float(run[field]) for run in found[name])  # type: ignore[arg-type]

    pairs = zip(*(_losses(runs[0]) for runs in found.values()), strict=True)
    return {
        "largest_loss_difference_nats": max(abs(one - other) for one, other in pairs),
        "losses_nats": _losses(found["ours"][0]),
        **{f"{name}_seconds": round(middle(name, "seconds"), 2) for name in found},
        **{f"{name}_peak_bytes": int(middle(name, "peak_bytes")) for name in found},
        "ours_tokens_per_s": round(N_STEPS * middle("ours", "n_tokens") / middle("ours", "seconds")),
        "speed_up": round(middle("plain", "seconds") / middle("ours", "seconds"), 2),
        "memory_ratio": round(middle("ours", "peak_bytes") / middle("plain", "peak_bytes"), 3),
    }


def _losses(run: dict[str, object]) -> list[float]:
    losses = run["losses"]
    assert isinstance(losses, list)
    return losses


SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
}
"""The shape of SmolLM2-135M's layers, of which there are 30."""


def measure_short(folder: Path, n_layers: int, profiled: bool) -> dict[str, object]:
    """One group to a pass and several, in turn in this process."""
    base = folder / "base"
    if n_layers:
        write_base(base, **SMOLLM2, vocab_size=596, num_hidden_layers=n_layers)
    data = write_groups(folder, with_pictures=False)
    found: dict[str, object] = {"n_layers": n_layers, "n_threads": torch.get_num_threads()}
    for quant, checkpointing in (("4bit", True), ("none", False)):
        config = replace(recipe(base), quant=quant, gradient_checkpointing=checkpointing)
        config = config if n_layers else replace(config, base="demo")
        name = f"{quant}{'_checkpointing' if checkpointing else ''}"
        ways = {"alone": replace(config, micro_batch_tokens=1), "together": config}
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        losses: dict[str, list[float]] = {}
        for turn in range(N_TURNS):
            for way, one in ways.items():
                run = prepare([data], folder / f"{name}_{way}{turn}", one)
                with profile(f"{name}, {way}", on=profiled and turn == 0):
                    train(run)
                lines = read_metrics(run.out / METRICS)
                speeds[way] += [line["tokens_per_s"] for line in lines[1:]]
                losses[way] = [line["loss"] for line in lines]
                sys.stderr.write(f"{name}, {way}: {speeds[way][-2:]} tokens/s\n")
        found["tokens_per_group"] = run.train_report.n_tokens / N_GROUPS
        middle = {way: statistics.median(each) for way, each in speeds.items()}
        found |= {f"{name}_{way}_tokens_per_s": round(each) for way, each in middle.items()}
        found[f"{name}_speed_up"] = round(middle["together"] / middle["alone"], 2)
        pairs = zip(*losses.values(), strict=True)
        found[f"{name}_largest_loss_difference_nats"] = max(abs(one - other) for one, other in pairs)
    return found


def measure_passes(folder: Path) -> dict[str, object]:
    """Tokens a second of the process, by the tokens of a pass; the best of three turns after one to warm up."""
    data = write_groups(folder, with_pictures=False)
    config = replace(recipe(Path("demo")), base="demo")
    run = prepare([data], folder / "judge", config)
    model = load_model(config, run.base).train()
    builder = build_sequences(config, model.backbone)
    examples = Examples(run.train_report.groups, builder, run.media, config.mode, shuffle_seed=None)
    futures = [examples[index] for index in range(len(examples))]
    n_tokens = sum(future.result().sequence.n_tokens for future in futures)
    shortest: dict[int, float] = {}
    for turn in range(1 + N_TURNS):
        for budget in PASS_TOKENS:
            limits = Limits(budget, max_tokens_per_forward=sys.maxsize)
            step = StepGradients(model, n_way_cross_entropy, torch.Tensor.backward, lambda: None, limits)
            began = time.process_time()
            step.add(futures)
            seconds = time.process_time() - began
            model.zero_grad(set_to_none=True)
            if turn:
                shortest[budget] = min(shortest.get(budget, seconds), seconds)
    examples.close()
    speeds = {f"{budget}_tokens_per_s": round(n_tokens / seconds) for budget, seconds in shortest.items()}
    return {"tokens_per_group": n_tokens / len(futures), **speeds}


@contextmanager
def profile(what: str, *, on: bool) -> Iterator[None]:
    """Print the operations that take most of the time to standard error."""
    if not on:
        yield
        return
    with torch.profiler.profile() as seen:
        yield
    table = seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=10, max_name_column_width=40)
    sys.stderr.write(f"{what}\n{table}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", choices=("plain", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turn", default="0", help=argparse.SUPPRESS)
    parser.add_argument("--short", action="store_true", help="short groups: one to a pass, and several")
    parser.add_argument(
        "--layers", type=int, default=0, help="with --short: of a decoder of SmolLM2's width; 0 is the demo's"
    )
    parser.add_argument("--profile", action="store_true", help="with --short: what takes the time")
    parser.add_argument(
        "--passes", action="store_true", help="forward and backward over the tokens of a pass"
    )
    args = parser.parse_args()
    if args.one:
        way = train_ours if args.one == "ours" else train_plainly
        found = way(
            args.folder / "base", args.folder / "groups.jsonl", args.folder / f"{args.one}{args.turn}"
        )
        found["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(json.dumps(found) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.passes:
            sys.stdout.write(json.dumps(measure_passes(Path(folder))) + "\n")
            return
        if args.short:
            sys.stdout.write(json.dumps(measure_short(Path(folder), args.layers, args.profile)) + "\n")
            return
        write_base(Path(folder) / "base")
        write_groups(Path(folder))
        sys.stdout.write(json.dumps(measure(Path(folder))) + "\n")


if __name__ == "__main__":
    main()
