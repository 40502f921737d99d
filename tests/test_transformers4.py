"""What transformers 5 writes, in the form that transformers 4 reads too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.adapters import BASE, make_adapter
from yoj_cli import Judge
from yoj_cli.checkpoint.merge import merge
from yoj_cli.checkpoint.transformers4 import with_rotary_for_4
from yoj_cli.config.judge import JudgeConfig

PINNED = "transformers==4.57.3"
GROUP = {"prompt": "what is it?", "responses": ["a red dog", "two cats <|im_end|>", "the sky"]}
READ = """
import json, sys
from transformers import AutoConfig, AutoTokenizer
folder, is_native, text = sys.argv[1], sys.argv[2] == "True", sys.argv[3]
tokenizer = AutoTokenizer.from_pretrained(folder)
found = {"ids": tokenizer(text)["input_ids"], "template": bool(tokenizer.chat_template)}
if is_native:
    config = AutoConfig.from_pretrained(folder).text_config
    found |= {"theta": config.rope_theta, "scaling": config.rope_scaling}
print(json.dumps(found))
"""


def merged_with(base, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", base)
    merge(JudgeConfig(model=str(adapter)), tmp_path / "merged")
    return tmp_path / "merged"


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("family", ["molmo2", "qwen3_vl"])
def test_a_merged_folder_has_the_classes_and_files_of_the_released_code(qwen_checkpoint, tmp_path, family):
    folder = merged_with(BASE if family == "molmo2" else qwen_checkpoint, tmp_path)
    tokenizer = read(folder / "tokenizer_config.json")
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "<|resp_sep|>" in tokenizer["additional_special_tokens"]
    assert isinstance(tokenizer["extra_special_tokens"], dict)  # a list is more than 4 can read
    inner = {"image_processor", "video_processor"} & read(folder / "processor_config.json").keys()
    assert not inner  # 4 would take the dictionaries for the processors themselves
    assert "image_processor_type" in read(folder / "preprocessor_config.json")
    assert "video_processor_type" in read(folder / "video_preprocessor_config.json")
    assert read(folder / "config.json")["text_config"]["rope_theta"] == 10000.0


def test_the_form_for_both_gives_transformers_5_the_same_processors(tmp_path):
    from transformers import AutoConfig, AutoProcessor

    folder = merged_with(BASE, tmp_path)
    ours, wanted = (AutoProcessor.from_pretrained(each) for each in (folder, tmp_path / "adapter"))
    for name in ("image_processor", "video_processor"):
        assert getattr(ours, name).to_dict() == getattr(wanted, name).to_dict()
    texts = [AutoConfig.from_pretrained(each).text_config for each in (folder, BASE)]
    assert texts[0].rope_parameters == texts[1].rope_parameters


def test_rotary_settings_are_said_in_both_forms():
    scaled = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2]}
    found = with_rotary_for_4({"text_config": {"rope_parameters": scaled}})["text_config"]
    assert found["rope_parameters"] == scaled
    assert (found["rope_theta"], found["rope_scaling"]) == (
        1e6,
        {"rope_type": "default", "mrope_section": [4, 2, 2]},
    )
    plain = with_rotary_for_4({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}})
    assert (plain["rope_theta"], plain["rope_scaling"]) == (1e4, None)
    released = {"rope_theta": 5e6, "rope_scaling": None}
    assert with_rotary_for_4(released) == released


@pytest.fixture(scope="module")
def pinned_python(tmp_path_factory):
    """A Python with the transformers that the released code is pinned to, and without torch."""
    folder = tmp_path_factory.mktemp("transformers4")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", PINNED, "jinja2"], capture_output=True, text=True, timeout=280
    )
    if installed.returncode:
        pytest.skip(f"{PINNED} cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    yield python
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["molmo2", "qwen3_vl"])
def test_the_pinned_transformers_reads_the_same_ids(pinned_python, qwen_checkpoint, tmp_path, family):
    folder = merged_with(BASE if family == "molmo2" else qwen_checkpoint, tmp_path)
    tokenizer = Judge.load(str(folder), device="cpu", quant="none").backbone.tokenizer
    text = "<|im_start|>user\n" + "\n\n<|resp_sep|>\n\n".join(GROUP["responses"])
    done = subprocess.run(
        [pinned_python, "-c", READ, folder, str(family == "qwen3_vl"), text],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(folder).parent,
        env={"HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["ids"] == tokenizer(text)["input_ids"]
    assert found["template"]
    if family == "qwen3_vl":
        assert found["theta"] == 10000.0
        assert found["scaling"]["mrope_section"] == [4, 2, 2]
