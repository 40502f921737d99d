"""From loading to closing: what a judge holds until it is closed, and what is then given back."""

from __future__ import annotations

import gc
from typing import Generic, TypeVar
from weakref import WeakSet

import torch

from yoj_cli.errors import UsageError
from yoj_cli.media import load as media

Value = TypeVar("Value")

_open: WeakSet[object] = WeakSet()


class UntilClosed(Generic[Value]):
    """An attribute that a closed judge does not have any more, and says so.

    Raises:
        UsageError: the judge is closed.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, judge: object, value: Value) -> None:
        judge.__dict__[self.name] = value

    def __get__(self, judge: object | None, owner: type) -> Value:
        if judge is None:
            raise AttributeError(f"{self.name} is an attribute of a loaded judge, not of the class")
        if self.name not in judge.__dict__:
            raise UsageError("this judge is closed", hint="Load it again with Judge.load, or close it later.")
        value: Value = judge.__dict__[self.name]
        return value


def open_judge(judge: object) -> None:
    """Count a judge among those that may still need decoders."""
    _open.add(judge)


def close_judge(judge: object) -> None:
    """Take from a judge what it holds, and with the last open one end the processes that decode clips."""
    held = judge.__dict__.get("backbone")
    on_gpu = held is not None and held.device.type == "cuda"
    del held
    for name, part in vars(type(judge)).items():
        if isinstance(part, UntilClosed):
            judge.__dict__.pop(name, None)
    _open.discard(judge)
    if not _open:
        media.close()
    gc.collect()  # a model has circles
    if on_gpu:
        torch.cuda.empty_cache()
