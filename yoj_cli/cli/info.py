"""`yoj info`: what is installed, what the machine has, and which judge would be used."""

from __future__ import annotations

import json
import os
import platform
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.config.io import OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import DeviceError, ModelError
from yoj_cli.version import __version__, installed

if TYPE_CHECKING:
    from yoj_cli.checkpoint.read import Checkpoint

LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "pillow",
    "decord",
    "av",
)
NAME_WIDTH = 15


@with_options(judge=JudgeConfig)
def info(
    judge: JudgeConfig,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show versions, the machine, and the judge that would be used.

    Nothing is downloaded and no weights are read.
    """
    facts = {
        "yoj": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "libraries": installed(LIBRARIES),
        "machine": _machine(),
        "judge": _judge(judge),
    }
    with open_output(OutputConfig(json=as_json)) as stream, writing(stream):
        width = shutil.get_terminal_size().columns if stream.isatty() else None
        stream.write(json.dumps(facts, indent=2) + "\n" if as_json else _render(facts, width))
        stream.flush()


def _machine() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
    }


def _judge(config: JudgeConfig) -> dict[str, Any]:
    """The judge that these options name, where its files lie, and what `auto` stands for."""
    from yoj_cli.checkpoint.read import find_base, find_processor, read_checkpoint

    chosen_by = "--model" if config.model else "$YOJ_MODEL" if os.environ.get("YOJ_MODEL") else "default"
    config = config.resolved()
    facts: dict[str, Any] = {"model": config.model, "chosen_by": chosen_by}
    places: dict[str, Any] = {"checkpoint": {"folder": None, "size_gb": None, "problem": None}, "base": None}
    places["separator"] = None
    try:
        checkpoint = read_checkpoint(config, local_only=True)
    except ModelError as error:
        places["checkpoint"]["problem"] = str(error.what)
        return facts | _resolved(config) | places
    places["checkpoint"] |= _place(checkpoint.folder)
    base = None
    try:
        base = find_base(checkpoint, local_only=True)
    except ModelError as error:
        places["base"] = {
            "name": checkpoint.base_model,
            "folder": None,
            "size_gb": None,
            "problem": error.what,
        }
    else:
        places["separator"] = _separator(checkpoint, find_processor(checkpoint, base))
        if checkpoint.base_model is not None:
            places["base"] = {"name": checkpoint.base_model, **_place(base), "problem": None}
    return facts | _resolved(config, checkpoint, base) | places


def _resolved(
    config: JudgeConfig, checkpoint: Checkpoint | None = None, base: Path | None = None
) -> dict[str, Any]:
    """Device, compute type and quantization as they would be; None where that is not known.

    Args:
        checkpoint, base: what is known of the judge, where its files are on this machine.
    """
    from yoj_cli.checkpoint.read import judge_bytes
    from yoj_cli.model.device import resolve_device
    from yoj_cli.model.load import resolve_stored
    from yoj_cli.model.precision import UNSTATED, dtype_name, resolve_dtype

    facts: dict[str, Any] = {"device": None, "dtype": None, "quant": None, "device_problem": None}
    trained = checkpoint.trained if checkpoint else UNSTATED
    try:
        device = resolve_device(config, judge_bytes(checkpoint) if checkpoint and base else None)
        dtype = resolve_dtype(config.dtype, device, trained.dtype)
        facts |= {"device": str(device), "dtype": dtype_name(dtype)}
        if base:
            facts["quant"] = resolve_stored(config.quant, device, dtype, base, trained)
    except (DeviceError, ModelError) as error:
        facts["device_problem"] = str(error)
    return facts


def _separator(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """What the tokenizer knows of the separator: the id it is registered as when the judge is loaded, or None."""
    from yoj_cli.sequence.tokens import unregistered_separator

    facts: dict[str, Any] = {"text": checkpoint.separator, "registered_at_load_as": None, "problem": None}
    try:
        facts["registered_at_load_as"] = unregistered_separator(folder, checkpoint.separator)
    except ModelError as error:
        facts["problem"] = error.what
    return facts


def _place(folder: Path) -> dict[str, Any]:
    n_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"folder": str(folder), "size_gb": round(n_bytes / 1e9, 3)}


def _render(facts: dict[str, Any], width: int | None) -> str:
    machine, judge = facts["machine"], facts["judge"]
    gpus = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in machine["gpus"]]
    quant = {None: "", "none": ", unquantized"}.get(judge["quant"], f", {judge['quant']}")
    device = judge["device_problem"] or f"{judge['device']}, {judge['dtype']}{quant}"
    separator = _render_separator(judge["separator"])
    rows = [
        ("yoj", facts["yoj"]),
        ("python", facts["python"]),
        ("system", facts["system"]),
        *[(name, version or "not installed") for name, version in facts["libraries"].items()],
        ("", ""),
        ("CPU threads", str(machine["cpu_threads"])),
        ("GPU", "\n".join(gpus) or "none"),
        ("CUDA", f"{machine['cuda']} (torch's own)" if machine["cuda"] else "this torch has none"),
        ("", ""),
        ("judge", f"{judge['model']} ({judge['chosen_by']})"),
        ("files", _render_place(judge["checkpoint"])),
        *(
            [("backbone", f"{judge['base']['name']}\n{_render_place(judge['base'])}")]
            if judge["base"]
            else []
        ),
        *([("separator", separator)] if separator else []),
        ("runs on", device),
    ]
    return "".join(_render_row(name, value, width) for name, value in rows)


def _render_separator(separator: dict[str, Any] | None) -> str | None:
    """Only what is out of the ordinary."""
    if separator is None or (separator["problem"] is None and separator["registered_at_load_as"] is None):
        return None
    token_id = separator["registered_at_load_as"]
    return (
        separator["problem"]
        or f"not in the tokenizer; registered as token {token_id} when the judge is loaded"
    )


def _render_place(place: dict[str, Any]) -> str:
    from yoj_cli.render.wording import render_size

    return place["problem"] or f"{place['folder']} ({render_size(1e9 * place['size_gb'])})"


def _render_row(name: str, value: str, width: int | None) -> str:
    from yoj_cli.render.wording import visible

    lines = visible(value).split("\n")
    if width is not None:
        room = max(width - NAME_WIDTH, 30)
        lines = [part for line in lines for part in textwrap.wrap(line, room, break_long_words=False) or [""]]
    names = [name] + [""] * (len(lines) - 1)
    return "".join(
        f"{title:<{NAME_WIDTH}}{line}".rstrip() + "\n" for title, line in zip(names, lines, strict=True)
    )
