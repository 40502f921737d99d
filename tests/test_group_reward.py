"""A judge as a reward: groups, orders, duplicates, and completions that cannot be scored."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from yoj_cli import InputError, Judge, UsageError
from yoj_cli.errors import TooLongError
from yoj_cli.rewards import GroupReward

EXAMPLES = Path(__file__).parents[1] / "examples"
LINES = [
    json.loads(line) for line in (EXAMPLES / "candidates.jsonl").read_text(encoding="utf-8").splitlines()
]


def make(**options):
    return GroupReward(**{"model": "demo", "device": "cpu", "num_generations": 4, **options})


@pytest.fixture(scope="module")
def judge():
    return make().load()


def open_picture(path):
    with Image.open(path) as picture:
        return picture.convert("RGB")


def batch(*lines, n=4):
    """The rows of lines as a trainer gives them: texts, conversations, and pictures in memory."""
    rows = [(line, text) for line in lines for text in line["responses"][:n]]
    pictures = {line["image"]: open_picture(EXAMPLES / line["image"]) for line in lines}
    return {
        "prompts": [[{"role": "user", "content": line["prompt"]}] for line, _ in rows],
        "completions": [[{"role": "assistant", "content": text}] for _, text in rows],
        "image": [pictures[line["image"]] for line, _ in rows],
    }


class Hooks:
    """TRL's hooks of a trainer's own: what was logged, by name."""

    def __init__(self):
        self.extra, self.metrics = {}, {}

    def __call__(self, reward, step=0, **given):
        return reward(
            **given,
            trainer_state=SimpleNamespace(global_step=step),
            log_extra=lambda name, values: self.extra.update({name: values}),
            log_metric=lambda name, value: self.metrics.update({name: value}),
        )


def test_each_group_gets_the_scores_of_yoj_in_the_order_it_was_read(judge):
    hooks = Hooks()
    rewards = hooks(make(name="r"), **batch(*LINES[:2]))
    places = hooks.extra["r/place"]
    assert sorted(places[:4]) == sorted(places[4:]) == [0, 1, 2, 3]
    for number, line in enumerate(LINES[:2]):
        own = places[4 * number : 4 * number + 4]
        read = [line["responses"][own.index(place)] for place in range(4)]
        scores = judge.score(prompt=line["prompt"], images=[EXAMPLES / line["image"]], responses=read).scores
        assert rewards[4 * number : 4 * number + 4] == pytest.approx(
            [scores[place] for place in own], abs=5e-5
        )


def test_the_order_follows_from_prompt_and_step_and_seed():
    def places(step, **options):
        hooks = Hooks()
        hooks(make(name="r", **options), step, **batch(*LINES[:2]))
        return hooks.extra["r/place"]

    assert places(3) == places(3)
    found = [tuple(places(step)) for step in range(6)]
    assert len(set(found)) > 3
    assert any(each[:4] != each[4:] for each in found)
    assert places(0, shuffle=False) == [0, 1, 2, 3] * 2


def test_identical_completions_are_read_once_and_get_one_score():
    given = batch(LINES[0])
    given["completions"][2] = given["completions"][0]
    hooks = Hooks()
    rewards = hooks(make(name="r"), **given)
    assert rewards[2] == rewards[0] != rewards[1]
    assert sorted(set(hooks.extra["r/place"])) == [0, 1, 2]
    assert hooks.metrics["r/duplicates"] == 0.25


@pytest.mark.parametrize("shown", ["beside", "inside", "both", "placeholder", "path", "bytes", "frames"])
def test_pictures_are_found_wherever_trainers_put_them(shown):
    given = batch(LINES[0])
    expected = make(shuffle=False)(
        **given
    )  # a picture's bytes and its pixels are two keys, and so two orders
    pictures, path = given.pop("image"), EXAMPLES / LINES[0]["image"]
    inside = {"type": "image", "image": pictures[0]}
    text = {"type": "text", "text": LINES[0]["prompt"], "image": None}
    if shown != "inside":
        given["images"] = [[picture] for picture in pictures]
    if shown in ("inside", "both"):
        given["prompts"] = [[{"role": "user", "content": [inside, text]}]] * 4
    if shown == "placeholder":
        given["prompts"] = [[{"role": "user", "content": [{"type": "image", "text": None}, text]}]] * 4
    if shown == "path":
        given["images"] = [str(path)] * 4
    if shown == "bytes":
        given["images"] = [[{"bytes": path.read_bytes(), "path": None}]] * 4
    if shown == "frames":  # columns of other things are no media
        given |= {"ground_truth": ["x"] * 4, "videos": [None] * 4, "fps": [None] * 4}
    assert make(shuffle=False)(**given) == pytest.approx(expected, abs=5e-5)


def test_a_clip_is_read_by_its_path():
    given = {"prompts": ["Describe this video."] * 2, "completions": ["A red circle.", "A blue star."]}
    clips = [
        make(num_generations=2)(**given, video=[str(EXAMPLES / "clips" / f"scene-{n}.mp4")] * 2)
        for n in (1, 2)
    ]
    assert None not in clips[0]
    assert clips[0] != clips[1]


def test_one_completion_that_cannot_be_scored_costs_one_row(caplog):
    given = batch(*LINES[:2])
    expected = make(shuffle=False)(**given)
    given["completions"].insert(4, [{"role": "assistant", "content": "half \ud83d"}])
    for name in ("prompts", "image"):
        given[name].insert(4, given[name][0])
    given = {name: values[:5] + values[5:8] + values[7:8] * 2 for name, values in given.items()}
    rewards = make(num_generations=5, shuffle=False)(**given)
    assert rewards[4] is None
    assert rewards[:4] == pytest.approx(expected[:4], abs=5e-5)
    assert None not in rewards[5:]
    assert "1 of 5 rows (4) get no reward" in caplog.text
    assert "surrogate" in caplog.text


@pytest.mark.parametrize(
    "odd", [None, 3, [], [{"role": "user", "content": "x"}], [{"role": "assistant"}] * 2]
)
def test_what_is_no_text_costs_its_row(odd, caplog):
    given = batch(LINES[0])
    given["completions"][1] = odd
    rewards = make()(**given)
    assert [reward is None for reward in rewards] == [False, True, False, False]
    assert "no reward" in caplog.text


def test_a_picture_that_is_missing_costs_its_group(caplog):
    given = batch(*LINES[:2])
    given["images"] = [[str(EXAMPLES / "nowhere.png")]] * 4 + [
        [picture] for picture in given.pop("image")[4:]
    ]
    rewards = make()(**given)
    assert rewards[:4] == [None] * 4
    assert None not in rewards[4:]
    assert "4 of 4 rows" in caplog.text
    assert "nowhere.png" in caplog.text


def test_a_picture_that_breaks_off_costs_its_whole_group(tmp_path, caplog):
    noise = Image.effect_noise((64, 64), 100).convert("RGB")
    noise.save(tmp_path / "whole.png")
    damaged = bytearray((tmp_path / "whole.png").read_bytes())
    damaged[2000:2100] = bytes(100)
    (tmp_path / "broken.png").write_bytes(damaged)
    with Image.open(tmp_path / "broken.png") as picture:
        rewards = make()(**{**batch(LINES[0]), "image": [picture] * 4})
    assert rewards == [None] * 4
    assert "4 of 4 rows" in caplog.text
    assert "cannot be decoded" in caplog.text


LONG = " ".join(["a red circle in the center and"] * 60)


def test_a_completion_that_is_too_long_gets_a_penalty_below_the_groups_lowest(caplog):
    given = batch(LINES[0])
    expected = make(shuffle=False, max_tokens=400)(**given)
    given["completions"][3] = LONG
    rewards = make(shuffle=False, max_tokens=400, penalty=2)(**given)
    assert rewards[3] == min(rewards[:3]) - 2
    assert "(3) get a penalty" in caplog.text
    three = make(num_generations=3, shuffle=False, max_tokens=400)(
        **{name: values[:3] for name, values in given.items()}
    )
    assert rewards[:3] == pytest.approx(three, abs=5e-5)
    assert expected[:3] != rewards[:3]


def test_of_completions_that_do_not_fit_together_the_longest_is_left_out():
    given = batch(LINES[0])
    judge = make().load()
    together = judge.score(
        prompt="Describe this image.", images=[given["image"][0]], responses=LINES[0]["responses"]
    )
    rewards = make(max_tokens=together.n_tokens - 1, on_long="none")(**given)
    longest = max(range(4), key=lambda i: len(LINES[0]["responses"][i]))
    assert [i for i, reward in enumerate(rewards) if reward is None] == [longest]


def test_a_completion_that_is_too_long_can_have_no_reward_or_be_an_error():
    given = batch(LINES[0])
    given["completions"][3] = LONG
    assert make(max_tokens=400, on_long="none")(**given)[3] is None
    with pytest.raises(TooLongError, match="over the limit of 400"):
        make(max_tokens=400, on_long="error")(**given)


def test_a_prompt_that_is_too_long_is_no_completions_fault(caplog):
    given = batch(LINES[0])
    given["prompts"] = [LONG] * 4
    assert make(max_tokens=100)(**given) == [None] * 4
    assert "4 of 4 rows" in caplog.text


def test_empty_and_truncated_completions_have_a_policy():
    given = batch(LINES[0])
    given["completions"][0] = [{"role": "assistant", "content": " "}]
    given["completion_ids"] = [[1], [1] * 8, [1] * 7, [1] * 7]
    assert None not in make()(**given)
    rewards = make(on_empty="none", on_truncated="penalty", max_completion_length=8, penalty=0.5)(**given)
    assert rewards[0] is None
    assert rewards[1] == min(rewards[2:]) - 0.5


def test_an_unaligned_batch_is_refused_with_the_setting_that_mends_it():
    given = batch(*LINES[:2], n=3)
    with pytest.raises(UsageError, match=r"(?s)rows 0 to 3 answer different prompts.*steps_per_generation"):
        make()(**given)
    with pytest.raises(UsageError, match="6 rows are no multiple of num_generations=4"):
        make()(**{name: values[:3] * 2 for name, values in given.items()})


def test_the_same_text_with_another_picture_is_another_prompt():
    given = batch(*LINES[:2], n=2)
    assert LINES[0]["prompt"] == LINES[1]["prompt"]
    with pytest.raises(UsageError, match="different prompts"):
        make()(**given)


def test_evaluation_may_have_groups_of_another_size():
    reward = make(num_generations=4, num_generations_eval=2, shuffle=False)
    assert reward(**batch(*LINES[:2], n=2)) == make(num_generations=2, shuffle=False)(
        **batch(*LINES[:2], n=2)
    )
    assert None not in reward(**batch(LINES[0]))


def trainer(**changes):
    """What is read of TRL's trainer."""
    args = {"per_device_train_batch_size": 4, "steps_per_generation": 1, "per_device_eval_batch_size": 2}
    args |= changes.pop("args", {})
    state = {"num_generations": 4, "num_generations_eval": 2, "model": SimpleNamespace(training=True)}
    found = type("Trainer", (), {"log_metric": lambda self, name, value: None})()
    vars(found).update(state | changes, args=SimpleNamespace(**args))
    return found.log_metric


def test_the_trainers_own_settings_are_taken_and_checked():
    reward = make(num_generations=None)
    assert None not in reward(**batch(LINES[0]), log_metric=trainer())
    evaluation = {"log_metric": trainer(model=SimpleNamespace(training=False))}
    assert None not in reward(**batch(*LINES[:2], n=2), **evaluation)
    with pytest.raises(UsageError, match="num_generations=8, and the trainer 4"):
        make(num_generations=8)(**batch(LINES[0]), log_metric=trainer())
    with pytest.raises(
        UsageError, match=r"(?s)per_device_train_batch_size=6 x steps_per_generation=1 is no multiple"
    ):
        reward(**batch(*LINES[:2], n=3), log_metric=trainer(args={"per_device_train_batch_size": 6}))


def test_without_a_group_size_a_call_is_one_group_as_async_trainers_call():
    reward = make(num_generations=None)
    together = asyncio.run(_call_in_threads(reward, [batch(LINES[0], n=3), batch(LINES[1])]))
    assert [len(each) for each in together] == [3, 4]
    assert together[1] == pytest.approx(reward(**batch(LINES[1])), abs=5e-5)


async def _call_in_threads(reward, calls):
    return await asyncio.gather(*(asyncio.to_thread(reward, **given) for given in calls))


def test_it_is_pickled_by_its_settings_and_loads_once_a_process():
    reward = make(mode="single", normalize="rank")
    again = pickle.loads(pickle.dumps(reward))
    assert again == reward
    assert again.load() is reward.load()
    assert len(pickle.dumps(reward)) < 2000
    assert (reward.__name__, make().__name__, make(name="r").__name__) == ("yoj_single", "yoj", "r")


def test_a_lazy_one_loads_at_the_first_call():
    reward = GroupReward(model="nowhere/at-all", lazy=True, num_generations=2)
    with pytest.raises(Exception, match="nowhere/at-all"):
        reward(prompts=["p"] * 2, completions=["a", "b"])
    with pytest.raises(Exception, match="nowhere/at-all"):
        GroupReward(model="nowhere/at-all", num_generations=2)


def host_state():
    import random

    import torch

    logger = logging.getLogger("transformers")
    return (
        random.getstate(),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        logger.level,
        warnings.filters[:],
    )


def test_loading_and_calling_leave_the_host_as_it_was_and_closing_gives_the_judge_back():
    before = host_state()
    reward = make(seed=99)
    first = reward.load()
    reward(**batch(LINES[0]))
    assert host_state() == before
    reward.close()
    with pytest.raises(UsageError, match="closed"):
        first.score(prompt="p", responses=["a"])
    assert isinstance(reward.load(), Judge)
    reward.close()


def test_metrics_say_what_to_watch():
    hooks = Hooks()
    rewards = hooks(make(name="r", orders=2), **batch(*LINES[:2]))
    scores = [sorted(rewards[:4], reverse=True), sorted(rewards[4:], reverse=True)]
    assert hooks.metrics["r/margin"] == pytest.approx(sum(each[0] - each[1] for each in scores) / 2)
    assert {
        "r/spread",
        "r/order_sensitivity",
        "r/ties",
        "r/score_std",
        "r/length_correlation",
        "r/seconds",
    } <= set(hooks.metrics)
    assert hooks.metrics["r/failed"] == hooks.metrics["r/penalized"] == 0


def test_a_call_does_not_change_with_the_hosts_autocast_or_default_dtype():
    import torch

    given = batch(LINES[0])
    expected = make()(**given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make()(**given) == expected
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert make()(**given) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_logging_goes_to_one_logger_that_the_host_can_silence(caplog):
    given = batch(LINES[0])
    given["completions"][1] = None
    with caplog.at_level(logging.ERROR, logger="yoj_cli.rewards"):
        make()(**given)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": "softest"}, "not one of none, softmax, rank, center"),
        ({"num_generations": 0}, "no number of completions"),
        ({"penalty": -1}, "at least 0"),
        ({"length_penalty": float("nan")}, "at least 0"),
        ({"on_truncated": "penalty"}, "needs max_completion_length"),
        ({"num_generations": None, "num_generations_eval": 2}, "needs num_generations"),
        ({"mode": "single", "orders": 2}, "order"),
        ({"media_root": Path("nowhere")}, "no folder"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(options, message):
    with pytest.raises(UsageError, match=message):
        make(**options)


def test_columns_that_do_not_fit_are_an_error():
    with pytest.raises(InputError, match="3 prompts for 2 completions"):
        make()(prompts=["p"] * 3, completions=["a", "b"])


def test_each_process_of_a_machine_takes_the_gpu_of_its_number(monkeypatch):
    import torch

    from yoj_cli.rewards.loaded import own_device

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device("auto") == "auto"  # no GPU here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert [own_device(device) for device in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:2",
        "cuda:2",
        "cuda:1",
        "cpu",
    ]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("auto") == "cuda:3"
    monkeypatch.setenv("LOCAL_RANK", "5")  # each process is shown its own GPUs only
    assert own_device("auto") == "cuda:2"


@pytest.mark.slow
def test_trls_asynchronous_worker_scores_a_group_of_its_own_with_it(monkeypatch):
    from accelerate import PartialState

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    monkeypatch.setattr(
        PartialState, "_shared_state", {}
    )  # accelerate's log wants one, and it is the process's
    PartialState(cpu=True)
    worker = pytest.importorskip("trl.experimental.async_grpo.async_rollout_worker", exc_type=ImportError)
    given = batch(LINES[0])
    reward = make(lazy=True, num_generations=4)
    sequence = SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])
    group = worker.RolloutGroup(
        prompts=given["prompts"],
        reward_kwargs={"image": given["image"]},
        completions=given["completions"],
        completions_ids=[[1]] * 4,
        completions_sequences=[[sequence]] * 4,
        tool_call_counts=[0] * 4,
        tool_failure_counts=[0] * 4,
        model_version=0,
        group_id=0,
        env_rewards=[None] * 4,
        rollout_rewards=[None] * 4,
    )
    host = SimpleNamespace(
        reward_funcs=[reward], reward_func_names=["yoj"], _env_reward_types=[], _provides_rollout_reward=False
    )
    samples = asyncio.run(worker._AsyncRolloutLoop._score_group(host, group))
    assert [sample.metrics["reward"] for sample in samples] == pytest.approx(reward(**given), abs=5e-5)


def test_pictures_that_are_not_given_for_each_row_are_refused_and_never_left_out(judge):
    given = batch(LINES[0])
    pictures = given.pop("image")
    scores = make()(**given, image=pictures)
    in_array = np.empty(4, dtype=object)
    in_array[:] = pictures
    assert make()(**given, image=in_array) == scores
    assert make()(**given, image=np.stack([np.asarray(picture) for picture in pictures])) == scores
    assert make()(**given, image=[np.asarray(picture) for picture in pictures]) == scores
    for wrong in (pictures[:2], pictures[0], "picture.png"):
        with pytest.raises(InputError, match="'image' must be a list with a value for each of the 4 rows"):
            make()(**given, image=wrong)


def test_groups_that_a_tensor_names_are_those_of_its_numbers(judge):
    given = batch(LINES[0])
    scores = make(num_generations=None)(**given, group_ids=[7] * 4)
    assert make(num_generations=None)(**given, group_ids=torch.tensor([7] * 4)) == scores
    assert make(num_generations=None)(**given, group_ids=list(torch.tensor([7] * 4))) == scores
    with pytest.raises(InputError, match="2 entries for 4 rows"):
        make()(**given, group_ids=[7, 7])
    with pytest.raises(InputError, match="numbers or texts, found list"):
        make()(**given, group_ids=[[7]] * 4)


def test_truncated_completions_cannot_be_told_without_their_lengths(judge):
    reward = make(on_truncated="penalty", max_completion_length=5)
    with pytest.raises(UsageError, match="gives no completion_ids"):
        reward(**batch(LINES[0]))
    with pytest.raises(InputError, match="'completion_ids' must be a list with a value for each"):
        reward(**batch(LINES[0]), completion_ids=[[1]])
    assert None not in reward(**batch(LINES[0]), completion_ids=[[1], [1] * 5, None, [1]])


def test_options_of_another_type_are_refused_and_a_folder_may_be_a_text(judge):
    for wrong, problem in (("4", "whole"), (4.0, "whole"), (True, "whole"), (0, "no number of completions")):
        with pytest.raises(UsageError, match=f"--num-generations: {wrong!r} is .*{problem}"):
            make(num_generations=wrong, lazy=True)
    for options in (
        {"orders": 2.0},
        {"orders": "2"},
        {"window": "4"},
        {"seed": None},
        {"penalty": None},
        {"penalty": "1"},
        {"shuffle": "yes"},
        {"lazy": None},
        {"device": torch.device("cpu")},
        {"device": None},
        {"server": 5},
    ):
        with pytest.raises(UsageError, match=r"is not (a|True)"):
            make(**{"lazy": True, **options})
    assert make(orders=np.int64(2), penalty=np.float32(0.5), lazy=True).orders == 2
    given = batch(LINES[0]) | {"image": [LINES[0]["image"]] * 4}
    assert None not in make(media_root=str(EXAMPLES))(**given)


def test_a_prompt_that_is_no_text_is_an_error_of_its_rows_and_no_bug(judge, caplog):
    assert make()([5] * 4, ["a", "b", "c", "d"]) == [None] * 4
    assert "'prompt' must be a text" in caplog.text
    assert "bug" not in caplog.text


def test_a_call_of_no_rows_has_no_rewards(judge):
    assert make(num_generations=None)([], []) == make()([], []) == []


@pytest.mark.parametrize("wrong", ["text", [137, 80], 10**12])
def test_bytes_of_a_picture_that_are_none_are_said(judge, caplog, wrong):
    given = batch(LINES[0]) | {"image": [{"bytes": wrong, "path": None}] * 4}
    assert make()(**given) == [None] * 4
    assert "the 'bytes' of a picture or clip must be bytes" in caplog.text


def test_completion_ids_of_one_row_are_not_those_of_four(judge):
    with pytest.raises(InputError, match="must have a list for each row, found the number 1"):
        make()(**batch(LINES[0]), completion_ids=[1, 2, 3, 4])


def test_a_judge_that_was_closed_by_who_borrowed_it_is_loaded_again():
    reward = make(seed=98)
    with reward.load() as borrowed:
        expected = reward(**batch(LINES[0]))
    assert borrowed.closed
    assert reward(**batch(LINES[0])) == pytest.approx(expected, abs=5e-5)
    reward.close()
