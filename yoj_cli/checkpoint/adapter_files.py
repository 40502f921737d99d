"""An adapter's two files: `adapter_config.json` and `adapter_model.safetensors`, in PEFT's format.

PEFT's own reader takes whatever the file says, and some of it makes PEFT import modules, change the base's weights
or wrap other layers. Here, what is known is read, and what would have an effect beyond that is refused by name.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, empty

from yoj_cli.errors import CheckpointError
from yoj_cli.storage.files import read_json, read_weights, translate_load_errors
from yoj_cli.storage.names import ADAPTER_CONFIG, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    from peft import LoraConfig  # slow to import


INNOCENT_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the base's weights as they are."""

MAX_PATTERNS, MAX_CHARS = 20_000, 4096
"""Of names of layers, and of the characters of one; target_modules in one expression has some hundred."""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 20


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_pattern(value: Any) -> bool:
    """A regular expression, or a list of them, that compiles."""
    patterns = value if isinstance(value, list) else [value]
    if len(patterns) > MAX_PATTERNS or any(
        isinstance(each, str) and len(each) > MAX_CHARS for each in patterns
    ):
        return False
    try:
        for pattern in patterns:
            re.compile(pattern)
    except (re.error, TypeError, RecursionError, OverflowError):
        return False
    return all(isinstance(pattern, str) for pattern in patterns)


def _by_pattern(is_value: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MAX_PATTERNS
        and all(_is_pattern(key) and is_value(each) for key, each in value.items())
    )


def _is_layer_numbers(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)


READ: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "r": (_is_count, "a positive number"),
    "lora_alpha": (_is_number, "a number"),
    "lora_dropout": (lambda value: _is_number(value) and 0 <= value < 1, "a number from 0 to 1"),
    "target_modules": (_is_pattern, "a list of names or a regular expression"),
    "exclude_modules": (_is_pattern, "a list of names or a regular expression"),
    "layers_to_transform": (_is_layer_numbers, "a list of numbers"),
    "layers_pattern": (_is_pattern, "a list of names or a regular expression"),
    "rank_pattern": (_by_pattern(_is_count), "positive numbers by name"),
    "alpha_pattern": (_by_pattern(_is_number), "numbers by name"),
    "fan_in_fan_out": (_is_bool, "true or false"),
    "use_rslora": (_is_bool, "true or false"),
    "use_dora": (_is_bool, "true or false"),
    "lora_bias": (_is_bool, "true or false"),
}
"""Keys that say how the adapter computes: what their values are, and how to say so. null means the default."""

SET_HERE = ("peft_type", "init_lora_weights")
IGNORED = ("base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version")
"""Keys that change nothing here: the base is found by other means, and nothing is trained."""


def read_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Read an adapter's configuration and weights.

    Returns:
        (configuration, weights under the names of PEFT's format).
    Raises:
        CheckpointError: one of the files is missing, damaged, or not of a LoRA that is read here.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise CheckpointError(
            "the adapter's weights are missing",
            where=str(folder / ADAPTER_WEIGHTS),
            hint="Pickled adapters are not read.",
        )
    return read_lora_config(folder / ADAPTER_CONFIG), read_weights(folder / ADAPTER_WEIGHTS)


def read_adapter_shapes(folder: Path) -> dict[str, Tensor]:
    """An adapter's weights under the names of PEFT's format, on the meta device: of the file, the header is read.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    from safetensors import safe_open

    path = folder / ADAPTER_WEIGHTS
    with translate_load_errors("the adapter's weights", path), safe_open(path, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return {name: empty(shape, device="meta") for name, shape in shapes.items()}


def write_adapter(
    folder: Path, adapter: LoraConfig, weights: dict[str, Tensor], base_model: str, base_revision: str | None
) -> None:
    """Write an adapter in PEFT's format.

    Args:
        weights: A (r, in) and B (out, r) under the names of PEFT's format.
    """
    from safetensors.torch import save_file

    adapter.base_model_name_or_path = base_model
    adapter.revision = base_revision
    adapter.save_pretrained(str(folder))
    on_cpu: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, weight in weights.items():
        # safetensors refuses two names of one memory, which the parts of a fused layer may share.
        on_cpu[name] = weight.detach().to("cpu", copy=id(weight) in seen).contiguous()
        seen.add(id(weight))
    save_file(on_cpu, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})


def read_lora_config(path: Path) -> LoraConfig:
    """Read an adapter's configuration.

    Args:
        path: `adapter_config.json`.
    Raises:
        CheckpointError: it is no JSON object, not of a LoRA, or has a value that is not read here.
    """
    from peft import LoraConfig

    raw = read_json(path)
    if raw.get("peft_type") != "LORA":
        raise CheckpointError(
            f"the adapter is {reprlib.repr(raw.get('peft_type'))}, only LoRA is read", where=str(path)
        )
    start = raw.get("init_lora_weights", True)
    if start not in INNOCENT_STARTS:
        raise CheckpointError(
            f"the adapter was started with {start!r}, which changes the base's own weights: not read",
            where=str(path),
            hint="PEFT can save it as a plain LoRA (path_initial_model_for_weight_conversion).",
        )
    defaults = _defaults(LoraConfig)
    known: dict[str, Any] = {}
    for key, value in raw.items():
        if key in READ:
            is_right, kind = READ[key]
            if value is not None and not is_right(value):
                raise CheckpointError(f"{key} is {reprlib.repr(value)}, not {kind}", where=str(path))
            if value is not None:
                known[key] = value
        elif key not in (*SET_HERE, *IGNORED) and value and value != defaults.get(key):
            raise CheckpointError(
                f"{key} is {reprlib.repr(value)}; yoj reads no adapter that needs it", where=str(path)
            )
    if known.get("target_modules") is None:
        raise CheckpointError("target_modules is missing", where=str(path))
    with translate_load_errors("the adapter's configuration", path):
        # Its weights come from the file: they need no start, which would also draw random numbers.
        return LoraConfig(**known, init_lora_weights=False)


def _defaults(config: type) -> dict[str, Any]:
    """What PEFT writes for what nobody chose."""
    return {item.name: item.default for item in fields(config) if item.default is not MISSING}
