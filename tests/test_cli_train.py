"""`yoj train` as a person types it."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest
from PIL import Image

from tests.conftest import PARITY

BASE = str(PARITY / "checkpoint")
OPTIONS = ("--base", BASE, "--device", "cpu", "--lora-r", 4, "--head-dim", 16, "--no-gradient-checkpointing")


@pytest.fixture
def data(write_lines):
    lines = [
        {"prompt": f"question {index}", "responses": ["a", "b b", "c c c"], "rankings": [1, 2, 2]}
        for index in range(6)
    ]
    return write_lines(*lines)


def test_the_command_trains_and_the_result_scores(yoj, data, tmp_path):
    code, out, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--epochs", 1, "--eval", data)
    assert (code, out) == (0, "")
    assert "6 groups, 18 responses" in err
    assert re.search(r"step 0/1  held out: loss \d.\d+  best of N", err)
    assert re.search(
        r"step 1/1  mean of 1 step: loss \d.\d+ \(all alike 1.0986\)  best of N \d.\d+ \(blind 0.333\)", err
    )
    assert re.search(r"spread \S+  gradient \S+  [\d,]+ tokens/s  \S+ groups/s", err)
    assert "6 held-out groups are in the training data too" in err
    code, out, _ = yoj("score", data, "-m", tmp_path / "out", "--device", "cpu")
    assert code == 0
    assert [json.loads(line)["judge"]["mode"] for line in out.splitlines()] == ["multi"] * 6


def test_the_state_that_is_kept_is_named(yoj, data, tmp_path):
    options = ("--eval", data, "--keep-best", "loss", "--epochs", 1)
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, *options)
    assert code == 0
    assert "the judge is the state of step 1, which evaluated best by loss\n" in err


def test_data_that_cannot_be_used_as_it_is_says_what_would_help(yoj, write_lines, tmp_path):
    group = {"prompt": "question", "responses": ["a", "b"]}
    votes = write_lines({**group, "pairwise": [[0, 1, 1]]})
    code, _, err = yoj("train", votes, "-o", tmp_path / "out", *OPTIONS)
    assert code == 2
    assert "`yoj votes rank` makes rankings of them" in err
    long = write_lines({**group, "rankings": [1, 2], "prompt": "question " * 50})
    code, _, err = yoj("train", long, "-o", tmp_path / "out", *OPTIONS, "--max-tokens", 40)
    assert code == 2
    assert "To leave such groups out: --on-long skip, or cut off their ends: --on-long truncate." in err


def test_a_folder_without_a_model_is_no_base(yoj, data, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "small.gguf").touch()
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--base", tmp_path / "base")
    assert code == 3
    assert (
        "is no model in Hugging Face's format: it has no config.json\nGGUF is not read: take the model that"
        in err
    )


def test_a_dry_run_prints_what_would_be_done_and_writes_nothing(yoj, data, tmp_path):
    code, out, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--dry-run")
    assert (code, out) == (0, "")
    for part in (
        "6 groups",
        "longest group",
        "3 steps of 6 groups, 3 epochs",
        "blind pick 0.333",
        "of memory",
    ):
        assert part in err
    assert not (tmp_path / "out").exists()


def test_a_judge_trained_on_single_responses_scores_them_alone_unasked(yoj, data, tmp_path):
    yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--epochs", 1, "--mode", "single")
    code, out, _ = yoj("score", data, "-m", tmp_path / "out", "--device", "cpu")
    assert code == 0
    assert {json.loads(line)["judge"]["mode"] for line in out.splitlines()} == {"single"}
    assert 'loss = "bradley-terry"' in (tmp_path / "out" / "recipe.toml").read_text()
    code, _, err = yoj("score", data, "-m", tmp_path / "out", "--device", "cpu", "--orders", 2)
    assert code == 2
    assert "orders cannot matter" in err


def test_a_recipe_gives_the_options_and_the_command_line_has_precedence(yoj, data, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'base = "{BASE}"\ndevice = "cpu"\nlora-r = 4\nhead_dim = 16\nepochs = 2\nbatch_size = 3\n'
    )
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--config", recipe, "--epochs", 5, "--dry-run")
    assert code == 0
    assert "10 steps of 3 groups, 5 epochs" in err


@pytest.mark.slow
def test_the_recipe_of_a_run_repeats_it(yoj, data, tmp_path):
    yoj(
        "train",
        data,
        "-o",
        tmp_path / "one",
        *OPTIONS,
        "--epochs",
        1,
        "--no-shuffle-responses",
        "--eval",
        data,
    )
    code, _, err = yoj("train", "--config", tmp_path / "one" / "recipe.toml", "-o", tmp_path / "two")
    assert code == 0, err
    for name in ("adapter_model.safetensors", "value_head.safetensors", "recipe.toml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lora_rr = 4", "'lora_rr' is not an option of this command\nIs 'lora_r' meant"),
        ("lora_r = [", "is not TOML"),
        ('lora_r = "many"', "'--lora-r'"),
        ("lora_r = 0", "--lora-r: 0 is not a positive number"),
        ('quant = "3bit"', "3bit"),
    ],
)
def test_a_wrong_recipe_is_an_error_that_names_what_is_wrong(yoj, data, tmp_path, text, message):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    code, _, err = yoj("train", data, "-o", tmp_path / "out", "--config", recipe)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", 0], "--batch-size: 0 is not a positive number"),
        (["--lora-dropout", 1], "--lora-dropout"),
        (["--report-to", "tensorbord"], "--report-to: tensorbord is not one of"),
        (["--resume"], "no saved state"),
        (["--max-tokens", 10**9], "beyond the backbone's context"),
        (["--base", "nope/nope/nope"], "no such folder"),
        (["--eval", "nope.jsonl"], "nope.jsonl: there is no such file"),
        (["--config", "nope.toml"], "nope.toml: cannot be read"),
        (["--public"], "--public: nothing is uploaded"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(yoj, data, tmp_path, arguments, message):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, *arguments)
    assert code in (2, 3)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_the_recipe_holds_where_the_media_are(yoj, write_lines, tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / "a.png")
    data = write_lines({"prompt": "p", "image": "a.png", "responses": ["a", "b"], "rankings": [1, 2]})
    root = ("--media-root", tmp_path / "pictures")
    code, _, err = yoj("train", data, "-o", tmp_path / "one", *OPTIONS, "--epochs", 1, *root)
    assert code == 0, err
    code, _, err = yoj("train", "--config", tmp_path / "one" / "recipe.toml", "-o", tmp_path / "two")
    assert code == 0, err


def test_metrics_go_to_tensorboard_when_asked(yoj, data, tmp_path):
    code, _, err = yoj(
        "train", data, "-o", tmp_path / "out", *OPTIONS, "--epochs", 1, "--report-to", "tensorboard"
    )
    assert code == 0, err
    assert list((tmp_path / "out").rglob("events.out.tfevents.*"))


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_library_to_report_to_that_is_not_installed_is_named(yoj, data, tmp_path):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--report-to", "wandb")
    assert code == 2
    assert "--report-to: to report to wandb needs wandb, which is not installed" in err
    assert "pip install 'yoj-cli[wandb]'" in err


def test_training_data_are_no_pipe(yoj, tmp_path):
    code, _, err = yoj("train", "-", "-o", tmp_path / "out", *OPTIONS)
    assert code == 2
    assert "more than once" in err


def test_best_first_data_that_are_not_shuffled_get_a_warning(yoj, data, tmp_path):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--dry-run", "--no-shuffle-responses")
    assert code == 0
    assert "the best response stands first in 100% of the groups" in err
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--dry-run")
    assert "stands first" not in err


@pytest.mark.parametrize(("name", "message"), [("file/out", "is no folder"), ("device", "is no folder")])
def test_a_folder_that_cannot_be_made_is_found_before_the_data_are_read(yoj, data, tmp_path, name, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "device").symlink_to("/dev/null")
    code, _, err = yoj("train", data, "-o", tmp_path / name, "--base", "no/such/base")
    assert code == 2
    assert err.startswith(f"yoj: {tmp_path / name}: ")
    assert message in err


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_library_takes_is_a_usage_error(yoj, data, tmp_path, seed):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--seed", seed)
    assert code == 2
    assert err.startswith(f"yoj: --seed: {seed} is not in 0")


def test_the_judge_may_be_read_by_others_and_its_recipe_decides_nothing_by_this_machines_memory(
    yoj, data, tmp_path
):
    out, open_choice = (
        tmp_path / "my judge",
        [each for each in OPTIONS if each != "--no-gradient-checkpointing"],
    )
    code, _, err = yoj("train", data, "-o", out, *open_choice, "--epochs", 1)
    assert code == 0, err
    assert f"yoj score FILE -m '{out}'" in err  # as a shell takes it
    plain = (out / "recipe.toml").stat().st_mode
    assert {path.stat().st_mode for path in out.iterdir()} == {plain}
    assert "gradient_checkpointing" not in (out / "recipe.toml").read_text()


def test_sizes_beyond_all_memory_are_an_error_and_no_bug(yoj, data, tmp_path):
    code, _, err = yoj("train", data, "-o", tmp_path / "out", *OPTIONS, "--head-dim", 10**15)
    assert code == 4
    assert "not enough memory for the adapter and the head" in err
    assert "--head-dim" in err
