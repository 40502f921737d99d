"""Loading, scoring and closing in somebody else's program leave that program as it was."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading

import pytest
from transformers.utils import logging as transformers_logging

from tests.conftest import PARITY
from tests.processes import environment
from yoj_cli import Judge
from yoj_cli.errors import ModelError
from yoj_cli.model.side_effects import LOGGERS, quietly

PROGRAM = """if True:
    import json, logging, os, random, signal, sys, warnings
    import bitsandbytes, huggingface_hub.utils, numpy, peft, torch, transformers
    from PIL import Image
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.utils import logging as transformers_logging

    def state():
        loggers = logging.root.manager.loggerDict.items()
        return {
            "levels": {
                name: (logger.level, logger.disabled, logger.propagate, len(logger.handlers), len(logger.filters))
                for name, logger in [("root", logging.root), *loggers] if isinstance(logger, logging.Logger)
            },
            "disabled": logging.root.manager.disable,
            "progress bars": [
                transformers_logging.is_progress_bar_enabled(),
                str(transformers_logging._tqdm_hook),
                huggingface_hub.utils.are_progress_bars_disabled(),
            ],
            "warnings": [str(warnings.filters), str(warnings.showwarning)],
            "random": str(random.getstate()),
            "numpy": str(numpy.random.get_state()),
            "torch": torch.get_rng_state().tolist(),
            "dtype": str(torch.get_default_dtype()),
            "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
            "modes": [torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
                      torch.get_float32_matmul_precision()],
            "environment": dict(os.environ),
            "folder": [os.getcwd(), *sys.path],
            "signals": {int(each): str(signal.getsignal(each)) for each in signal.valid_signals()},
            "hooks": [str(sys.excepthook), str(sys.unraisablehook)],
            "attention": sorted({*AttentionInterface._global_mapping, *AttentionMaskInterface._global_mapping}),
        }

    import yoj_cli
    before = state()
    judge = yoj_cli.Judge.load(sys.argv[1], device="cpu", quant=sys.argv[2])
    loaded = state()
    verdict = judge.score(prompt="p", images=[Image.new("RGB", (64, 64), "red")], responses=["a", "b"])
    list(judge.score_groups([{"prompt": "p", "responses": ["a"]}, {"images": ["nowhere.png"], "responses": ["a"]}]))
    judge.close()
    print(json.dumps([before, loaded, state()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("quant", ["none", "4bit"])
def test_loading_scoring_and_closing_leave_the_host_as_it_was(adapter_checkpoint, tmp_path, quant):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(adapter_checkpoint), quant],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        check=True,
    )
    before, *later = json.loads(done.stdout)
    for after in later:
        new = {name: state for name, state in after["levels"].items() if name not in before["levels"]}
        assert set(map(tuple, new.values())) <= {(logging.NOTSET, False, True, 0, 0)}  # modules just imported
        after["levels"] = {name: after["levels"][name] for name in before["levels"]}
        assert set(after["attention"]) - set(before["attention"]) <= {"yoj_branches"}
        after["attention"] = before["attention"]
        assert after == before
    assert "Loading weights" not in done.stderr


def levels():
    return [logging.getLogger(name).level for name in LOGGERS]


def test_a_load_that_fails_leaves_the_host_as_it_was(tmp_path):
    before = levels(), transformers_logging.set_tqdm_hook(None)
    (tmp_path / "reward_model_config.json").write_text("{}")
    with pytest.raises(ModelError):
        Judge.load(str(tmp_path), device="cpu")
    assert (levels(), transformers_logging.set_tqdm_hook(None)) == before


def test_loads_in_threads_give_back_what_was_before_the_first():
    before = levels()
    together, seen = threading.Barrier(4), []

    def load():
        together.wait()
        for _ in range(20):
            with quietly(), quietly():
                seen.append(levels())

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert levels() == before
    assert {tuple(each) for each in seen} == {(logging.ERROR,) * len(LOGGERS)}


def test_what_the_host_sets_meanwhile_stays():
    logger = logging.getLogger(LOGGERS[1])
    level = logger.level
    hook = transformers_logging.set_tqdm_hook(None)
    try:
        with quietly():
            logger.setLevel(logging.DEBUG)
            transformers_logging.set_tqdm_hook(print)
        assert logger.level == logging.DEBUG
        assert transformers_logging.set_tqdm_hook(None) is print
    finally:
        logger.setLevel(level)
        transformers_logging.set_tqdm_hook(hook)


def test_only_the_loading_thread_shows_no_progress_bars(capsys):
    def show():
        for _ in transformers_logging.tqdm(range(2), desc="host"):
            pass

    with quietly():
        show()
        assert "host" not in capsys.readouterr().err
        thread = threading.Thread(target=show)
        thread.start()
        thread.join()
        assert "host" in capsys.readouterr().err


def test_a_load_draws_none_of_the_hosts_random_numbers():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Judge.load(str(PARITY / "checkpoint"), device="cpu", quant="none")
    assert torch.equal(torch.rand(3), expected)


def test_a_judge_is_loaded_whole_in_a_host_that_spreads_its_own_model(monkeypatch):
    from transformers.integrations import deepspeed

    class Zero3:
        def is_zero3(self):
            return True

    host = Zero3()  # transformers refers to it weakly
    monkeypatch.setattr(deepspeed, "_hf_deepspeed_config_weak_ref", None)
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "true")
    expected = Judge.load(str(PARITY / "checkpoint"), device="cpu", quant="none").score(
        prompt="p", responses=["a"]
    )
    deepspeed.set_hf_deepspeed_config(host)
    judge = Judge.load(str(PARITY / "checkpoint"), device="cpu", quant="none")
    assert judge.score(prompt="p", responses=["a"]).scores == expected.scores
    assert deepspeed.is_deepspeed_zero3_enabled()
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "true"
