"""verl with a judge as its reward manager:

    python -m verl.trainer.main_ppo algorithm.adv_estimator=grpo actor_rollout_ref.rollout.n=8 reward.num_workers=1 \\
        reward.reward_manager.source=importlib reward.reward_manager.name=YojRewardManager \\
        reward.reward_manager.module.path=pkg://yoj_cli.rewards.verl \\
        +reward.reward_kwargs.server=http://127.0.0.1:8321 …

verl 0.9 wants an older transformers than yoj: the judge has an environment of its own (`yoj serve`), and in verl's only
`pip install --no-deps yoj-cli` and `pip install httpx backports.zstd` are needed.
Run by itself, it calls the manager as verl does, and needs no verl: python examples/rewards/verl_reward.py
"""

import asyncio
import json
import os
from pathlib import Path

import torch

from yoj_cli.rewards.verl import YojRewardManager

server = os.environ.get("YOJ_SERVER")
options = {"server": server} if server else {"model": "demo", "mode": "multi"}
config = {
    "actor_rollout_ref": {"rollout": {"n": 4}},
    "reward": {"num_workers": 1, "reward_kwargs": options},
}


class Characters:
    """Stands for the policy's tokenizer: a token is a character."""

    def decode(self, ids, skip_special_tokens):
        return "".join(map(chr, ids))


class Row:
    """One completion in the shape of verl's DataProto."""

    def __init__(self, line, text, folder):
        ids = torch.tensor([[ord(sign) for sign in text]])  # (1, T)
        picture = {"type": "image", "image": str(folder / line["image"])}
        turns = [{"role": "user", "content": [picture, {"type": "text", "text": line["prompt"]}]}]
        mask = torch.ones(1, 1 + ids.shape[1], dtype=torch.int64)
        self.batch = {
            "prompts": torch.zeros(1, 1, dtype=torch.int64),
            "responses": ids,
            "attention_mask": mask,
        }
        self.non_tensor_batch = {"raw_prompt": [turns], "uid": [line["id"]]}

    def __getitem__(self, rows):
        return self


async def main():
    examples = Path(__file__).parents[1]
    line = json.loads((examples / "candidates.jsonl").read_text(encoding="utf-8").splitlines()[0])
    manager = YojRewardManager(config=config, tokenizer=Characters())
    rows = [Row(line, text, examples) for text in line["responses"]]
    found = await asyncio.gather(*(manager.run_single(row) for row in rows))
    for text, each in zip(line["responses"], found, strict=True):
        print(f"{each['reward_score']:7.3f}  {text}")


if __name__ == "__main__":
    asyncio.run(main())
