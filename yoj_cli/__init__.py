"""yoj: score N candidate responses in one forward pass, on your own machine.

>>> from yoj_cli import Judge
>>> judge = Judge.load("demo")
>>> judge.score(prompt="…", images=["scene.png"], responses=["a red circle", "a blue star"]).best

Importing this package is cheap; torch and transformers are imported when `Judge` is first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoj_cli.version import __version__

if TYPE_CHECKING:
    from yoj_cli.judge.judge import Judge
    from yoj_cli.outputs.ranking import Verdict

__all__ = ["Judge", "Verdict", "__version__"]

_HOME = {"Judge": "yoj_cli.judge.judge", "Verdict": "yoj_cli.outputs.ranking"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
