"""A server's judge as what scores a run, and what may be asked of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

from yoj_cli.client.judge import RemoteJudge, said_of
from yoj_cli.config.client import ClientConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig
from yoj_cli.errors import UsageError
from yoj_cli.run.settings import settings_of
from yoj_cli.verdicts.calibration import read_calibration


class RemoteScorer:
    """A judge behind a server, as a run sees it; see `Scorer`."""

    has_shrunk = False  # which groups share a pass is never known here

    def __init__(self, judge: RemoteJudge) -> None:
        self.judge = judge
        self.score_groups = judge.score_groups

    @property
    def description(self) -> Mapping[str, Any]:
        return self.judge.description

    def settings(self) -> Mapping[str, Any]:
        """What the manifest says of the judge.

        What is read together is the matter of the moment, so that a run does not go on without the server, or a
        local one with it.
        """
        known = said_of(self.judge.served)
        settings = settings_of(
            {"device": "", **self.judge.description},
            known.get("content", ""),
            known.get("max_tokens", 0),
            0,
        )
        return {**settings, "max_batch_tokens": "the server's"}

    def describe_usage(self) -> str:
        """Where the time went is known to the server alone."""
        return f"scored by {self.judge.server}"


@contextmanager
def open_remote(
    client: ClientConfig,
    judge: JudgeConfig,
    given: Set[str] = frozenset(),
    run: RunConfig | None = None,
    *,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[RemoteScorer]:
    """Ask a server for its judge.

    Args:
        judge: how a judge would be loaded here.
        given: the fields of `judge` that the user named, and did not leave as they are.
        run: how a run would be spread over this machine.
        say: see `RemoteJudge`.
    Raises:
        UsageError: the server's judge is not the one that is asked for.
        ServerError: there is none.
    """
    for name in ("workers", "devices") if run is not None else ():
        if getattr(run, name) is not None:
            raise UsageError(
                "is the server's to decide", where=f"--{name}", hint="Leave it out with --server."
            )
    model = judge.model or os.environ.get("YOJ_MODEL")
    with RemoteJudge(
        client.server,
        model=model,
        api_key=client.read_key(),
        patience_s=client.server_patience,
        say=say,
    ) as remote:
        check_given(judge, given - {"model"}, remote.served)
        yield RemoteScorer(remote)


def check_given(judge: JudgeConfig, given: Set[str], served: Mapping[str, Any]) -> None:
    """See that the options which were named are those of the server's judge.

    Raises:
        UsageError: one is not, or the server does not say.
    """
    known = {"calibration": None, **said_of(served), **served["judge"]}
    for name in sorted(given):
        flag, asked = f"--{name.replace('_', '-')}", getattr(judge, name)
        if name not in known:
            raise UsageError("is the server's to decide", where=flag, hint="Leave it out with --server.")
        if asked != "auto" and not _is_same(name, judge, known[name], known):
            raise UsageError(
                f"the server's judge has {known[name]!r} there",
                where=f"{flag} {asked}",
                hint="Leave it out, or start the server with it.",
            )


def _is_same(name: str, judge: JudgeConfig, found: Any, known: Mapping[str, Any]) -> bool:
    if name == "device":  # of several, one
        kind, _, number = str(judge.device).partition(":")
        return str(found).partition(":")[0] == kind and (not number or found == judge.device)
    if name == "calibration":
        calibration = read_calibration(str(judge.calibration))
        fitted = calibration.find(str(known.get("mode")), known.get("orders", 1), known.get("window"))
        return fitted is not None and calibration.describe(fitted) == found
    return bool(getattr(judge, name) == found)
