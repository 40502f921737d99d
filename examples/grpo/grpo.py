"""One GRPO run: TRL's GRPOTrainer, with a judge as its reward.

    python examples/grpo/grpo.py --policy work/policy --judge work/judges/multi --mode multi --seed 0 --out work/multi_0

The truth of every caption is logged beside the reward, with weight 0: it is seen, and never trained on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import world
from datasets import Dataset
from measure import GENERATIONS, MAX_NEW_TOKENS, load_policy
from trl import GRPOConfig, GRPOTrainer

from yoj_cli.rewards import GroupReward

LOGGED = {
    "reward": "reward",
    "reward_std": "reward_std",
    "rewards/truth/mean": "accuracy",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "kl": "kl",
    "frac_reward_zero_std": "groups_alike",
    "grad_norm": "grad_norm",
}
"""What the trainer logs, and what it is called in the curves."""


def truth(completions: list[list[dict[str, str]]], index: list[int], **_: Any) -> list[float]:
    """1 for a caption that gets every fact of its scene right, else 0: by the scene itself, not by a judge."""
    found = []
    for (message,), scene_index in zip(completions, index, strict=True):
        scene, _ = world.sample_picture(world.rng_for("grpo", scene_index))
        found.append(float(world.is_true(message["content"], scene)))
    return found


def build_dataset(n_pictures: int, seed: int) -> Dataset:
    """A picture for each group of the run, none twice; each seed sees pictures of its own."""
    first = 100_000 * seed
    indices = range(first, first + n_pictures)
    pictures = [world.paint(world.sample_picture(world.rng_for("grpo", index))[1]) for index in indices]
    prompts = [[{"role": "user", "content": world.PROMPT}] for _ in indices]
    return Dataset.from_dict({"prompt": prompts, "image": pictures, "index": list(indices)})


def train(policy: Path, judge: str, mode: str, seed: int, out: Path, settings: argparse.Namespace) -> None:
    """Train, and write the policy and its `curves.jsonl`, a line a step; nothing where they are already."""
    if (out / "curves.jsonl").exists():
        return
    before = load_policy(policy)
    before.model.model.visual.requires_grad_(False)  # the eyes stay as they are
    reward = GroupReward(model=judge, mode=mode, num_generations=GENERATIONS, device="cpu")
    trainer = GRPOTrainer(
        before.model,
        [reward, truth],
        GRPOConfig(
            output_dir=str(out),
            seed=seed,
            max_steps=settings.steps,
            per_device_train_batch_size=GENERATIONS * settings.pictures,
            num_generations=GENERATIONS,
            max_completion_length=MAX_NEW_TOKENS,
            reward_weights=[1.0, 0.0],
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.scheduler,
            warmup_steps=5,
            beta=settings.beta,
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=build_dataset(settings.steps * settings.pictures, seed),
        processing_class=before.processor,
    )
    trainer.train()
    trainer.save_model(str(out))
    write_curves(trainer.state.log_history, out / "curves.jsonl")


def write_curves(history: list[dict[str, float]], path: Path) -> None:
    """A line for each step, of what is drawn."""
    lines = [
        {
            "step": line["step"],
            **{ours: round(line[theirs], 6) for theirs, ours in LOGGED.items() if theirs in line},
        }
        for line in history
        if "reward" in line
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that `run.py` has too; the defaults are those of the first experiment."""
    parser.add_argument("--steps", type=int, default=60, help="of GRPO")
    parser.add_argument("--pictures", type=int, default=8, help="of a step, with 8 captions each")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument(
        "--scheduler",
        choices=("constant_with_warmup", "linear"),
        default="constant_with_warmup",
        help="how the rate goes on after 5 steps of warm-up: constant, or linearly to zero",
    )
    parser.add_argument(
        "--beta", type=float, default=0.02, help="weight of the divergence from the policy before"
    )


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", type=Path, required=True, help="folder that make_policy.py wrote")
    parser.add_argument("--judge", default="demo", help="folder of a judge, or demo")
    parser.add_argument("--mode", choices=("multi", "single"), default="multi")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    add_settings(parser)
    args = parser.parse_args()
    train(args.policy, args.judge, args.mode, args.seed, args.out, args)


if __name__ == "__main__":
    main()
