"""Train the policy from nothing: first its eyes, then its words.

    python examples/grpo/make_policy.py --out work/policy

The eyes learn what each place of a picture shows and are then frozen; the language model learns to describe pictures
and to answer two other questions about them, by plain next-token prediction. The number of steps is fixed, so that
the same seed gives the same policy; it is small, so that the policy is often wrong and GRPO has something to do.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import world  # puts ../demo_judge on the path
from answers import Answered, answer_loss, encode_answers
from batches import cell_contents
from pretrain import Heads
from tiny_policy import build_model, build_processor, build_tokenizer, corpus
from torch import Tensor, nn
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

HIDDEN = 128


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the policy")
    parser.add_argument("--eye-steps", type=int, default=200, help="steps on what places show")
    parser.add_argument("--word-steps", type=int, default=200, help="steps on answers")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_policy(args.out, args.eye_steps, args.word_steps, args.seed)


def make_policy(out: Path, n_eye_steps: int, n_word_steps: int, seed: int = 0) -> None:
    """Train and write the policy, unless it is there already."""
    if (out / "model.safetensors").exists():
        return
    torch.manual_seed(seed)
    processor = build_processor(build_tokenizer(corpus()))
    model = build_model(processor.tokenizer, seed)
    learn_to_see(model, processor, n_eye_steps)
    learn_to_answer(model, processor, n_word_steps)
    model.save_pretrained(out)
    processor.save_pretrained(out)


def learn_to_see(
    model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, n_steps: int, batch_size: int = 64
) -> None:
    """Train the vision tower alone, on colour, shape and size of what each place shows; then freeze it."""
    eyes, heads = model.model.visual, Heads(HIDDEN)
    optimizer = torch.optim.AdamW([*eyes.parameters(), *heads.parameters()], lr=2e-3, betas=(0.9, 0.98))
    schedule = one_cycle(optimizer, n_steps)
    log = Log("eyes", n_steps)
    for step in range(n_steps):
        drawings = [
            world.sample_picture(world.rng_for("pretrain", step * batch_size + i))[1]
            for i in range(batch_size)
        ]
        seen = processor.image_processor([world.paint(drawing) for drawing in drawings], return_tensors="pt")
        features = eyes(seen["pixel_values"], grid_thw=seen["image_grid_thw"]).pooler_output
        contents = [torch.from_numpy(cell_contents(drawing, 0)) for drawing in drawings]
        update(heads.sight_loss(features, torch.cat(contents)), optimizer, schedule, log)
    eyes.requires_grad_(False)


def learn_to_answer(
    model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, n_steps: int, batch_size: int = 32
) -> None:
    """Train the language model: half of the answers are captions, a third places, a sixth numbers."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = one_cycle(optimizer, n_steps)
    log = Log("words", n_steps)
    for step in range(n_steps):
        items = [sample_item(step * batch_size + i) for i in range(batch_size)]
        update(answer_loss(model, *encode_answers(processor, items)), optimizer, schedule, log)


def sample_item(index: int) -> Answered:
    """A picture with a question and its true answer."""
    rng = world.rng_for("pretrain", index)
    scene, drawing = world.sample_picture(rng)
    asked = rng.integers(6)
    question = world.count(scene) if asked == 0 else world.place(rng, scene)
    if asked >= 3:
        question = world.caption(rng, scene)
    return Answered(world.paint(drawing), question.text, question.answer)


def one_cycle(optimizer: torch.optim.Optimizer, n_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Warm-up over a twentieth of the steps, then linearly to zero."""
    n_warmup = max(1, n_steps // 20)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / n_warmup, (n_steps - step) / max(1, n_steps - n_warmup))
    )


class Log:
    """Prints a line of JSON now and then, with a running mean of the loss."""

    def __init__(self, name: str, n_steps: int) -> None:
        self.name, self.n_steps, self.step, self.mean = name, n_steps, 0, 0.0
        self._start_s = time.monotonic()

    def add(self, loss: float) -> None:
        """Count a step."""
        self.mean = 0.95 * self.mean + 0.05 * loss if self.step else loss
        self.step += 1
        if self.step % 100 == 0 or self.step == self.n_steps:
            seconds = round(time.monotonic() - self._start_s)
            print(json.dumps({self.name: self.step, "s": seconds, "loss": round(self.mean, 4)}), flush=True)


def update(
    loss: Tensor,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    log: Log,
) -> None:
    """One step down the gradient, clipped to norm 1."""
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    schedule.step()
    log.add(loss.item())


if __name__ == "__main__":
    main()
