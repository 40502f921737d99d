"""GRPO with TRL and a judge that reads each prompt's completions together.

    pip install 'yoj-cli[rl]'
    python examples/rewards/trl_grpo.py --policy Qwen/Qwen2.5-VL-3B-Instruct --judge yinuoy/MR2-Molmo2-4B-RM
    torchrun --nproc_per_node 4 examples/rewards/trl_grpo.py …

Pictures and prompts come from examples/candidates.jsonl; bring your own lines by --data.
"""

import argparse
import json
from pathlib import Path

from datasets import Dataset, Image
from transformers import AutoProcessor
from trl import GRPOConfig, GRPOTrainer

from yoj_cli.rewards import GroupReward

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--policy", required=True)
parser.add_argument("--judge", default="demo")
parser.add_argument("--data", type=Path, default=Path(__file__).parents[1] / "candidates.jsonl")
parser.add_argument("--mode", default="multi", choices=["multi", "single"])
parser.add_argument("--num-generations", type=int, default=4)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--max-completion-length", type=int, default=64)
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--out", default="grpo-out")
options = parser.parse_args()

lines = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
shown = [line for line in lines if "image" in line]
data = Dataset.from_dict(
    {
        "prompt": [[{"role": "user", "content": line["prompt"]}] for line in shown],
        "image": [str(options.data.parent / line["image"]) for line in shown],
    }
).cast_column("image", Image(mode="RGB"))

trainer = GRPOTrainer(
    model=options.policy,
    processing_class=AutoProcessor.from_pretrained(options.policy),
    # How many completions make a group is taken from the trainer.
    reward_funcs=GroupReward(model=options.judge, mode=options.mode, device="cpu" if options.cpu else "auto"),
    args=GRPOConfig(
        output_dir=options.out,
        num_generations=options.num_generations,
        # A process must get whole groups: this, times steps_per_generation, is a multiple of num_generations.
        per_device_train_batch_size=options.num_generations,
        max_completion_length=options.max_completion_length,
        max_steps=options.steps,
        logging_steps=1,
        use_cpu=options.cpu,
        bf16=not options.cpu,
        report_to=[],
        save_strategy="no",
    ),
    train_dataset=data,
)
trainer.train()
for entry in trainer.state.log_history:
    if "reward" in entry:
        watched = {
            name: round(value, 3) for name, value in entry.items() if "yoj" in name or name == "reward"
        }
        print(json.dumps({"step": entry["step"], **watched}))
