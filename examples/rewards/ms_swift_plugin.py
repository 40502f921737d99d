"""ms-swift with a judge as one of its rewards:

    swift rlhf --rlhf_type grpo --external_plugins examples/rewards/ms_swift_plugin.py --reward_funcs yoj \\
        --num_generations 8 --per_device_train_batch_size 8 …

Run by itself, it calls the reward as ms-swift does, and needs no ms-swift: python examples/rewards/ms_swift_plugin.py
"""

import json
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from yoj_cli.rewards.ms_swift import SwiftReward

# ms-swift 4.6 wants older transformers and peft than yoj: give the judge an environment of its own, `yoj serve`, and
# its address here. Without one it is loaded in this process.
server = os.environ.get("YOJ_SERVER")
yoj = partial(SwiftReward, server=server) if server else partial(SwiftReward, model="demo", mode="multi")

try:
    from swift.rewards import orms
except ImportError:
    pass
else:
    orms["yoj"] = yoj

if __name__ == "__main__":
    examples = Path(__file__).parents[1]
    line = json.loads((examples / "candidates.jsonl").read_text(encoding="utf-8").splitlines()[0])
    reward = yoj(args=SimpleNamespace(num_generations=4, num_generations_eval=4))
    rewards = reward(
        line["responses"],
        messages=[
            [
                {"role": "user", "content": f"<image>{line['prompt']}"},
                {"role": "assistant", "content": text},
            ]
            for text in line["responses"]
        ],
        images=[[str(examples / line["image"])]] * 4,
        prompt_id=["prompt_0"] * 4,
    )
    for text, value in zip(line["responses"], rewards, strict=True):
        print(f"{value:7.3f}  {text}")
