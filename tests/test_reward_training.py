"""Real trainers with a judge as their reward: TRL's GRPOTrainer with pictures, and two processes side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from PIL import Image

from tests.processes import ROOT, environment
from tests.test_group_reward import LINES, batch, make
from tests.tiny_policy import make_policy
from yoj_cli.rewards import GroupReward, loaded

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return make_policy(tmp_path_factory.mktemp("policy"))


class Recorder:
    """A reward that keeps what the trainer gave it, and what it answered."""

    def __init__(self, reward):
        self.reward, self.calls, self.__name__ = reward, [], reward.__name__

    def __call__(self, log_extra, **given):
        columns = {}

        def keep(name, values):
            columns[name.rpartition("/")[2]] = values
            log_extra(name, values)

        rewards = self.reward(**given, log_extra=keep)
        self.calls.append({**given, **columns, "rewards": rewards})
        return rewards


def train(policy, folder, reward, *, n_eval=2, **settings):
    from datasets import Dataset
    from transformers import AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    paths = sorted((EXAMPLES / "pictures").glob("*.png"))
    pictures = [Image.open(path).convert("RGB").resize((64, 64)) for path in paths]
    data = Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": "Describe this image."}]] * len(pictures),
            "image": pictures,
        }
    )
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "per_device_eval_batch_size": 2,
        "num_generations_eval": 2,
        "max_completion_length": 12,
        "max_steps": 3,
        "logging_steps": 1,
        "beta": 0.0,
        "learning_rate": 1e-4,
        **settings,
    }
    args = GRPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], save_strategy="no", **settings
    )
    trainer = GRPOTrainer(
        model=str(policy),
        processing_class=AutoProcessor.from_pretrained(policy),
        reward_funcs=reward,
        args=args,
        train_dataset=data,
        eval_dataset=data.select(range(n_eval)),
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("mode", ["multi", "single"])
def test_trl_trains_on_pictures_with_the_scores_of_yoj(policy, tmp_path, yoj, mode):
    reward = Recorder(GroupReward(model="demo", device="cpu", mode=mode))
    trainer = train(policy, tmp_path, reward)
    trainer.evaluate()
    steps = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert len(steps) == 3
    assert f"yoj_{mode}/margin" in steps[0]
    assert f"eval_yoj_{mode}/margin" in trainer.state.log_history[-1]

    groups, expected = [], []
    for call in reward.calls:
        size = 4 if len(call["rewards"]) == 8 else 2
        for start in range(0, len(call["rewards"]), size):
            rows = range(start, start + size)
            picture = tmp_path / f"{len(groups)}.png"
            call["image"][start].save(picture)
            read = {call["place"][i]: call["completions"][i][0]["content"] for i in rows}
            texts = [read[place] for place in sorted(read)]
            groups.append({"prompt": "Describe this image.", "image": picture.name, "responses": texts})
            expected.append([(call["place"][i], call["rewards"][i]) for i in rows])
    assert len(groups) == 3 * 2 + 2
    file = tmp_path / "groups.jsonl"
    file.write_text("\n".join(map(json.dumps, groups)) + "\n", encoding="utf-8")
    code, out, _ = yoj("score", file, "--model", "demo", "--device", "cpu", "--mode", mode)
    assert code == 0
    for line, rewards in zip(out.splitlines(), expected, strict=True):
        scores = json.loads(line)["scores"]
        assert len(set(scores)) == len(scores)
        assert [scores[place] for place, _ in rewards] == pytest.approx(
            [reward for _, reward in rewards], abs=5e-5
        )


@pytest.mark.alone
def test_two_processes_with_uneven_batches_do_not_wait_for_each_other(policy, tmp_path):
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        ROOT / "tests" / "two_ranks.py",
    ]
    done = subprocess.run(
        [sys.executable, *command, policy, tmp_path],
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours, theirs = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))

    def is_missing(name):
        assert ours[name] == theirs[name]
        return [[reward is None for reward in each] for each in ours[name]]

    whole = [False] * 4
    assert is_missing("uneven") == [whole, [True] * 3]
    assert is_missing("mixed") == [[True] * 4, whole]
    assert is_missing("one row") == [whole, [False, False, True, False]]
    assert is_missing("too long") == [whole, [True, False, False, False]]
    assert is_missing("no judge") == [whole, [True] * 4]
    for reason in ("3 rows are no multiple", "different prompts", "over the limit of 400", "nowhere/at-all"):
        assert reason in done.stderr
    for each in (ours, theirs):
        assert "per_device_train_batch_size=6" in each["refused"]
        assert None not in [reward for call in each["trained"] for reward in call]
    assert len(ours["trained"]) == len(theirs["trained"]) == 3
    assert ours["trained"] != theirs["trained"]


def score_in_worker(reward, given):
    return reward(**given), len(loaded._judges)


def test_a_worker_process_loads_the_judge_once_by_its_settings():
    reward = make(lazy=True, mode="multi")
    given = batch(LINES[0])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = [pool.submit(score_in_worker, reward, given).result() for _ in range(2)]
    assert [n_judges for _, n_judges in found] == [1, 1]
    assert found[0][0] == found[1][0] == pytest.approx(reward(**given), abs=5e-5)
