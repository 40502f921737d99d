"""Bases whose vocabulary is full (Llama, SmolLM2, Gemma): a row for the separator, or a token that was unused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import Run
from tests.tiny_text_bases import TEMPLATE, make_base, make_judge, recipe
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.checkpoint.quantize import quantize
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, InputError, UsageError
from yoj_cli.media.options import DEFAULTS
from yoj_cli.model.backbone import Backbone
from yoj_cli.records.parse import parse
from yoj_cli.scoring.engine import Engine
from yoj_cli.train.evaluation import evaluate
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.model import build_sequences, load_model
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train
from yoj_cli.train.starting_point import find_base

KINDS = ("llama", "llama-untied", "gemma")
GROUP = {"prompt": "Which dog?", "responses": ["the dog", "a cat in the park", "two dogs"]}
ROWS = "separator.safetensors"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {kind: make_base(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def trained(
    bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[float]]]:
    root = tmp_path_factory.mktemp("judges")
    return {kind: (root / kind, make_judge(root / kind, bases[kind], GROUP)) for kind in KINDS}


def load(folder: Path, **options: object) -> Judge:
    return Judge.load(str(folder), **{"device": "cpu", "quant": "none", "dtype": "float32", **options})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def n_rows(base: Path) -> int:
    return int(json.loads((base / "config.json").read_text())["vocab_size"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_judge_brings_its_separators_row_and_scores_as_in_training(trained, bases, kind):
    before = digests(bases[kind])
    folder, wanted = trained[kind]
    judge = load(folder)
    assert list(judge.score(**GROUP).scores) == pytest.approx(wanted, abs=1e-6)
    rows = load_file(folder / ROWS)["embedding_rows"]
    assert rows.shape == (2 if kind == "gemma" else 1, 64)
    embedding = judge.backbone.model.get_input_embeddings().weight
    token = judge.backbone.tokenizer.convert_tokens_to_ids("<|resp_sep|>")
    assert token == embedding.shape[0] - 1 == n_rows(bases[kind]) + rows.shape[0] - 1
    assert torch.equal(embedding[n_rows(bases[kind]) :], rows)
    assert digests(bases[kind]) == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_is_the_mean_of_the_embedding_and_frozen(bases, kind):
    config = recipe(bases[kind])
    model = load_model(config, find_base(config))
    weight = model.decoder.get_input_embeddings().weight
    own, added = weight[: n_rows(bases[kind])], weight[-1]
    torch.testing.assert_close(added, own.mean(0), rtol=2**-8, atol=1e-6)
    assert torch.equal(added, added.bfloat16().float())  # a base of bfloat16 holds it as it is
    assert not weight.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_merging_writes_the_row_into_the_whole_vocabulary(trained, bases, tmp_path, kind):
    from transformers import AutoModelForCausalLM

    folder, wanted = trained[kind]
    merged = merge(JudgeConfig(model=str(folder)), tmp_path / "merged")
    assert merged.has_lm_head
    assert list(load(tmp_path / "merged").score(**GROUP).scores) == pytest.approx(wanted, abs=1e-5)
    assert not (tmp_path / "merged" / ROWS).exists()
    whole, report = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    total = n_rows(bases[kind]) + (2 if kind == "gemma" else 1)
    embedding, head = whole.get_input_embeddings().weight, whole.get_output_embeddings().weight
    assert embedding.shape[0] == head.shape[0] == whole.config.vocab_size == total
    assert torch.equal(embedding[-1], load_file(folder / ROWS)["embedding_rows"][-1])
    if kind == "llama-untied":
        torch.testing.assert_close(head[-1], head[:-1].mean(0))
    else:
        assert head is embedding


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_it_scores_as_the_original_in_4_bit(trained, tmp_path, kind):
    folder, _ = trained[kind]
    wanted = load(folder, quant="4bit").score(**GROUP).scores
    quantize(JudgeConfig(model=str(folder), device="cpu"), tmp_path / "small")
    assert load(tmp_path / "small", quant="4bit").score(**GROUP).scores == wanted
    assert not (tmp_path / "small" / ROWS).exists()  # the row is in the backbone now


def test_a_judge_without_its_row_or_with_another_bases_is_refused(trained, bases, tmp_path):
    folder = shutil.copytree(trained["llama"][0], tmp_path / "judge")
    content = json.loads((folder / "reward_model_config.json").read_text())
    (folder / "reward_model_config.json").write_text(
        json.dumps(content | {"base_model": str(bases["llama"])})
    )
    rows = load_file(folder / ROWS)["embedding_rows"]
    for state, problem in (
        ({"embedding_rows": rows.repeat(2, 1)}, "holds 2 embedding rows, and the base lacks 1"),
        ({"embedding_rows": rows[:, :8].contiguous()}, r"\(1, 8\), the backbone's have 64 numbers"),
        ({"embedding_rows": rows * float("nan")}, "not finite"),
        ({"other": rows}, "must hold one matrix"),
    ):
        save_file(state, folder / ROWS)
        with pytest.raises(CheckpointError, match=problem):
            load(folder)
    (folder / ROWS).unlink()
    with pytest.raises(CheckpointError, match="no embedding row for the separator"):
        load(folder)


def test_an_unused_token_of_the_base_needs_no_row(bases, tmp_path):
    wanted = make_judge(tmp_path / "judge", bases["llama"], GROUP, separator_token="<|reserved_0|>")
    assert not (tmp_path / "judge" / ROWS).exists()
    judge = load(tmp_path / "judge")
    assert judge.checkpoint.separator == "\n\n<|reserved_0|>\n\n"
    assert list(judge.score(**GROUP).scores) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("<|nothing|>", "is not one token of the base's tokenizer"),
        ("<|end|>", "has a meaning to the base already"),
        ("<|user|>", "has a meaning to the base already"),
        ("z", "the text of a response could turn into"),
    ],
)
def test_a_token_that_is_used_separates_nothing(bases, token, problem):
    config = recipe(bases["llama"], separator_token=token)
    with pytest.raises(UsageError, match=problem) as error:
        load_model(config, find_base(config))
    assert error.value.where == "--separator-token"
    assert "<|reserved_0|>" in str(error.value.hint)


@pytest.fixture
def data(write_lines) -> Path:
    return write_lines(*({**GROUP, "rankings": [1, 2, 3]} for _ in range(3)))


def test_a_base_without_a_chat_template_is_one_error_that_says_what_to_do(tmp_path, data, yoj: Run):
    base = make_base(tmp_path / "base", "llama", template=None)
    options = ["train", data, "--base", base, "-o", tmp_path / "out", "--device", "cpu", "--dry-run"]
    for more in ([], ["--no-check"]):
        code, _, err = yoj(*options, *more)
        assert code == 3
        assert err.count("there is no chat template") == 1
        assert "--chat-template FILE" in err


def test_a_template_from_a_file_is_stored_in_the_judge(bases, tmp_path):
    base = make_base(tmp_path / "base", "llama", template=None)
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    wanted = make_judge(tmp_path / "judge", base, GROUP, chat_template=str(tmp_path / "chat.jinja"))
    (tmp_path / "chat.jinja").unlink()
    assert (tmp_path / "judge" / "chat_template.jinja").read_text() == TEMPLATE
    assert list(load(tmp_path / "judge").score(**GROUP).scores) == pytest.approx(wanted, abs=1e-6)
    make_judge(tmp_path / "own", bases["llama"], GROUP)
    assert load(tmp_path / "own").score(**GROUP).scores == load(tmp_path / "judge").score(**GROUP).scores


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"{% for message in messages %}", "chat.jinja:1 is no Jinja template"),
        (b"{{ messages[0]['content'] }}", "drops or repeats a part of the conversation"),
        (b"{{ raise_exception('no') }}", "chat template refuses the conversation"),
    ],
)
def test_a_template_that_cannot_be_used_is_an_error_at_the_start(
    bases, tmp_path, data, yoj, content, problem
):
    path = tmp_path / "chat.jinja"
    if content is not None:
        path.write_bytes(content)
    options = ["--base", bases["llama"], "--chat-template", path, "-o", tmp_path / "out", "--device", "cpu"]
    code, _, err = yoj("train", data, *options)
    assert code in (2, 3)
    assert problem in err
    assert "chat.jinja" in err
    assert not (tmp_path / "out").exists()


def test_groups_beyond_a_sliding_window_are_evaluated_branch_by_branch_and_not_trained_alone(
    bases, write_lines, tmp_path
):
    long = {"prompt": "Which dog? " * 6, "responses": ["the dog", "a cat", "two dogs"], "rankings": [1, 2, 3]}
    data = write_lines(long)
    out = tmp_path / "judge"
    assert train(prepare([data], out, recipe(bases["gemma"], epochs=1), held_out=[data]))
    (line, *_) = [each for each in read_metrics(out / "metrics.jsonl") if "eval_loss" in each]
    assert line["eval_n_groups"] == 1
    with pytest.raises(InputError, match=r"over the 64 of the backbone's sliding-window[\s\S]*--mode multi"):
        prepare([data], tmp_path / "single", recipe(bases["gemma"], mode="single"))


def test_a_group_read_branch_by_branch_evaluates_as_it_does_in_one(bases, monkeypatch):
    config = recipe(bases["llama"])
    model = load_model(config, find_base(config)).eval()
    builder = build_sequences(config, model.backbone, held_out=True)
    groups = [parse({**GROUP, "rankings": ranks}) for ranks in ([1, 2, 3], [2, 1, 3])]
    found = []
    for window in (None, 8):
        monkeypatch.setattr(Backbone, "attention_window", window)
        engine = Engine(model.backbone, model.head)
        found.append(evaluate(engine, builder, groups, DEFAULTS, mode="multi", loss="ce"))
    for one, other in zip(*found, strict=True):
        assert other.scores == pytest.approx(one.scores, abs=1e-6)
        assert (other.loss, other.flipped) == (pytest.approx(one.loss, abs=1e-6), one.flipped)
