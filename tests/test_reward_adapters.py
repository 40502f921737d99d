"""Rewards as other trainers call them: by their own code where it is installed, and in its documented shape."""

from __future__ import annotations

import asyncio
import logging
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.test_group_reward import EXAMPLES, LINES, batch, make
from yoj_cli import UsageError
from yoj_cli.rewards.ms_swift import SwiftReward
from yoj_cli.rewards.shaping import neutral
from yoj_cli.rewards.slime import SlimeReward
from yoj_cli.rewards.verl import YojRewardManager

DEMO = {"model": "demo", "device": "cpu", "shuffle": False}
INTERLEAVED = [0, 4, 1, 5, 2, 6, 3, 7]
"""Where the rows of two groups of 4 stand when they come alternately."""


@pytest.fixture(scope="module")
def expected():
    """The rewards of the first two lines' responses, in their order."""
    return make(shuffle=False)(**batch(*LINES[:2]))


def test_a_row_without_a_reward_gets_the_mean_where_a_number_is_wanted():
    assert neutral([1.0, None, 4.0]) == [1.0, 2.5, 4.0]
    assert neutral([None, None]) == [0.0, 0.0]


# ms-swift: orms["yoj"](args=args), then f(completions, **columns of the samples)


def swift_columns(order=range(8)):
    rows = [(line, text) for line in LINES[:2] for text in line["responses"]]
    turns = [
        [{"role": "user", "content": f"<image>{line['prompt']}"}, {"role": "assistant", "content": text}]
        for line, text in rows
    ]
    columns = {
        "messages": turns,
        "images": [[{"bytes": (EXAMPLES / line["image"]).read_bytes(), "path": None}] for line, _ in rows],
        "prompt_id": ["prompt_0"] * 8,  # ms-swift's ids go by the texts, and both groups ask the same
        "response_token_ids": [[[1, 2, 3]]] * 8,
        "is_truncated": [False] * 8,
    }
    return {name: [values[i] for i in order] for name, values in columns.items()}


@pytest.mark.parametrize("order", [range(8), INTERLEAVED])
def test_ms_swift_gets_the_rewards_of_groups_wherever_their_rows_are(expected, order):
    columns = swift_columns(order)
    reward = SwiftReward(SimpleNamespace(num_generations=4, num_generations_eval=2), **DEMO)
    found = reward([turns[-1]["content"] for turns in columns["messages"]], trainer_state=None, **columns)
    assert found == pytest.approx([expected[i] for i in order], abs=5e-5)


def test_ms_swift_is_told_when_a_process_gets_a_part_of_a_group():
    columns = swift_columns(range(7))
    reward = SwiftReward(SimpleNamespace(num_generations=4, num_generations_eval=None), **DEMO)
    with pytest.raises(UsageError, match="a prompt has 3 completions here, and num_generations is 4"):
        reward([turns[-1]["content"] for turns in columns["messages"]], **columns)


def test_in_ms_swift_a_tag_without_a_picture_is_text():
    reward = SwiftReward(SimpleNamespace(num_generations=2), **DEMO)
    texts = [
        [{"role": "user", "content": "what does <image> mean?"}, {"role": "assistant", "content": "a"}]
    ] * 2
    assert None not in reward(["a", "b"], messages=texts, prompt_id=["prompt_0"] * 2)


def test_ms_swifts_own_code_calls_it(expected):
    algorithm = pytest.importorskip("swift.rl_core.grpo_algorithm", exc_type=ImportError)
    data = pytest.importorskip("swift.rl_core.data")
    columns = swift_columns()
    samples = [
        data.GRPOSample(messages=turns, images=images, prompt_id="prompt_0", response_token_ids=[[1, 2]])
        for turns, images in zip(columns["messages"], columns["images"], strict=True)
    ]
    reward = SwiftReward(args=SimpleNamespace(num_generations=4, num_generations_eval=4), **DEMO)
    found = algorithm.compute_rewards_per_func(samples, [reward], [None], torch.device("cpu"))
    assert found[:, 0].tolist() == pytest.approx(expected, abs=5e-5)


# slime: await f(args, samples) for one group, wants numbers


def slime_samples(line, group_index, **changes):
    sample = {
        "prompt": "<|im_start|>user …",
        "metadata": {"messages": [{"role": "user", "content": line["prompt"]}]},
        "multimodal_inputs": {"images": [str(EXAMPLES / line["image"])]},
        "group_index": group_index,
    }
    return [SimpleNamespace(**{**sample, "response": text, **changes}) for text in line["responses"]]


def test_slime_gets_numbers_for_its_groups(expected):
    reward = SlimeReward(**DEMO)

    async def run():
        groups = [slime_samples(line, i) for i, line in enumerate(LINES[:2])]
        return await asyncio.gather(*(reward(None, group) for group in groups))

    found = asyncio.run(run())
    assert found[0] + found[1] == pytest.approx(expected, abs=5e-5)


def test_a_sample_of_slimes_that_cannot_be_scored_gets_the_mean_of_its_group(caplog):
    samples = slime_samples(LINES[0], 0)
    samples[2].response = "half \ud83d"
    found = asyncio.run(SlimeReward(**DEMO)(None, samples))
    assert found[2] == pytest.approx((found[0] + found[1] + found[3]) / 3)
    assert "no reward" in caplog.text


# verl: the reward loop calls run_single with a row at a time; older managers are called with batches


class Data:
    """The shape of verl's DataProto."""

    def __init__(self, batch, non_tensor_batch):
        self.batch, self.non_tensor_batch = batch, non_tensor_batch

    def __len__(self):
        return len(self.batch["responses"])

    def __getitem__(self, rows):
        rest = {name: values[rows] for name, values in self.non_tensor_batch.items()}
        return type(self)({name: values[rows] for name, values in self.batch.items()}, rest)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from tests.conftest import PARITY

    return AutoTokenizer.from_pretrained(PARITY / "checkpoint")


def verl_columns(tokenizer):
    rows = [(line, text) for line in LINES[:2] for text in line["responses"]]
    ids = [tokenizer.encode(text, add_special_tokens=False) for _, text in rows]
    longest = max(map(len, ids))
    responses = torch.tensor([each + [0] * (longest - len(each)) for each in ids])
    mask = torch.tensor([[0, 1] + [1] * len(each) + [0] * (longest - len(each)) for each in ids])
    turns, uids = np.empty(len(rows), dtype=object), np.empty(len(rows), dtype=object)
    for i, (line, _) in enumerate(rows):
        picture = {"type": "image", "image": str(EXAMPLES / line["image"])}
        turns[i] = [{"role": "user", "content": [picture, {"type": "text", "text": line["prompt"]}]}]
        uids[i] = line["id"]
    tensors = {
        "prompts": torch.ones(len(rows), 2, dtype=torch.int64),
        "responses": responses,
        "attention_mask": mask,
    }
    return tensors, {"raw_prompt": turns, "uid": uids}, [len(each) for each in ids]


def verl_config(**reward):
    options = {"num_workers": 1, "reward_kwargs": {**DEMO, "wait_s": 60}, **reward}
    return {"actor_rollout_ref": {"rollout": {"n": 4}}, "reward": options}


def test_verls_reward_loop_gets_the_rewards_of_whole_groups(expected, tokenizer):
    tensors, columns, _ = verl_columns(tokenizer)
    data = Data(tensors, columns)

    async def run():
        manager = YojRewardManager(config=verl_config(), tokenizer=tokenizer, reward_router_address=None)
        tasks = [manager.run_single(data[i : i + 1]) for i in INTERLEAVED]
        return await asyncio.wait_for(asyncio.gather(*tasks), timeout=60)

    found = asyncio.run(run())
    assert [each["reward_score"] for each in found] == pytest.approx(
        [expected[i] for i in INTERLEAVED], abs=5e-5
    )
    assert {each["reward_extra_info"]["yoj_scored"] for each in found} == {1.0}


def test_in_verl_a_group_that_stays_incomplete_is_judged_as_it_is(tokenizer, caplog):
    tensors, columns, _ = verl_columns(tokenizer)
    data = Data(tensors, columns)

    async def run():
        config = verl_config(reward_kwargs={**DEMO, "wait_s": 0.2})
        manager = YojRewardManager(config=config, tokenizer=tokenizer)
        return await asyncio.gather(*(manager.run_single(data[i : i + 1]) for i in range(3)))

    with caplog.at_level(logging.WARNING):
        assert len({each["reward_score"] for each in asyncio.run(run())}) == 3
    assert "3 of 4 completions of a prompt came" in caplog.text


def test_in_verl_a_group_that_was_given_up_leaves_nobody_waiting(tokenizer, monkeypatch):
    tensors, columns, _ = verl_columns(tokenizer)
    data = Data(tensors, columns)

    async def run():
        manager = YojRewardManager(config=verl_config(), tokenizer=tokenizer)
        monkeypatch.setattr(manager, "_score", lambda rows: time.sleep(0.2))
        tasks = [asyncio.create_task(manager.run_single(data[i : i + 1])) for i in range(4)]
        await asyncio.sleep(0.1)
        (scoring,) = [each for each in asyncio.all_tasks() if "to_thread" in repr(each.get_coro())]
        scoring.cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=5)

    assert [type(each) for each in asyncio.run(run())] == [asyncio.CancelledError] * 4


def test_a_batch_of_verls_gets_each_reward_at_its_last_token(expected, tokenizer):
    tensors, columns, lengths = verl_columns(tokenizer)
    manager = YojRewardManager(config=verl_config(), tokenizer=tokenizer)
    found = manager(Data(tensors, columns), return_dict=True)
    tensor = found["reward_tensor"]
    assert tensor.shape == tensors["responses"].shape
    assert [tensor[i, length - 1].item() for i, length in enumerate(lengths)] == pytest.approx(
        expected, abs=5e-5
    )
    assert tensor.count_nonzero() == 8
    assert found["reward_extra_info"]["yoj_scored"] == [1.0] * 8


def test_verl_with_several_reward_workers_is_refused(tokenizer):
    with pytest.raises(UsageError, match=r"(?s)num_workers is 8.*reward.num_workers=1"):
        YojRewardManager(config=verl_config(num_workers=8), tokenizer=tokenizer)


def test_verls_own_reward_loop_calls_it(expected, tokenizer, tmp_path):
    loop = pytest.importorskip("verl.experimental.reward_loop.reward_loop", exc_type=ImportError)
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl.protocol import DataProto

    tokenizer.save_pretrained(tmp_path)
    config = OmegaConf.create(
        {
            "actor_rollout_ref": {
                "model": {"path": str(tmp_path), "tokenizer_path": None},
                "rollout": {"n": 4},
            },
            "reward": {
                **verl_config()["reward"],
                "custom_reward_function": {"path": None},
                "reward_model": {"enable": False},
                "reward_manager": {
                    "source": "importlib",
                    "name": "YojRewardManager",
                    "module": {"path": "pkg://yoj_cli.rewards.verl"},
                },
            },
        }
    )
    tensors, columns, _ = verl_columns(tokenizer)
    data = DataProto(batch=TensorDict(tensors, batch_size=8), non_tensor_batch=columns)
    worker = loop.RewardLoopWorker(config)
    found = worker.loop.run_until_complete(worker.compute_score_batch(data))
    assert [each["reward_score"] for each in found] == pytest.approx(expected, abs=5e-5)
