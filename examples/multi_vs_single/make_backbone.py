"""Pretrain a backbone that has never seen two responses together.

    python examples/multi_vs_single/make_backbone.py --minutes 4 --out work/backbone

The eyes are the demo judge's, which were trained alone, on what each cell of a picture shows; they stay frozen. The
language model starts from nothing and reads one description at a time, with two losses: the words of the right
description, and at each fact whether it fits the picture. Nothing compares descriptions, and nothing says whether
a description is right as a whole: that is left to `yoj train`.
"""

import argparse
import json
import time
from itertools import count
from pathlib import Path

import near_misses  # puts ../demo_judge on the path
import scenes
import torch
from batches import Batch, Encoder, collate
from pretrain import Heads, learning_rate, read, save
from tiny_molmo2 import SEPARATOR, initialize
from torch import nn
from torch.nn import functional as F
from transformers import AutoProcessor, Molmo2Config, Molmo2ForConditionalGeneration, Molmo2Model

DEMO = Path(__file__).parents[2] / "yoj_cli" / "demo" / "backbone"
EASY_UNTIL, WORDS_UNTIL = 0.3, 0.4
"""Shares of the time: with one or two shapes only (then two to four), and with the loss of the words."""


def fresh_language_model(processor: object) -> Molmo2ForConditionalGeneration:
    """The demo's architecture with the demo's eyes, frozen, and all else drawn anew."""
    model = Molmo2ForConditionalGeneration(Molmo2Config.from_pretrained(DEMO))
    initialize(model, processor.tokenizer.convert_tokens_to_ids(SEPARATOR))  # type: ignore[attr-defined]
    demo = Molmo2Model.from_pretrained(DEMO, dtype=torch.float32)
    for name in ("vision_tower", "multi_modal_projector"):
        eyes = getattr(model.model, name)
        eyes.load_state_dict(getattr(demo, name).state_dict())
        eyes.requires_grad_(False)
    return model


def losses(
    model: Molmo2ForConditionalGeneration, heads: Heads, batch: Batch, words: bool
) -> dict[str, torch.Tensor]:
    """Means in nats: whether each fact fits, and (asked for) the words of the right description."""
    states = read(model.model, batch)
    group, token, fits, _ = batch.marks.unbind(-1)
    logits = heads.marks(states[group, token].float())[:, 0]
    found = {"marks": F.binary_cross_entropy_with_logits(logits, fits.float())}
    if words:
        rows, columns = batch.caption.nonzero(as_tuple=True)
        keep = batch.caption[rows, columns - 1]  # the first word's place may lie in another branch
        logits = model.lm_head(states[rows[keep], columns[keep] - 1]).float()
        found["words"] = F.cross_entropy(logits, batch.ids[rows[keep], columns[keep]])
    return found


def sample_batch(encoder: Encoder, seed: int, step: int, size: int) -> Batch:
    """A right and a wrong description of each of some pictures, each alone behind the picture."""
    rngs = (scenes.rng_for("train", seed, step * size + index) for index in range(size))
    return collate([encoder.encode(near_misses.sample_group(rng, 2), "single") for rng in rngs])


def main() -> None:
    """Train for `--minutes` of processor time, which the learning rate follows; a busy machine only waits longer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of its one thread")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32, help="pictures in a step")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    processor = AutoProcessor.from_pretrained(DEMO)
    encoder = Encoder(processor)
    model, heads = fresh_language_model(processor), Heads(128)
    model.set_attn_implementation("eager")  # the fused kernel's bfloat16 is slow on a CPU
    parameters = [p for p in (*model.parameters(), *heads.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.02)
    start_s = time.thread_time()
    for step in count():
        progress = (time.thread_time() - start_s) / (60 * args.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        near_misses.N_THINGS = (1, 2) if progress < EASY_UNTIL else (2, 3, 4)
        batch = sample_batch(encoder, args.seed, step, args.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            found = losses(model, heads, batch, words=progress < WORDS_UNTIL)
        optimizer.zero_grad()
        (2 * found["marks"] + found.get("words", 0.0)).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            seconds = round(time.thread_time() - start_s, 1)
            now = {name: round(value.item(), 4) for name, value in found.items()}
            print(json.dumps({"step": step, "s": seconds, **now}), flush=True)
    save(model, heads, processor, args.out)


if __name__ == "__main__":
    main()
