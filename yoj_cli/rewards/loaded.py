"""The judges of this process, each loaded or reached once, whoever asks."""

from __future__ import annotations

import os
import threading
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch

from yoj_cli.client.judge import RemoteJudge
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.rewards import RewardConfig
from yoj_cli.errors import UsageError

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge

_judges: dict[tuple[JudgeConfig, str | None], Judge | RemoteJudge] = {}
_lock = threading.Lock()
_OWN = ("model", "mode", "orders", "window", "seed")
"""Options that a server's judge may be asked for: they must be what it has, but for the seed, which shuffles here."""


def loaded_judge(config: RewardConfig) -> Judge | RemoteJudge:
    """The judge that these options describe.

    Args:
        config: of which the options of a judge count, and the server.
    Raises:
        YojError: it cannot be loaded or reached, or a server has another.
    """
    key = _key(config)
    with _lock:
        if key not in _judges or _judges[key].closed:  # by who had it from `load`
            _judges[key] = _load(key[0]) if config.server is None else _reach(config, config.server)
        return _judges[key]


def close_judge(config: RewardConfig) -> None:
    """Give its memory back; the next call loads it again."""
    with _lock:
        judge = _judges.pop(_key(config), None)
    if judge is not None:
        judge.close()


def _forget_connections() -> None:
    """In a forked child: a server's answers to it and to its parent would come over one connection, for either."""
    global _lock
    _lock = threading.Lock()  # whoever held it is a thread of the parent
    for key in [key for key, judge in _judges.items() if isinstance(judge, RemoteJudge)]:
        del _judges[key]  # and not closed, which would hang up for the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)


def _load(config: JudgeConfig) -> Judge:
    from yoj_cli.scoring.judge import Judge

    return Judge.from_config(config)


def _reach(config: RewardConfig, server: str) -> RemoteJudge:
    """A server's judge, which must be the one that is asked for.

    Raises:
        ServerError: there is no server.
        UsageError: it has another judge, or an option is given that is its own to decide.
    """
    default = JudgeConfig()
    for field in fields(JudgeConfig):
        if field.name not in _OWN and getattr(config, field.name) != getattr(default, field.name):
            raise UsageError(f"{field.name} is the server's to decide", where=server, hint="Leave it away.")
    judge = RemoteJudge(server, model=config.model, patience_s=config.server_patience)
    try:
        for name in ("mode", "orders", "window"):
            asked, has = getattr(config, name), judge.description.get(name)
            if asked not in (getattr(default, name), has):
                raise UsageError(
                    f"{name} is {asked!r}, and the server's judge has {has!r}",
                    where=server,
                    hint="Start the server with it, or leave it away.",
                )
    except BaseException:
        judge.close()
        raise
    return judge


def _key(config: RewardConfig) -> tuple[JudgeConfig, str | None]:
    """The judge's options alone, with the device of this process; and the server."""
    plain = JudgeConfig(**{field.name: getattr(config, field.name) for field in fields(JudgeConfig)})
    if config.server is not None:
        return plain, config.server
    return replace(plain.resolved(), device=own_device(config.device)), None


def own_device(device: str) -> str:
    """The GPU of this process where "auto" or "cuda" is asked for and there is one; else what was asked for.

    Launchers number the processes of a machine (LOCAL_RANK), and a trainer takes the GPU of that number only when it
    is made, which may be later.
    """
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        return device
    rank = os.environ.get("LOCAL_RANK", "")
    is_numbered = rank.isdigit() and int(rank) < torch.cuda.device_count()
    return f"cuda:{rank}" if is_numbered else f"cuda:{torch.cuda.current_device()}"
