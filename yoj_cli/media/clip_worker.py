"""The program of a worker process, which clip_pool starts and, when a decoder hangs or crashes, replaces."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from typing import IO, TYPE_CHECKING, Any

from yoj_cli.errors import MediaError
from yoj_cli.media.clips import decode_clip
from yoj_cli.media.containers import HINT_REENCODE, reason_of

if TYPE_CHECKING:
    from yoj_cli.media.clips import Frame


def serve() -> None:
    """The worker's loop until input ends: a JSON request a line in, a JSON line and the frames' bytes out.

    The pipes are moved away from descriptors 0 and 1 first, so nothing that a decoder prints or reads
    can mix in.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    for line in requests:
        request = json.loads(line)
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
        # The parent kills a worker that takes too long; this is for a worker whose parent is gone.
        faulthandler.dump_traceback_later(request.pop("timeout_s") + 10, exit=True)
        reply, frames = _answer(request)
        faulthandler.cancel_dump_traceback_later()
        try:
            _send(replies, reply, frames)
        except BrokenPipeError:
            sys.exit(0)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], Frame | None]:
    try:
        decoded = decode_clip(**request)
    except MediaError as error:
        return {"error": error.what, "hint": error.hint}, None
    except ImportError as error:
        return {"error": f"clips need {error.name}, which is not installed", "hint": "pip install av"}, None
    except Exception as error:  # a decoder's own bug: the caller hears of it, and the next clip is served
        what = f"the decoder failed: {type(error).__name__}: {reason_of(error)}"
        return {"error": what, "hint": HINT_REENCODE}, None
    reply = {"shape": decoded.frames.shape, "times_s": decoded.times_s, "duration_s": decoded.duration_s}
    return {**reply, "decoder": decoded.decoder}, decoded.frames


def _send(replies: IO[bytes], reply: dict[str, Any], frames: Frame | None) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    if frames is not None:
        replies.write(frames.data)
    replies.flush()
