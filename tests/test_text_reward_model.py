"""A judge by TRL's own path for text reward models gives the scores of `single`."""

from __future__ import annotations

import pytest

from tests.conftest import PARITY
from yoj_cli import Judge, UsageError
from yoj_cli.rewards import GroupReward, TextRewardModel

RESPONSES = ["a red circle.", "a blue star in the corner, and more", "x"]


EXACT = {"device": "cpu", "quant": "none", "dtype": "float32", "mode": "single"}


def load(model, **options):
    return Judge.load(str(model), **{**EXACT, **options})


@pytest.mark.parametrize("name", ["demo", "qwen"])
def test_its_scores_are_those_of_single(name, qwen_checkpoint):
    from trl.data_utils import apply_chat_template

    judge = load("demo" if name == "demo" else qwen_checkpoint)
    model = TextRewardModel(judge)
    question = {"role": "user", "content": "Which?"}
    texts = [
        apply_chat_template(
            {"messages": [question, {"role": "assistant", "content": response}]}, model.tokenizer
        )["text"]
        for response in RESPONSES
    ]
    inputs = model.tokenizer(
        text=texts, return_tensors="pt", padding=True, padding_side="right", add_special_tokens=False
    )
    logits = model(**inputs).logits
    assert logits.shape == (3, 1)
    expected = judge.score(prompt="Which?", responses=RESPONSES).scores
    assert logits[:, 0].tolist() == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("demo", {"mode": "multi"}, "its mode is multi"),
        ("demo", {"responses_role": "user"}, "the user's turn"),
        (PARITY / "checkpoint", {}, "drops turns that are plain text"),
    ],
)
def test_a_judge_whose_scores_it_cannot_give_is_refused(model, options, problem):
    with pytest.raises(UsageError, match=problem):
        TextRewardModel(load(model, **options))


def test_trl_logs_it_by_the_judges_name_and_writes_into_a_configuration_of_its_own():
    judge = load("demo")
    model = TextRewardModel(judge)
    assert model.config._name_or_path == "demo"
    model.config.pad_token_id = 12345  # as TRL does
    assert getattr(judge.backbone.model.config, "pad_token_id", None) != 12345


@pytest.mark.slow
def test_trl_calls_it_beside_group_reward_and_gets_the_same(tmp_path):
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from tests.tiny_text_bases import make_base

    policy = make_base(tmp_path / "policy", "llama")
    model = TextRewardModel(load("demo"))
    prompts = [[{"role": "user", "content": f"Describe picture {i}."}] for i in range(4)]
    args = GRPOConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        per_device_train_batch_size=4,
        num_generations=4,
        max_completion_length=12,
        max_steps=2,
        logging_steps=1,
    )
    trainer = GRPOTrainer(
        model=str(policy),
        processing_class=AutoTokenizer.from_pretrained(policy),
        reward_funcs=[model, GroupReward(model="demo", name="group", **EXACT)],
        reward_processing_classes=[model.tokenizer, None],
        args=args,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
    )
    trainer.train()
    assert trainer.reward_func_names == ["demo", "group"]
    (own, theirs) = (list(values) for values in trainer._logs["rewards"].values())
    assert len(own) == 4
    assert len(set(own)) > 1
    assert own == pytest.approx(theirs, abs=5e-5)
