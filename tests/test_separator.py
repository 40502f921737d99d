"""A tokenizer that does not know the separator, as the official merge script can leave it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import PARITY, Run
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError
from yoj_cli.storage.names import TOKENIZER_FILES

MERGED = PARITY / "checkpoint"
OLD_ID, NEW_ID = 13, 600
GROUP = {"prompt": "Which dog?", "responses": ["the dog", "a cat in the park", "two dogs"]}


def load(folder: Path) -> Judge:
    return Judge.load(str(folder), device="cpu", quant="none", dtype="float32")


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forget_separator(folder: Path) -> None:
    """Take it from the tokenizer; its old id becomes a word that no text holds."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] != OLD_ID]
    content["model"]["vocab"] = {
        "nothing spells this" if index == OLD_ID else word: index
        for word, index in content["model"]["vocab"].items()
    }
    path.write_text(json.dumps(content))
    edit_json(folder / "tokenizer_config.json", extra_special_tokens=[])


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """The parity judge with the base's tokenizer, its separator in the embedding's last row."""
    folder = shutil.copytree(MERGED, tmp_path / "merged")
    forget_separator(folder)
    weights = load_file(folder / "model.safetensors")
    names = {name.rpartition(".")[2]: name for name in weights if ".wte." in name}
    embedding, more = weights[names["embedding"]], weights[names["new_embedding"]]
    weights |= {
        names["embedding"]: embedding,
        names["new_embedding"]: torch.cat([more, embedding[OLD_ID : OLD_ID + 1]]),
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {
        "vocab_size": embedding.shape[0],
        "additional_vocab_size": more.shape[0] + 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def adapter(merged: Path, adapter_checkpoint: Path, tmp_path: Path) -> Path:
    """An adapter on that backbone, whose tokenizer does not know the separator either."""
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "adapter")
    for name in TOKENIZER_FILES:
        (folder / name).unlink(missing_ok=True)
        if (merged / name).is_file():
            shutil.copy(merged / name, folder / name)
    edit_json(folder / "reward_model_config.json", base_model=str(merged))
    return folder


def test_it_is_registered_at_the_next_free_id_and_scores_as_its_row_says(merged: Path) -> None:
    judge = load(merged)
    assert judge.backbone.tokenizer.convert_tokens_to_ids("<|resp_sep|>") == NEW_ID
    assert judge.score(**GROUP).scores == load(MERGED).score(**GROUP).scores


def test_it_is_said_in_the_judge_and_not_where_the_tokenizer_knows_it(merged: Path) -> None:
    assert load(merged).description["separator_registered_as"] == NEW_ID
    assert "separator_registered_as" not in load(MERGED).description


def test_info_says_it(merged: Path, yoj: Run) -> None:
    code, out, err = yoj("info", "-m", merged, "--device", "cpu")
    assert (code, err) == (0, "")
    assert f"not in the tokenizer; registered as token {NEW_ID} when the judge is loaded" in out
    code, out, err = yoj("info", "--json", "-m", merged, "--device", "cpu")
    assert json.loads(out)["judge"]["separator"]["registered_at_load_as"] == NEW_ID
    assert "registered" not in yoj("info", "-m", MERGED, "--device", "cpu")[1]


def test_without_a_row_for_it_nothing_is_made_up(tmp_path: Path) -> None:
    folder = shutil.copytree(MERGED, tmp_path / "merged")
    forget_separator(folder)
    with pytest.raises(
        CheckpointError, match=r"no embedding row for the separator: its id is 600, the rows are 600"
    ):
        load(folder)


def test_another_token_is_not_registered(merged: Path) -> None:
    edit_json(merged / "reward_model_config.json", separator="\n\n<|other|>\n\n")
    with pytest.raises(CheckpointError, match="must hold one special token of the tokenizer, found 0"):
        load(merged)


@pytest.mark.parametrize("has_tokenizer", [True, False])
def test_an_adapter_without_it_scores_and_merges(
    adapter: Path, adapter_checkpoint: Path, tmp_path: Path, has_tokenizer: bool
) -> None:
    if not has_tokenizer:  # as the official trainer's states between epochs
        for name in (*TOKENIZER_FILES, "chat_template.jinja", "processor_config.json"):
            (adapter / name).unlink(missing_ok=True)
    wanted = load(adapter_checkpoint).score(**GROUP).scores
    judge = load(adapter)
    assert judge.description["separator_registered_as"] == NEW_ID
    assert judge.score(**GROUP).scores == wanted
    merge(JudgeConfig(model=str(adapter)), tmp_path / "again")
    assert load(tmp_path / "again").score(**GROUP).scores == pytest.approx(wanted, abs=1e-5)
