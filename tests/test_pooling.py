"""What a head reads of a response: by hand, and against the official implementation in every mode."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from tests.conftest import PARITY
from yoj_cli import Judge
from yoj_cli.config.judge import JudgeConfig, RespReprMode
from yoj_cli.media.options import MediaOptions
from yoj_cli.model.pooling import pool, pooled_tokens
from yoj_cli.records.parse import parse
from yoj_cli.scoring.forward import batch_scores, branch_scores
from yoj_cli.sequence.packed import PackedSequence

MODES: tuple[RespReprMode, ...] = get_args(RespReprMode)
GOLDEN = json.loads((PARITY / "representations.json").read_text(encoding="utf-8"))
HEADS = list(GOLDEN["shapes"])
TOLERANCE = 1e-5

Load = Callable[..., Judge]


def fill(shape: list[int]) -> torch.Tensor:
    """The k-th number is 0.3 sin(k), as tests/data/parity/README.md says."""
    n = torch.Size(shape).numel()
    return (torch.arange(1, n + 1, dtype=torch.float64).sin() * 0.3).reshape(shape).float()


def make_official(folder: Path, head: str) -> Path:
    """The parity backbone with another head, as the official merge script writes it."""
    mode, kind = head.split()
    shutil.copytree(PARITY / "checkpoint", folder)
    torch.save(
        {name: fill(shape) for name, shape in GOLDEN["shapes"][head].items()}, folder / "value_head.pt"
    )
    config = {
        "value_head_type": kind,
        "value_head_hidden_dim": None,
        "value_head_activation": GOLDEN["activations"][mode],
        "value_head_input_dim": 128 if mode == "first_last_concat" else 64,
        "resp_repr_mode": mode,
    }
    (folder / "reward_model_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """`official("first mlp", mode="single")`; each judge is loaded once."""
    folders: dict[str, Path] = {}
    loaded: dict[tuple[object, ...], Judge] = {}

    def load(head: str, **options: Any) -> Judge:
        key = (head, *sorted(options.items()))
        if head not in folders:
            folders[head] = make_official(tmp_path_factory.mktemp("official") / "judge", head)
        if key not in loaded:
            loaded[key] = Judge.load(
                str(folders[head]), device="cpu", quant="none", dtype="float32", **options
            )
        return loaded[key]

    return load


def arguments_of(group: dict[str, Any]) -> dict[str, Any]:
    images = [str(PARITY / group["image"])] if group["image"] else []
    return {"prompt": group["prompt"], "responses": group["responses"], "images": images}


def build_sequences(judge: Judge, group: dict[str, Any]) -> PackedSequence:
    return judge.prepare(parse(arguments_of(group)), MediaOptions())[1]


@pytest.mark.parametrize("group", GOLDEN["groups"], ids=lambda group: group["id"])
def test_first_and_last_tokens_equal_the_official_ones(official: Load, group: dict[str, Any]) -> None:
    sequence = build_sequences(official("last mlp"), group)
    assert sequence.n_tokens == group["n_tokens"]
    assert sequence.spans == (tuple(zip(group["starts"], group["ends"], strict=True)),)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("mode", ["multi", "single"])
def test_scores_equal_the_official_ones(official: Load, head: str, mode: str) -> None:
    judge = official(head, mode=mode)
    for group in GOLDEN["groups"]:
        wanted = group["scores"][head][mode]
        assert judge.score(**arguments_of(group)).scores == pytest.approx(wanted, abs=TOLERANCE), group["id"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{"mode": "single"}, {"orders": 3}], ids=str)
def test_over_the_cache_beside_others_and_alone_a_group_scores_the_same(
    official: Load, mode: str, options: dict[str, Any]
) -> None:
    judge = official(f"{mode} mlp", **options)
    groups = [group for group in GOLDEN["groups"] if group["id"] in ("g2", "same", "newline", "letters")]
    sequences = [build_sequences(judge, group) for group in groups]
    with torch.inference_mode():
        for sequence, together in zip(
            sequences, batch_scores(judge.backbone, judge.head, sequences), strict=True
        ):
            alone = branch_scores(judge.backbone, judge.head, sequence)
            by_chunks = branch_scores(judge.backbone, judge.head, sequence, max_tokens_per_forward=1)
            for wanted, *others in zip(alone, together, by_chunks, strict=True):
                for found in others:
                    assert found.tolist() == pytest.approx(wanted.tolist(), abs=TOLERANCE)


def test_a_shared_first_token_stands_in_the_prefix_and_its_response_goes_on_in_the_branch(
    official: Load,
) -> None:
    judge = official("response_mean mlp", mode="single")
    sequence = build_sequences(
        judge, {"prompt": "p", "responses": ["The dog sits.", "The dog runs."], "image": None}
    )
    places = pooled_tokens("response_mean", sequence)
    for branch, each in enumerate(places):
        (start, end), *_ = sequence.spans[branch]
        assert start < sequence.n_prefix <= end
        text = judge.backbone.tokenizer.decode(sequence.input_ids[0, list(each)])
        assert text == ("The dog sits.", "The dog runs.")[branch]


def test_each_formula_by_hand() -> None:
    first, middle, last = torch.tensor([1.0, 2.0]), torch.tensor([30.0, 0.0]), torch.tensor([5.0, -2.0])
    sequence = PackedSequence(*[torch.zeros(1, 4)] * 3, (4,), (((1, 3),),), {}, 0)
    states = torch.stack([torch.zeros(2), first, middle, last])
    wanted = {
        "last": [5.0, -2.0],
        "first": [1.0, 2.0],
        "first_last_concat": [1.0, 2.0, 5.0, -2.0],
        "first_last_add": [6.0, 0.0],
        "first_last_sub": [4.0, -4.0],
        "response_mean": [12.0, 0.0],
    }
    for mode in MODES:
        places = pooled_tokens(mode, sequence)
        assert pool(mode, states[[place for each in places for place in each]], places).tolist() == [
            wanted[mode]
        ]


def test_half_precision_states_are_added_in_float32() -> None:
    states = torch.tensor([[256.0], [1.0]], dtype=torch.bfloat16)
    assert pool("first_last_add", states, [(0, 1)]).item() == 257.0  # 256 in bfloat16


def test_an_empty_response_is_read_at_the_token_before_it(official: Load) -> None:
    judge = official("response_mean mlp")
    sequence = build_sequences(judge, {"prompt": "p", "responses": [""], "image": None})
    assert sequence.spans == (((sequence.n_tokens - 1,) * 2,),)


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_trained_stored_merged_and_scored(mode: RespReprMode, tmp_path: Path) -> None:
    from yoj_cli.checkpoint.merge import merge
    from yoj_cli.config.train import TrainConfig
    from yoj_cli.train.prepare import prepare
    from yoj_cli.train.run import train

    lines = [
        {"prompt": f"p{i}", "responses": ["a dog", "a dog and a cat"], "rankings": [1, 2]} for i in range(2)
    ]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = TrainConfig(
        base=str(PARITY / "checkpoint"),
        device="cpu",
        quant="none",
        resp_repr_mode=mode,
        epochs=1,
        batch_size=2,
        lora_r=2,
        head_dim=8,
        learning_rate=1e-2,
    )
    trained, merged = tmp_path / "trained", tmp_path / "merged"
    assert train(prepare([tmp_path / "data.jsonl"], trained, config))
    merge(JudgeConfig(model=str(trained)), merged)
    judges = [Judge.load(str(folder), device="cpu", quant="none") for folder in (trained, merged)]
    scores = []
    for judge in judges:
        assert judge.head.config.resp_repr_mode == judge.description["resp_repr_mode"] == mode
        scores.append(judge.score(prompt="p", responses=["a dog", "a dog and a cat", "x"]).scores)
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    official_config = json.loads((merged / "reward_model_config.json").read_text())
    assert official_config["value_head_input_dim"] == (128 if mode == "first_last_concat" else 64)


@pytest.mark.parametrize("mode", MODES)
def test_all_ways_of_bench_speed_that_must_agree_do(
    official: Load, write_lines: Callable[..., Path], mode: RespReprMode
) -> None:
    from yoj_cli.bench.groups import GroupSource
    from yoj_cli.bench.variants import VARIANTS, Subject

    judge = official(f"{mode} mlp")
    lines = write_lines({"prompt": "p", "responses": ["The dog sits.", "The dog runs away", "The cat"]})
    case = GroupSource(judge).read(str(lines), 3, n_groups=1, orders=2, seed=0, media=MediaOptions())[0]
    assert case.single.spans[0][0][0] < case.single.n_prefix  # the first tokens are shared
    subject = Subject.build(judge.backbone, judge.head)
    with torch.inference_mode():
        found = {variant.key: variant.read(subject, case) for variant in VARIANTS}
    for variant in VARIANTS:
        if variant.equals:
            assert found[variant.key] == pytest.approx(found[variant.equals], abs=TOLERANCE), variant.name
