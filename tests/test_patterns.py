"""Which layers an adapter names: as PEFT reads it, and without a stranger's expression running in this process."""

from __future__ import annotations

import time

import pytest

from yoj_cli.errors import CheckpointError
from yoj_cli.model import patterns
from yoj_cli.model.patterns import named_layers, values_by_layer

LAYERS = [
    f"{root}language_model.layers.{number}.{leaf}"
    for root in ("", "model.")
    for number in (0, 1, 10)
    for leaf in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "mlp.experts.3.up_proj")
]
CONFIGS = [
    {"target_modules": ["q_proj"]},
    {"target_modules": ["self_attn.q_proj", "up_proj"]},
    {"target_modules": ["language_model.layers.0.self_attn.q_proj"]},
    {"target_modules": r".*\.(q|k)_proj"},
    {"target_modules": r"(.*\.)?language_model\..*\.(q_proj|up_proj)"},
    {"target_modules": r"(?i).*Q_PROJ"},
    {"target_modules": "q_proj"},
    {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["k_proj"]},
    {"target_modules": r".*_proj", "exclude_modules": r".*layers\.1\..*"},
    {"target_modules": ["up_proj"], "layers_to_transform": [0, 10]},
    {"target_modules": ["up_proj"], "layers_to_transform": 1},
    {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": ["layers"]},
    {"target_modules": ["up_proj"], "layers_to_transform": [3], "layers_pattern": ["h", "experts"]},
    {"target_modules": ["up_proj"], "layers_to_transform": [1], "layers_pattern": "blocks"},
    {"target_modules": ["up_proj"], "layers_to_transform": [], "layers_pattern": "layers"},
]


@pytest.mark.parametrize("given", CONFIGS, ids=str)
def test_layers_are_named_as_in_peft(given):
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    config = LoraConfig(**given)
    wanted = {name for name in LAYERS if check_target_module_exists(config, name)}
    assert named_layers(config, LAYERS, where="adapter_config.json") == wanted


def test_values_by_pattern_are_those_of_peft():
    from peft.utils.other import get_pattern_key

    by_pattern = {
        "layers.0.self_attn.q_proj": 1,
        r"layers\.(0|1)\..*": 2,
        "up_proj": 3,
        "proj": 4,
        r"^model.*k_proj": 5,
    }
    layers = {f"own {place}": name for place, name in enumerate(LAYERS)}
    keys = {own: get_pattern_key(by_pattern, name) for own, name in layers.items()}
    wanted = {own: by_pattern[key] for own, key in keys.items() if key in by_pattern}
    assert values_by_layer(by_pattern, layers, where="adapter_config.json") == wanted
    assert len(set(wanted.values())) == 4


def test_an_expression_that_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr(patterns, "MATCH_S", 0.5)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: .* did not come to an end") as caught:
        values_by_layer({r"(\w+\.?)+-": 4}, {"own": LAYERS[0]}, where="adapter_config.json")
    assert "target_modules" in caught.value.hint
    assert time.monotonic() - start < 10


def test_an_expression_that_is_none_in_its_place_is_an_error():
    with pytest.raises(CheckpointError, match="cannot be used"):
        values_by_layer({"(?i)q_proj": 4}, {"own": LAYERS[0]}, where="adapter_config.json")


def test_plain_names_start_no_process(monkeypatch):
    monkeypatch.setattr(patterns, "_match_apart", None)
    assert values_by_layer({"q_proj": 4}, {"own": LAYERS[0]}, where="") == {"own": 4}
