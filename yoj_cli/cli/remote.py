"""The judge of a server in the place of one that is loaded here."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import named_options
from yoj_cli.config.client import ClientConfig
from yoj_cli.config.io import OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig

if TYPE_CHECKING:
    from yoj_cli.run.remote import RemoteScorer


def open_server(
    context: typer.Context,
    client: ClientConfig,
    judge: JudgeConfig,
    output: OutputConfig,
    run: RunConfig | None = None,
) -> AbstractContextManager[RemoteScorer]:
    """See `open_remote`; what the command line named of the judge must be what the server has."""
    # httpx imports its own command line, and with it rich and click, which take as long as all the rest of it.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from yoj_cli.run.remote import open_remote

    tell = (lambda text: None) if output.quiet else say
    return open_remote(client, judge, named_options(context, JudgeConfig), run, say=tell)
