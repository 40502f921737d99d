"""yoj: score N candidate responses in one forward pass, on your own machine.

>>> from yoj_cli import Judge, read_groups
>>> with Judge.load("demo") as judge:
...     judge.score(prompt="…", images=["scene.png"], responses=["a red circle", "a blue star"]).best
...     for verdict in judge.score_groups(read_groups("candidates.jsonl")):
...         ...

Importing this package is cheap; torch and transformers are imported when `Judge` is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoj_cli.version import __version__

if TYPE_CHECKING:
    from yoj_cli.client.judge import RemoteJudge
    from yoj_cli.errors import (
        CheckpointError,
        DeadlineError,
        DeviceError,
        InputError,
        MediaError,
        ModelError,
        OutOfMemoryError,
        ServerError,
        TooLongError,
        UnexpectedError,
        UsageError,
        YojError,
    )
    from yoj_cli.groups import Failure, Group, Media, Message
    from yoj_cli.media.options import MediaOptions
    from yoj_cli.records.parse import read_groups
    from yoj_cli.scoring.judge import Judge
    from yoj_cli.verdicts.verdict import Verdict

__all__ = [
    "CheckpointError",
    "DeadlineError",
    "DeviceError",
    "Failure",
    "Group",
    "InputError",
    "Judge",
    "Media",
    "MediaError",
    "MediaOptions",
    "Message",
    "ModelError",
    "OutOfMemoryError",
    "RemoteJudge",
    "ServerError",
    "TooLongError",
    "UnexpectedError",
    "UsageError",
    "Verdict",
    "YojError",
    "__version__",
    "read_groups",
]

_MODULES = {
    "yoj_cli.client.judge": ("RemoteJudge",),
    "yoj_cli.errors": tuple(name for name in __all__ if name.endswith("Error")),
    "yoj_cli.groups": ("Failure", "Group", "Media", "Message"),
    "yoj_cli.media.options": ("MediaOptions",),
    "yoj_cli.records.parse": ("read_groups",),
    "yoj_cli.scoring.judge": ("Judge",),
    "yoj_cli.verdicts.verdict": ("Verdict",),
}


if not TYPE_CHECKING:  # a type checker would take it that every name is there

    def __getattr__(name: str) -> Any:
        for module, names in _MODULES.items():
            if name in names:
                from importlib import import_module

                return getattr(import_module(module), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
