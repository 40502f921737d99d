"""The trainer slime (github.com/THUDM/slime) with a judge as the reward of whole groups:

    PYTHONPATH=examples/rewards python train.py --group-rm --custom-rm-path slime_reward.reward …

The judge reads the turns under "messages" in a sample's metadata, without the marks of a chat template.
Run by itself, it calls the reward as slime does, and needs no slime: python examples/rewards/slime_reward.py
"""

import asyncio
import json
import os
from pathlib import Path
from types import SimpleNamespace

from yoj_cli.rewards.slime import SlimeReward

server = os.environ.get(
    "YOJ_SERVER"
)  # the address of `yoj serve`; without one the judge is loaded in slime's process
reward = SlimeReward(server=server) if server else SlimeReward(model="demo", mode="multi")

if __name__ == "__main__":
    examples = Path(__file__).parents[1]
    line = json.loads((examples / "candidates.jsonl").read_text(encoding="utf-8").splitlines()[0])
    samples = [
        SimpleNamespace(
            prompt="",
            response=text,
            group_index=0,
            metadata={"messages": [{"role": "user", "content": line["prompt"]}]},
            multimodal_inputs={"images": [str(examples / line["image"])]},
        )
        for text in line["responses"]
    ]
    for text, value in zip(line["responses"], asyncio.run(reward(None, samples)), strict=True):
        print(f"{value:7.3f}  {text}")
