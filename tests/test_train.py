"""Training: what learns and what stays, resuming to the bit, failures, and a checkpoint that scores as trained."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import PARITY
from tests.processes import environment
from tests.tiny_text_bases import make_base
from tests.waiting import wait_until
from yoj_cli import Judge
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.model.adapter import adapter_weights
from yoj_cli.records.parse import read_groups
from yoj_cli.train.metrics import read_metrics
from yoj_cli.train.model import load_model
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train
from yoj_cli.train.starting_point import find_base

BASE = str(PARITY / "checkpoint")
SMALL = {"base": BASE, "device": "cpu", "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "head_dim": 32}
SMALL |= {"gradient_checkpointing": False, "batch_size": 4}


@pytest.fixture
def groups(write_lines, tmp_path):
    """Eight groups, with pictures, whose best response is told from the others by nothing but memory."""
    return write_lines(*make_records(tmp_path))


def make_records(folder: Path) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    records = []
    for index in range(8):
        Image.fromarray(rng.integers(0, 255, (56, 56, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        words = ["red", "dog", "sky", "two", "runs"]
        record = {
            "prompt": "p",
            "responses": [" ".join(rng.choice(words, 4)) + f" {n}" for n in range(3)],
            "rankings": (rng.permutation(3) + 1).tolist(),
        }
        records.append(record | ({"image": f"{index}.png"} if index % 2 else {}))
    return records


def run(data, out, *, held_out=(), resume=False, report=lambda line, n_steps: None, **options) -> bool:
    config = TrainConfig(**SMALL | options)
    return train(prepare([data], out, config, held_out=held_out, resume=resume), report=report)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors") | load_file(folder / "value_head.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"mode": "single"}, {"loss": "plackett-luce"}], ids=str)
def test_eight_groups_are_learnt_by_heart_through_the_4_bit_path(groups, tmp_path, options):
    run(groups, tmp_path / "out", epochs=40, learning_rate=1e-2, shuffle_responses=False, **options)
    steps = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert len(steps) == 80
    assert steps[-1]["best_of_n"] == 1
    assert steps[-1]["loss"] < steps[0]["loss"] / 2
    judge = Judge.load(str(tmp_path / "out"), device="cpu")
    assert judge.description["mode"] == options.get("mode", "multi")
    for verdict in judge.score_groups(read_groups(str(groups))):
        assert verdict.group.rankings[verdict.best] == 1


def test_only_adapter_and_head_learn():
    config = TrainConfig(**SMALL)
    model = load_model(config, find_base(config))
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert {name for name in learning if not name.startswith("head.")} == {
        f"decoder.{name}" for name in adapter_weights(model.decoder)
    }
    assert all(name.startswith(("head.", "decoder.language_model.")) for name in learning)
    assert all(
        parameter.dtype == torch.float32 for parameter in model.parameters() if parameter.requires_grad
    )


def test_the_frozen_model_stays_in_evaluation_mode_while_the_adapter_drops_out():
    config = TrainConfig(**SMALL | {"lora_dropout": 0.1, "gradient_checkpointing": True})
    model = load_model(config, find_base(config)).train()
    training = {name for name, module in model.decoder.named_modules() if module.training}
    assert all(
        ".lora_dropout." in name or hasattr(model.decoder.get_submodule(name), "gradient_checkpointing")
        for name in training
    )
    assert any(".lora_dropout." in name for name in training)
    assert not {name for name, module in model.eval().decoder.named_modules() if module.training}


def test_gradient_checkpointing_changes_no_weight_and_keeps_less(groups, tmp_path):
    found, kept = [], []
    for name, checkpointing in (("one", False), ("two", True)):
        n_bytes = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal n_bytes
            n_bytes += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            run(groups, tmp_path / name, epochs=1, gradient_checkpointing=checkpointing)
        found.append(weights(tmp_path / name))
        kept.append(n_bytes)
    assert same(*found)
    assert kept[1] < kept[0]


def test_training_twice_gives_the_same_weights(groups, tmp_path):
    for name in ("one", "two"):
        run(groups, tmp_path / name, epochs=1, lora_dropout=0.1, seed=3)
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(groups, tmp_path, stop_at):
    options = {"epochs": 3, "lora_dropout": 0.1, "save_every": 1, "batch_size": 3}
    assert run(groups, tmp_path / "whole", held_out=[groups], **options)

    def interrupt(line, n_steps):
        if line["step"] == stop_at and "loss" in line:
            os.kill(os.getpid(), signal.SIGINT)

    # The signal comes while step stop_at is logged, so the run stops after the one that follows.
    assert not run(groups, tmp_path / "parts", held_out=[groups], report=interrupt, **options)
    assert not (tmp_path / "parts" / "reward_model_config.json").exists()
    assert (tmp_path / "parts" / f"checkpoint-{stop_at + 1}").is_dir()
    assert run(groups, tmp_path / "parts", held_out=[groups], resume=True, **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    timing = {"tokens_per_s", "groups_per_s"}
    whole, parts = (
        [{name: value for name, value in line.items() if name not in timing} for line in lines]
        for lines in (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts"))
    )
    assert whole == parts


@pytest.mark.slow
def test_a_killed_run_that_keeps_its_best_state_resumes_to_the_same_weights(groups, tmp_path):
    class Killed(Exception):
        pass

    options = {"epochs": 4, "save_every": 3, "eval_every": 1, "learning_rate": 3e-3, "keep_best": "loss"}
    assert run(groups, tmp_path / "whole", held_out=[groups], **options)

    def kill(line, n_steps):
        if line["step"] == 6 and "loss" in line:
            raise Killed

    with pytest.raises(Killed):
        run(groups, tmp_path / "parts", held_out=[groups], report=kill, **options)
    left = {each.name for each in (tmp_path / "parts").iterdir() if each.is_dir()}
    assert "checkpoint-3" in left
    assert "checkpoint-6" not in left
    assert run(groups, tmp_path / "parts", held_out=[groups], resume=True, **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    last = [line for line in read_metrics(tmp_path / "parts" / "metrics.jsonl") if "eval_loss" in line]
    best = min(last[1:], key=lambda line: line["eval_loss"])["step"]
    assert f"of step {best}, which evaluated best" in (tmp_path / "parts" / "README.md").read_text()
    assert not list((tmp_path / "parts").glob("best-*"))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(groups, tmp_path):
    options = ["--base", BASE, "--device", "cpu", "--lora-r", "4", "--head-dim", "16", "--batch-size", "2"]
    options += ["--epochs", "3", "--save-every", "2", "--no-gradient-checkpointing"]
    command = [
        sys.executable,
        "-c",
        "from yoj_cli.cli.main import main; main()",
        "train",
        str(groups),
        *options,
    ]
    done = subprocess.run([*command, "-o", str(tmp_path / "whole")], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr
    killed = subprocess.Popen(
        [*command, "-o", str(tmp_path / "parts")], env=environment(), stderr=subprocess.PIPE
    )
    wait_until((tmp_path / "parts" / "checkpoint-4").is_dir)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "parts" / "reward_model_config.json").exists()
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "parts"), "--resume"], env=environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.parametrize("mode", ["multi", "single"])
def test_another_family_learns_by_the_same_path(groups, tmp_path, qwen_checkpoint, mode):
    options = {"base": str(qwen_checkpoint), "quant": "none", "gradient_checkpointing": True, "mode": mode}
    run(groups, tmp_path / "out", epochs=12, learning_rate=1e-2, shuffle_responses=False, **options)
    steps = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert steps[-1]["loss"] < 0.9 * steps[0]["loss"]
    judge = Judge.load(str(tmp_path / "out"), device="cpu", quant="none")
    assert judge.score(prompt="p", responses=["a", "b"], images=[tmp_path / "1.png"]).scores


def test_a_saved_state_is_a_checkpoint_that_scores(groups, tmp_path):
    run(groups, tmp_path / "out", epochs=1, save_every=1, keep=1)
    assert [path.name for path in tmp_path.glob("out/checkpoint-*")] == ["checkpoint-2"]
    groups_read = list(read_groups(str(groups)))
    last, final = (
        [
            verdict.scores
            for verdict in Judge.load(str(folder), device="cpu", max_batch_tokens=1).score_groups(groups_read)
        ]
        for folder in (tmp_path / "out" / "checkpoint-2", tmp_path / "out")
    )
    assert last == final


def test_the_separators_row_stays_as_it_was(groups, tmp_path):
    run(groups, tmp_path / "out", epochs=1)
    rows = []
    for model in (BASE, tmp_path / "out"):
        backbone = Judge.load(str(model), device="cpu", dtype="float32").backbone
        token = backbone.tokenizer.convert_tokens_to_ids("<|resp_sep|>")
        rows.append(backbone.model.get_input_embeddings().weight[token])
    assert torch.equal(*rows)


def test_a_base_inside_the_output_folder_is_named_relatively(groups, tmp_path):
    shutil.copytree(BASE, tmp_path / "judge" / "backbone")
    (tmp_path / "judge" / "backbone" / "reward_model_config.json").unlink()
    run(groups, tmp_path / "judge", base=str(tmp_path / "judge" / "backbone"), epochs=1, save_every=1)
    moved = (tmp_path / "judge").rename(tmp_path / "moved")
    for folder, name in ((moved, "backbone"), (moved / "checkpoint-2", "../backbone")):
        assert json.loads((folder / "reward_model_config.json").read_text())["base_model"] == name
        assert Judge.load(str(folder), device="cpu").score(prompt="p", responses=["a", "b"]).scores


def test_held_out_groups_are_evaluated_before_the_first_step_and_after_each_epoch(groups, tmp_path):
    run(groups, tmp_path / "out", held_out=[groups], epochs=2)
    lines = read_metrics(tmp_path / "out" / "metrics.jsonl")
    evaluations = [line for line in lines if "eval_loss" in line]
    assert [line["step"] for line in evaluations] == [0, 2, 4]
    assert {"eval_best_of_n", "eval_chance", "eval_pairs", "eval_tau", "eval_flipped"} < set(evaluations[0])
    assert evaluations[0]["eval_n_groups"] == 8
    # What is measured is what `yoj score` gives.
    judge = Judge.load(str(tmp_path / "out"), device="cpu")
    verdicts = judge.score_groups(read_groups(str(groups)))
    hits = [verdict.group.rankings[verdict.best] == 1 for verdict in verdicts]
    assert evaluations[-1]["eval_best_of_n"] == pytest.approx(sum(hits) / 8)


def test_the_judge_is_the_state_that_evaluated_best_and_the_run_stops_when_none_is_better(groups, tmp_path):
    options = {"epochs": 6, "eval_every": 1, "learning_rate": 1e-2, "save_every": 100, "early_stopping": 2}
    run(groups, tmp_path / "out", held_out=[groups], keep_best="flipped", **options)
    lines = [line for line in read_metrics(tmp_path / "out" / "metrics.jsonl") if "eval_loss" in line]
    flipped = {line["step"]: line["eval_flipped"] for line in lines if line["step"]}
    best = min(flipped, key=lambda step: (flipped[step], step))
    assert max(flipped) == best + 2 or max(flipped) == 12
    assert (
        f"of step {best:.0f}, which evaluated best by `flipped`"
        in (tmp_path / "out" / "README.md").read_text()
    )
    assert not list((tmp_path / "out").glob("best-*"))
    judge = Judge.load(str(tmp_path / "out"), device="cpu", orders=2)
    verdicts = list(judge.score_groups(read_groups(str(groups))))
    assert sum(verdict.order_agreement < 1 for verdict in verdicts) / 8 == pytest.approx(flipped[best])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"keep_best": "tau"}, "no held-out groups"), ({"early_stopping": 2}, "Add --keep-best")],
)
def test_a_best_state_needs_something_to_be_the_best_by(groups, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        prepare([groups], tmp_path / "out", TrainConfig(**SMALL | options))


def test_a_run_that_learns_nothing_is_warned_about_in_the_metrics_the_card_and_at_the_terminal(
    groups, tmp_path
):
    said = []
    config = TrainConfig(**SMALL | {"learning_rate": 1e-12, "epochs": 3, "head_std": 1e-4})
    assert train(prepare([groups], tmp_path / "out", config), say=said.append)
    assert any("the judge does not tell responses apart" in text for text in said)
    assert any("nothing has been learnt" in text for text in said)
    last = read_metrics(tmp_path / "out" / "metrics.jsonl")[-1]
    assert last["collapsed"] == last["nothing_learnt"] == 1
    assert last["spread"] < 0.01
    assert "**Warning**: over the last 6 steps" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("rate", [1.0, 100.0])
def test_a_run_that_a_huge_learning_rate_ruins_ends_with_a_warning(groups, tmp_path, rate):
    said = []
    config = TrainConfig(**SMALL | {"learning_rate": rate, "epochs": 4})
    assert train(prepare([groups], tmp_path / "out", config), say=said.append)
    assert any(text.startswith("warning: over the last 8 steps") for text in said)
    last = read_metrics(tmp_path / "out" / "metrics.jsonl")[-1]
    assert {"collapsed", "nothing_learnt", "worse_than_constant"} & last.keys()
    assert "**Warning**: over the last 8 steps" in (tmp_path / "out" / "README.md").read_text()


def test_the_folder_tells_what_was_done(groups, tmp_path):
    run(groups, tmp_path / "out", held_out=[groups], epochs=1)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"recipe.toml", "data.json", "metrics.jsonl", "curves.png", "README.md"} < found
    counts = json.loads((tmp_path / "out" / "data.json").read_text())
    assert counts["train"]["groups"] == 8
    assert counts["eval_groups_also_in_train"] == 8
    assert counts["recipe"]["lora_r"] == 8
    assert "eval" in (tmp_path / "out" / "recipe.toml").read_text()


def test_a_loss_that_is_no_number_stops_with_the_groups_line(groups, tmp_path):
    options = {"epochs": 2, "learning_rate": 1e30, "save_every": 1, "shuffle_responses": False}
    with pytest.raises(ModelError, match=r"data.jsonl:\d: the loss is (nan|inf)[\s\S]*Group '\d'"):
        run(groups, tmp_path / "out", **options)


@pytest.mark.slow
def test_a_full_disk_loses_no_earlier_state(groups, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line, n_steps):
        if line["step"] == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    options = {"epochs": 2, "save_every": 1, "keep": 5}
    try:
        with pytest.raises(ModelError, match=r"cannot be saved[\s\S]*--resume"):
            run(groups, tmp_path / "out", report=fill, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-1"]
    assert not (tmp_path / "out" / ".unfinished").exists()
    assert run(groups, tmp_path / "out", resume=True, **options)
    assert run(groups, tmp_path / "whole", **options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"learning_rate": 5e-4}, "--learning-rate was 0.0001, is 0.0005"), ({"seed": 1}, "--seed was 0, is 1")],
)
def test_a_run_is_not_resumed_with_another_recipe(groups, tmp_path, change, message):
    stop_after_two_steps(groups, tmp_path / "out")
    with pytest.raises(UsageError, match=message):
        prepare([groups], tmp_path / "out", TrainConfig(**SMALL | change), resume=True)


def test_a_run_is_not_resumed_on_other_data(groups, tmp_path):
    stop_after_two_steps(groups, tmp_path / "out")
    groups.write_text("\n".join(groups.read_text().splitlines()[::-1]) + "\n")
    with pytest.raises(UsageError, match="training data have changed"):
        prepare([groups], tmp_path / "out", TrainConfig(**SMALL), resume=True)


def stop_after_two_steps(groups: Path, out: Path) -> None:
    """The run of `SMALL`'s three epochs, interrupted."""

    def interrupt(line, n_steps):
        if line["step"] == 1:
            os.kill(os.getpid(), signal.SIGINT)

    assert not run(groups, out, report=interrupt)


def test_an_existing_run_or_checkpoint_is_not_written_over(groups, tmp_path):
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "reward_model_config.json").write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        prepare([groups], tmp_path / "done", TrainConfig(**SMALL))
    stop_after_two_steps(groups, tmp_path / "out")
    with pytest.raises(UsageError, match=r"holds a run that was interrupted \(checkpoint-2\)[\s\S]*--resume"):
        prepare([groups], tmp_path / "out", TrainConfig(**SMALL))
    with pytest.raises(UsageError, match="no saved state"):
        prepare([groups], tmp_path / "new", TrainConfig(**SMALL), resume=True)


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_learn_what_one_learns(groups, tmp_path):
    options = ["--base", BASE, "--device", "cpu", "--lora-r", "4", "--lora-dropout", "0", "--head-dim", "16"]
    options += ["--batch-size", "4", "--epochs", "2", "--eval", str(groups), "--no-gradient-checkpointing"]
    program = "from yoj_cli.cli.main import main; main()"
    script = tmp_path / "yoj_train.py"
    script.write_text(program)
    arguments = ["train", str(groups), *options, "-o"]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29577",
    ]
    for command, out in (([sys.executable], "one"), (launcher, "two")):
        done = subprocess.run(
            [*command, str(script), *arguments, str(tmp_path / out)], env=environment(), capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, weight in one.items():
        if name != "2.bias":  # moves all scores alike: its gradient is rounding, which Adam makes a step of
            torch.testing.assert_close(weight, two[name], rtol=1e-3, atol=1e-5)
    n_groups = [
        line["eval_n_groups"]
        for line in read_metrics(tmp_path / "two" / "metrics.jsonl")
        if "eval_loss" in line
    ]
    assert n_groups == [8, 8, 8]


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_that_share_groups_unevenly_learn_what_one_learns(write_lines, tmp_path):
    """Of 5 groups in steps of 4, one process has two and one, and the other two and none."""
    records = [
        {"prompt": f"p {n}", "responses": [f"yes {n}", "no no", f"{n} or so"], "rankings": [2, 1, 3]}
        for n in range(5)
    ]
    data, base = write_lines(*records), make_base(tmp_path / "base", "llama")
    options = ["--base", str(base), "--device", "cpu", "--quant", "none", "--lora-r", "4", "--head-dim", "16"]
    options += ["--lora-dropout", "0", "--batch-size", "4", "--epochs", "2", "--eval", str(data)]
    options += ["--keep-best", "loss", "--learning-rate", "1e-2", "--no-gradient-checkpointing"]
    script = tmp_path / "yoj_train.py"
    script.write_text("from yoj_cli.cli.main import main; main()")
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29585"]
    for command, out in (([], "one"), (launcher, "two")):
        arguments = [*command, str(script), "train", str(data), *options, "-o", str(tmp_path / out)]
        done = subprocess.run([sys.executable, *arguments], env=environment(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    one, two = ([*read_metrics(tmp_path / out / "metrics.jsonl")] for out in ("one", "two"))
    assert [line["step"] for line in one] == [line["step"] for line in two]
    names = {"loss", "best_of_n", "constant_loss", "spread", "eval_loss", "eval_n_groups"}
    for mine, theirs in zip(one, two, strict=True):
        found = {name: theirs[name] for name in names & theirs.keys()}
        assert {name: mine[name] for name in names & mine.keys()} == pytest.approx(found, rel=1e-4)


TRAIN_WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import OutOfMemoryError
from yoj_cli.train.prepare import prepare
from yoj_cli.train.run import train

def limit(line, n_steps):
    if line["step"] == 2:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 10_000_000, -1))

data, base = Path(sys.argv[1]), sys.argv[2]
config = TrainConfig(
    base=base, device="cpu", lora_r=8, head_dim=32, batch_size=1, epochs=1, seed=4, save_every=1,
    gradient_checkpointing=False,
)
try:
    train(prepare([data], data.parent / "out", config), report=limit)
except OutOfMemoryError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits its own memory by what /proc says")
def test_memory_that_runs_out_is_an_error_that_names_the_group_and_what_to_change(write_lines, tmp_path):
    short, long = ["a", "b"], [" ".join(f"w{i * j % 97}" for j in range(140)) for i in range(10)]
    records = [
        {"prompt": f"p{index}", "responses": responses, "rankings": [*range(1, len(responses) + 1)]}
        for index, responses in enumerate([short, short, short, long])
    ]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_WITH_LITTLE_MEMORY, str(write_lines(*records)), BASE],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert re.search(r"data\.jsonl:4: out of memory on a group of \d{4} tokens", done.stdout), done.stderr
    assert "--gradient-checkpointing" in done.stdout
    assert "--resume goes on" in done.stdout
    assert (tmp_path / "out" / "checkpoint-2").is_dir()
