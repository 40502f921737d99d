"""The released trainer's `train.py` as it is, and `yoj train --recipe official`, side by side on the same groups.

    git clone https://github.com/yinuoyang01/multi-response-rm && pip install molmo-utils
    python tests/benchmarks/released_trainer.py multi-response-rm
    python tests/benchmarks/released_trainer.py multi-response-rm --long
    python tests/benchmarks/released_trainer.py multi-response-rm --mixed

Their trainer starts in a process of its own, on transformers' Molmo2 (the parity checkpoint, float32, no dropout) whose
layers are fused as in the code that was released with the weights. What is made up for: the response order is left as
it is on both sides (theirs has no seed), transformers 5 no longer has `additional_special_tokens`, its clip processor
must be told to scale and normalize, text needs media types to be trained on, and their data set reads one picture of a
group, where its collate takes several. Adapter and head start as in tests/data/parity/train.

Without an option: groups of text, pictures and clips, warm-up and weight decay. --long: text and pictures, long groups
truncated, large pictures with fewer crops, activation recomputation. --mixed: what `tests/mixed_groups.py` makes, in
five steps. Checked after each step: the same groups, token for token, their scores, the loss, the gradient's norm and
the weights. The last line is one JSON document; the exit status is 1 where loss, norm or weights differ by more than
1e-5 of their size, or scores by more than 1e-4: the head's last bias, whose gradient is rounding, moves all of them
alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.mixed_groups import make_mixed, sizes  # noqa: E402

BASE = ROOT / "tests" / "data" / "parity" / "checkpoint"
START = BASE.parent / "train"
CLIPS = ROOT / "examples" / "clips"
WORDS = ["the", "red", "dog", "runs", "over", "two", "blue", "skies", "and", "it", "is", "even", "not", "odd"]
LAST_BIAS = "value_head.2.bias"
SIZES = [(500, 60), (300, 300), (400, 600), (700, 100)]
COUNTED = ("groups", "truncated", "cut_responses", "shrunk_media")
STEP = 4
"""Groups to a step; the numbers of groups are multiples of it."""


def make_records(folder: Path, *, long: bool) -> list[dict[str, Any]]:
    draw = random.Random(1)

    def text(n: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(n))

    records = []
    for index, kind in enumerate("tittiiitittt" if long else "tivtitvi"):
        n, most = draw.randint(2, 5), draw.choice([10, 50, 120]) if long and kind == "t" else 8
        record: dict[str, Any] = {"prompt": text(4), "rankings": draw.sample(range(1, n + 1), n)}
        record["responses"] = [text(draw.randint(most // 2, most)) for _ in range(n)]
        if kind == "i":
            width, height = SIZES[index % 4] if long else (56, 56)
            pixels = np.random.default_rng(index).integers(0, 255, (height, width, 3), dtype=np.uint8)
            record["image"] = str(folder / f"{index}.png")
            Image.fromarray(pixels).save(record["image"])
        if kind == "v":
            record["video"] = str(CLIPS / f"scene-{1 + index % 2}.mp4")
        records.append(record)
    records[0]["responses"].append(" ")  # left out by both
    records[0]["rankings"].append(len(records[0]["responses"]))
    return records


RECIPES: dict[str, dict[str, Any]] = {
    "short": {"max_tokens": 4096, "warmup_ratio": 0.3, "weight_decay": 0.1, "gradient_checkpointing": False},
    "long": {"max_tokens": 420, "max_vision_tokens": 40, "gradient_checkpointing": True},
    "mixed": {"epochs": 1, "max_tokens": 4096, "gradient_checkpointing": False},
}
"""Under our names; two epochs but for the last."""


def start() -> dict[str, Tensor]:
    """Adapter and head before the first step, under the names of the released trainer's files."""
    adapter = load_file(START / "adapter_before.safetensors")
    head = load_file(START / "value_head_before.safetensors")
    return adapter | {f"value_head.{name}": each for name, each in head.items()}


def as_parameter(name: str) -> str:
    """The parameter of their model that a weight in a file is."""
    return (
        name if name.startswith("value_head.") else f"base_model.{name.replace('.weight', '.default.weight')}"
    )


def as_theirs(record: dict[str, Any]) -> dict[str, Any]:
    """A record with several pictures under the key that `run_theirs` has their data set read."""
    pictures = record.get("images")
    return {**record, "image": pictures[0], "pictures": pictures} if pictures else record


def run_theirs(checkout: Path, folder: Path, recipe: dict[str, Any]) -> None:
    """Their `main`, with what every pass read and scored kept in log.json, and the last weights in after.pt."""
    sys.path.insert(0, str(checkout))
    import mr2rm.train as theirs
    from transformers import AutoModelForImageTextToText, PreTrainedTokenizerBase

    add = PreTrainedTokenizerBase.add_special_tokens
    PreTrainedTokenizerBase.additional_special_tokens = property(
        lambda self: list(self.extra_special_tokens or [])
    )
    PreTrainedTokenizerBase.add_special_tokens = lambda self, tokens: add(
        self, {"extra_special_tokens": tokens["additional_special_tokens"]}
    )
    load_processor, load_model = (
        theirs.AutoProcessor.from_pretrained,
        AutoModelForImageTextToText.from_pretrained,
    )

    def processor(path: str, **_: Any) -> Any:
        found = load_processor(path)
        found.video_processor.do_rescale = found.video_processor.do_normalize = True
        return found

    def model(path: str, *, torch_dtype: torch.dtype, **_: Any) -> Any:
        found = load_model(path, dtype=torch_dtype)
        found.resize_token_embeddings = lambda n: None
        forward = found.forward
        found.forward = lambda *, input_ids, **inputs: forward(
            input_ids=input_ids, **{"mm_token_type_ids": torch.zeros_like(input_ids), **inputs}
        )
        for layer in found.model.language_model.layers:
            fuse(layer)
        return found

    log: list[tuple[list[int], list[float]]] = []
    made: list[nn.Module] = []
    losses: list[float] = []
    norms: list[float] = []
    weights: list[dict[str, Tensor]] = []

    class Recorded(theirs.MultiResponseRewardModel):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            own = dict(self.named_parameters())
            before = {as_parameter(name): each for name, each in start().items()}
            for name in [name for name, weight in own.items() if weight.requires_grad]:
                own[name].data = before.pop(named_as_fused(name)).clone()
            assert not before
            made.append(self)

        def forward(self, **inputs: Any) -> tuple[Tensor]:
            (scores,) = super().forward(**inputs)
            log.append((inputs["input_ids"][0].tolist(), scores[0].tolist()))
            return (scores,)

    cross_entropy, clip = torch.nn.functional.cross_entropy, torch.nn.utils.clip_grad_norm_

    def recorded_loss(*arguments: Any) -> Tensor:
        losses.append(float(loss := cross_entropy(*arguments)))
        return loss

    def recorded_clip(*arguments: Any) -> Tensor:
        norms.append(float(norm := clip(*arguments)))
        return norm

    torch.nn.functional.cross_entropy, torch.nn.utils.clip_grad_norm_ = recorded_loss, recorded_clip
    register_optimizer_step_post_hook(lambda *_: weights.append(trained(made[0])))
    one_picture = theirs.MultiResponseRewardDataset._resolve_images
    theirs.MultiResponseRewardDataset._resolve_images = lambda self, record: (
        record.get("pictures") or one_picture(self, record)
    )
    theirs.AutoProcessor.from_pretrained, AutoModelForImageTextToText.from_pretrained = processor, model
    theirs.MultiResponseRewardModel = Recorded
    theirs.collate_multi_response_reward = partial(
        theirs.collate_multi_response_reward, shuffle_responses=False
    )
    sys.argv = ["train.py", *their_arguments(folder, recipe)]
    try:
        theirs.main()
    except (
        AttributeError
    ) as error:  # at its very end: PEFT looks for the fused layers of a model that has none
        sys.stderr.write(f"their trainer could not save: {error}\n")
    torch.save(weights, folder / "weights.pt")
    steps = [sum(losses[at : at + STEP]) / STEP for at in range(0, len(losses), STEP)]
    (folder / "log.json").write_text(json.dumps({"read": log, "losses": steps, "grad_norms": norms}))


def their_arguments(folder: Path, recipe: dict[str, Any]) -> list[str]:
    values = {
        "base_model_path": BASE,
        "train_data_path": folder / "theirs.json",
        "output_dir": folder / "theirs",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 1,
        "gradient_accumulation_steps": STEP,
        "num_epochs": recipe.get("epochs", 2),
        "learning_rate": 1e-3,
        "lora_r": 4,
        "lora_alpha": 16,
        "lora_dropout": 0,
        "value_head_type": "mlp",
        "value_head_hidden_dim": 16,
        "value_head_activation": "silu",
        "warmup_ratio": recipe.get("warmup_ratio", 0),
        "weight_decay": recipe.get("weight_decay", 0),
        "max_length": recipe["max_tokens"],
        "max_vision_tokens": recipe.get("max_vision_tokens", 16384),
    }
    switch = "--gradient_checkpointing" if recipe["gradient_checkpointing"] else "--no-gradient-checkpointing"
    return [switch, *(text for name, value in values.items() for text in (f"--{name}", str(value)))]


def trained(model: nn.Module) -> dict[str, Tensor]:
    """What learns, under the names of a model that is fused by itself."""
    return {
        named_as_fused(name): weight.data.clone()
        for name, weight in model.named_parameters()
        if weight.requires_grad
    }


def named_as_fused(name: str) -> str:
    return name.replace(".language_model.layers.", ".transformer.blocks.")


def fuse(layer: nn.Module) -> None:
    """Join query, key and value, and the MLP's halves, as the released model code has them, under its names."""
    attention, mlp = layer.self_attn, layer.mlp
    join(attention, "att_proj", ["q_proj", "k_proj", "v_proj"])
    join(mlp, "ff_proj", ["up_proj", "gate_proj"])
    for owner, name, old in ((attention, "attn_out", "o_proj"), (mlp, "ff_out", "down_proj")):
        whole = getattr(owner, old)
        setattr(owner, name, whole)
        setattr(owner, old, Rows(owner, name, 0, whole.out_features))


def join(owner: nn.Module, name: str, parts: list[str]) -> None:
    layers = [getattr(owner, part) for part in parts]
    weight = torch.cat([layer.weight.data for layer in layers])
    whole = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    whole.weight.data = weight
    setattr(owner, name, whole)
    start = 0
    for part, layer in zip(parts, layers, strict=True):
        setattr(owner, part, Rows(owner, name, start, start + layer.out_features))
        start += layer.out_features


class Rows(nn.Module):
    """Some rows of a fused layer, which its owner has under a name (and PEFT may have wrapped since)."""

    def __init__(self, owner: nn.Module, name: str, start: int, end: int) -> None:
        super().__init__()
        self.whole = [owner, name]  # in a list: no submodule
        self.start, self.end = start, end

    def forward(self, states: Tensor) -> Tensor:
        owner, name = self.whole
        return getattr(owner, name)(states)[..., self.start : self.end]


def run_ours(folder: Path, recipe: dict[str, Any]) -> tuple[list[Any], list[dict[str, Tensor]], list[Any]]:
    """What every pass read and scored, the weights after each step under their names, and lines of metrics.jsonl."""
    import yoj_cli.train.run as training
    from yoj_cli.config.recipes import OFFICIAL
    from yoj_cli.config.train import TrainConfig
    from yoj_cli.model.adapter import take_saved
    from yoj_cli.train.metrics import METRICS, read_metrics
    from yoj_cli.train.prepare import prepare

    small = {"base": str(BASE), "dtype": "float32", "device": "cpu", "lora_r": 4, "lora_dropout": 0.0}
    small |= {"head_dim": 16, "batch_size": STEP, "epochs": 2, "learning_rate": 1e-3}
    config = TrainConfig(**{**OFFICIAL, **small, "shuffle_responses": False, **recipe})
    log: list[tuple[list[int], list[float]]] = []
    made: list[Any] = []
    weights: list[dict[str, Tensor]] = []
    load = training.load_model

    def load_and_record(*arguments: Any) -> Any:
        model = load(*arguments)
        take_saved(model.backbone, load_file(START / "adapter_before.safetensors"), folder=START)
        model.head.load_weights(load_file(START / "value_head_before.safetensors"), where=str(START))
        model.register_forward_hook(
            lambda _, inputs, scores: log.extend(
                (sequence.input_ids[0].tolist(), torch.cat(own).tolist())
                for sequence, own in zip(inputs[0], scores, strict=True)
            )
        )
        made.append(model)
        return model

    training.load_model = load_and_record
    run = prepare([folder / "ours.json"], folder / "ours", config)
    counts = run.train_report.counts()
    told = {name: counts[name] for name in counts if "left_out" in name or name in COUNTED}
    sys.stderr.write(f"{told}\n")
    register_optimizer_step_post_hook(lambda *_: weights.append(own_weights(made[0])))
    training.train(run)
    return log, weights, read_metrics(run.out / METRICS)


def own_weights(model: Any) -> dict[str, Tensor]:
    """What learns of ours, under their names."""
    from yoj_cli.model.adapter import saved_adapter

    adapter = saved_adapter(model.backbone, model.adapter)[1]
    found = {as_parameter(name): each for name, each in adapter.items()}
    found |= {f"value_head.{name}": each for name, each in model.head.layers.state_dict().items()}
    return {name: each.detach().clone() for name, each in found.items()}


def by_step(log: list[Any]) -> list[Any]:
    """What was read in the order of the steps; those of one step, which ours reads together, in a fixed order."""
    steps = [sorted(log[start : start + STEP]) for start in range(0, len(log), STEP)]
    return [read for step in steps for read in step]


def compare(folder: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    log, after, lines = run_ours(folder, recipe)
    told, weights = json.loads((folder / "log.json").read_text()), torch.load(folder / "weights.pt")
    log, wanted = by_step(log), by_step(told["read"])
    lines = [line for line in lines if "grad_norm" in line]
    before = {as_parameter(name): each for name, each in start().items()}
    theirs = zip(weights, told["losses"], told["grad_norms"], strict=True)
    steps = [
        {
            "loss": loss,
            "loss_difference_relative": abs(line["loss"] - loss) / loss,
            "grad_norm": norm,
            "grad_norm_difference_relative": abs(line["grad_norm"] - norm) / norm,
            **{
                f"worst_{part}_difference_relative": max(
                    float((own[name] - each).norm() / each.norm())
                    for name, each in kept.items()
                    if name != LAST_BIAS and name.startswith(begins)
                )
                for part, begins in (("lora", "base_model"), ("head", "value_head"))
            },
            "worst_difference_over_movement": max(
                float((own[name] - each).norm() / max(float((each - before[name]).norm()), 1e-12))
                for name, each in kept.items()
                if name != LAST_BIAS
            ),
        }
        for own, line, (kept, loss, norm) in zip(after, lines, theirs, strict=True)
    ]
    assert all(own.keys() == kept.keys() for own, kept in zip(after, weights, strict=True))
    return {
        "groups": len(wanted),
        "tokens": sum(len(ids) for ids, _ in wanted),
        "same_tokens": [ids for ids, _ in log] == [ids for ids, _ in wanted],
        "worst_score_difference": max(
            abs(own - their)
            for (_, ours), (_, theirs) in zip(log, wanted, strict=True)
            for own, their in zip(ours, theirs, strict=True)
        ),
        "worst_difference_relative": max(
            value for step in steps for name, value in step.items() if name.endswith("_relative")
        ),
        "steps": steps,
    }


def keep(folder: Path, file: Path) -> None:
    """Write their losses, gradient norms, and each weight's norm and product with `sin(1), sin(2), …` after a step."""
    told, weights = json.loads((folder / "log.json").read_text()), torch.load(folder / "weights.pt")
    rounded = {name: [float(f"{value:.9g}") for value in told[name]] for name in ("losses", "grad_norms")}
    after = [
        {name: [float(f"{value:.9g}") for value in sizes(each)] for name, each in kept.items()}
        for kept in weights
    ]
    file.write_text(json.dumps(rounded | {"weights": after}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path, help="folder of multi-response-rm")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--long", action="store_true", help="long texts and large pictures")
    kinds.add_argument("--mixed", action="store_true", help="every kind of group, in five steps")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FILE",
        help="write what theirs gave, as tests/test_train_parity.py reads it",
    )
    parser.add_argument("--theirs-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    recipe = RECIPES["long" if options.long else "mixed" if options.mixed else "short"]
    if options.theirs_in:
        run_theirs(options.checkout, options.theirs_in, recipe)
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        records = make_mixed(folder) if options.mixed else make_records(folder, long=options.long)
        for name_of, data in (("ours", records), ("theirs", [as_theirs(record) for record in records])):
            (folder / f"{name_of}.json").write_text(json.dumps({"pair_data": [], "data": data}))
        child = [sys.executable, __file__, *sys.argv[1:], "--theirs-in", name]
        subprocess.run(child, check=True, stdout=sys.stderr, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        if options.keep:
            keep(folder, options.keep)
        found = compare(folder, recipe)
    sys.stdout.write(json.dumps(found) + "\n")
    good = found["same_tokens"] and found["worst_difference_relative"] < 1e-5
    raise SystemExit(not (good and found["worst_score_difference"] < 1e-4))


if __name__ == "__main__":
    main()
