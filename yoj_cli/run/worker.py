"""The child of `workers`: loads a judge, then scores block after block for its parent, over its own pipes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import Any, BinaryIO

from yoj_cli.errors import DeviceError, UnexpectedError, YojError
from yoj_cli.groups import Failure, Group


def serve() -> None:
    """Answer requests until the parent is gone. What libraries print goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, EOFError):
        _serve(requests, replies)


def _end_with(parent: int) -> None:
    """A parent that was killed can end nobody, and a block may take minutes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    config = pickle.load(requests)
    try:
        from yoj_cli.run.load import load_judge
        from yoj_cli.run.scorer import LocalScorer

        scorer = LocalScorer(load_judge(config))
    except YojError as error:
        return _send(replies, error)
    except Exception as error:
        return _send(replies, UnexpectedError.of(error))
    _send(replies, scorer.description)
    while True:
        request = pickle.load(requests)
        if request is None:
            _send(replies, scorer.settings())
            continue
        groups, media, n_before = request
        try:
            results = scorer.score_groups(groups, media=media, n_before=n_before)
            found = [_without_group(each) for each in results]
        except DeviceError as error:  # this process is of no more use
            return _send(replies, error)
        _send(replies, (found, scorer.has_shrunk))


def _without_group(result: Any) -> Any:
    """The parent has the group: it need not travel back."""
    return result if isinstance(result, Failure) else replace(result, group=NO_GROUP)


NO_GROUP = Group("", (), ())


def _send(replies: BinaryIO, message: Any) -> None:
    pickle.dump(message, replies, protocol=pickle.HIGHEST_PROTOCOL)
    replies.flush()
