"""`yoj info`: what is installed, what the machine has, and which judge would be used."""

from __future__ import annotations

import json
import platform
import sys
from typing import Annotated, Any

import typer

from yoj_cli.cli.options import with_options
from yoj_cli.config import JudgeConfig
from yoj_cli.errors import YojError
from yoj_cli.version import __version__

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


@with_options(judge=JudgeConfig)
def info(
    judge: JudgeConfig,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show versions, the device, and the judge that would be used: what it needs and what is here already."""
    facts = {"yoj": __version__, "python": platform.python_version(), "libraries": _libraries()}
    facts |= {"machine": _machine(), "judge": _judge(judge.resolved())}
    sys.stdout.write(json.dumps(facts, indent=2) + "\n" if as_json else _render(facts))


def _libraries() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
    }


def _judge(config: JudgeConfig) -> dict[str, Any]:
    """The judge these options name; nothing is downloaded and no weights are read."""
    from yoj_cli.judge.backbone import resolve_device, resolve_dtype
    from yoj_cli.judge.checkpoint import describe_local

    facts = {"model": config.model, "quant": config.quant, **describe_local(config)}
    try:
        device = resolve_device(config, embedded=config.model == "demo")
        facts |= {"device": str(device), "dtype": str(resolve_dtype(config, device)).removeprefix("torch.")}
    except YojError as error:
        facts |= {"device": f"none usable: {error.what}"}
    return facts


def _render(facts: dict[str, Any], indent: str = "") -> str:
    lines = ""
    for name, value in facts.items():
        title = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict):
            lines += f"{title}\n{_render(value, indent + '  ')}"
        elif isinstance(value, list):
            lines += (
                f"{title:<18}{', '.join(' '.join(map(str, item.values())) for item in value) or 'none'}\n"
            )
        else:
            lines += f"{title:<18}{value}\n"
    return lines
