"""Two processes that train together: torchrun --nproc_per_node 2 tests/two_ranks.py POLICY OUT."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from tests.test_group_reward import LINES, LONG, batch
from tests.test_reward_training import Recorder, train
from yoj_cli import UsageError
from yoj_cli.rewards import GroupReward


def meet(rank, reward, given):
    """What each process answered; they wait for each other, as a trainer's do."""
    found = [None, None]
    dist.all_gather_object(found, reward(**given[rank]))
    return found


def calls():
    """Batches that are not alike on the two processes."""
    whole, part = batch(LINES[0]), {name: values[:3] for name, values in batch(LINES[1]).items()}
    broken = batch(LINES[1])
    broken["completions"][2] = None
    too_long = batch(LINES[1])
    too_long["completions"][0] = LONG
    demo = {"model": "demo", "device": "cpu", "num_generations": 4}
    reward = GroupReward(**demo)
    here_only = GroupReward(
        **(demo if dist.get_rank() == 0 else {**demo, "model": "nowhere/at-all", "lazy": True})
    )
    return {
        "uneven": (reward, [whole, part]),
        "mixed": (reward, [{n: whole[n][:2] + part[n][:2] for n in whole}, whole]),
        "one row": (reward, [whole, broken]),
        "too long": (GroupReward(**demo, on_long="error", max_tokens=400), [whole, too_long]),
        "no judge": (here_only, [whole, whole]),
    }


def main(policy, out):
    dist.init_process_group("gloo", timeout=timedelta(seconds=200))
    rank = dist.get_rank()
    found = {name: meet(rank, *each) for name, each in calls().items()}

    reward = Recorder(GroupReward(model="demo", device="cpu"))
    trainer = train(policy, out / str(rank), reward, max_steps=1, gradient_accumulation_steps=1, n_eval=3)
    trainer.evaluate()
    found["trained"] = [call["rewards"] for call in reward.calls]

    wrong = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1}
    try:
        train(policy, out / str(rank), GroupReward(model="demo", device="cpu"), max_steps=1, **wrong)
    except UsageError as error:
        found["refused"] = str(error)
    (out / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
