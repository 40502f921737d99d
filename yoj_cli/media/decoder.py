"""The program of a decoder's process, which decoder_pool starts and, when it hangs, crashes or eats memory, replaces.

It imports what the medium at hand needs and nothing more, so that it starts in the time that Pillow takes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any, BinaryIO

from yoj_cli.errors import MediaError
from yoj_cli.media.hints import HINT_BROKEN, HINT_REENCODE, HINT_TOO_LARGE
from yoj_cli.media.memory_file import write_at
from yoj_cli.media.pictures import picture_digest, read_small_picture

MAX_REQUEST_BYTES = 1 << 16
NO_ROOM = {errno.ENOMEM, errno.EFBIG, errno.EAGAIN}


def serve(lifeline: int) -> None:
    """The loop of a decoder until its connection, which is descriptor 0, ends.

    A request is a line of JSON with two descriptors: the medium's file, and the file that takes the pixels. The reply
    is a line of JSON. The connection is moved away from descriptor 0 first, so that nothing that a library prints or
    reads can mix in; what it prints goes to a file of the parent's.

    Args:
        lifeline: end of a pipe whose other end the parent holds as long as it lives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_the_parent(lifeline)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    try:
        connection.sendall(b"\n")
        _serve(connection)
    except (BrokenPipeError, ConnectionResetError):  # the parent has given this process up
        sys.exit(0)


def _serve(connection: socket.socket) -> None:
    limits = _Limits()
    while True:
        line, handles, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, 2)
        if not line:
            return
        request = json.loads(line)
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
        with _File(handles[0]) as file:
            try:
                reply = _answer(request, file, handles[1], limits)
            finally:
                os.close(handles[1])
        connection.sendall(json.dumps(reply).encode() + b"\n")


class _File(io.BufferedReader):
    """A medium's file, of which no more is asked than there is.

    Python sets aside what `read` is asked for before it reads, and Pillow asks for what a header claims.
    """

    def __init__(self, handle: int) -> None:
        super().__init__(io.FileIO(handle))
        self._n_bytes = os.fstat(handle).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None else min(size, self._n_bytes))


def _die_with_the_parent(lifeline: int) -> None:
    """End when the pipe's other end is closed, whatever this process is at: the system sends SIGIO then.

    Unlike Linux's PR_SET_PDEATHSIG it is about the parent's process and not about the thread that started this one.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGXCPU})
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)


class _Limits:
    """What a medium may take of memory and of the processor's time, beside what this process has without it."""

    def __init__(self) -> None:
        self._has_clips = False
        self._own_bytes = _mapped_bytes()

    def set(self, *, memory_bytes: int, cpu_s: float, with_clips: bool) -> None:
        if with_clips and not self._has_clips:
            self._lift_memory()
            _import_clip_decoders()
            self._has_clips, self._own_bytes = True, _mapped_bytes()
        if self._own_bytes:
            _set_soft_limit(resource.RLIMIT_AS, self._own_bytes + memory_bytes)
        _set_soft_limit(resource.RLIMIT_FSIZE, memory_bytes)
        _set_soft_limit(resource.RLIMIT_CPU, int(time.process_time() + cpu_s) + 1)

    def _lift_memory(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[1],) * 2)


def _set_soft_limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _mapped_bytes() -> int:
    """The address space of this process; 0 where the system does not say, and then it is not limited."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _import_clip_decoders() -> None:
    with contextlib.suppress(ImportError):  # `_answer` says so
        import av  # noqa: F401

        import yoj_cli.media.clips  # noqa: F401
    with contextlib.suppress(ImportError):
        import decord  # noqa: F401


def _answer(request: dict[str, Any], file: BinaryIO, memory: int, limits: _Limits) -> dict[str, Any]:
    kind, memory_bytes = request.pop("kind"), request.pop("memory_bytes")
    is_clip = kind.startswith("clip")
    try:
        limits.set(memory_bytes=memory_bytes, cpu_s=request.pop("cpu_s"), with_clips=is_clip)
        if kind == "clip":
            return _decode_clip(file, memory, **request)
        if kind == "clip header":
            return _check_clip(file, **request)
        return _decode_picture(file, memory, **request)
    except MediaError as error:
        if _is_about_memory(error) or _is_about_memory(error.__cause__):
            return _too_much_memory(memory_bytes, is_spent=is_clip)
        return {"error": error.what, "hint": error.hint}
    except ImportError as error:
        return {"error": f"clips need {error.name}, which is not installed", "hint": "pip install av"}
    except Exception as error:  # a decoder's own bug: the caller hears of it, and the next medium is served
        if _is_about_memory(error):
            return _too_much_memory(memory_bytes, is_spent=is_clip)
        what = (str(error).splitlines() or [""])[0].rstrip(".")
        return {
            "error": f"the decoder failed: {type(error).__name__}: {what}",
            "hint": HINT_REENCODE if is_clip else HINT_BROKEN,
        }


def _decode_picture(file: BinaryIO, memory: int, *, max_pixels: int, small_pixels: int) -> dict[str, Any]:
    image = read_small_picture(file, where="", max_pixels=max_pixels, small_pixels=small_pixels)
    if isinstance(image, tuple):
        return {"size": image}
    offset = 0

    def keep(band: bytes) -> None:
        nonlocal offset
        offset = write_at(memory, band, offset)

    return {"digest": picture_digest(image, keep), "size": image.size}


def _decode_clip(
    file: BinaryIO,
    memory: int,
    *,
    max_frames: int,
    max_pixels: int,
    max_clip_pixels: int,
    use_decord: bool,
    name: str,
) -> dict[str, Any]:
    from yoj_cli.media.clips import read_frames

    shown = read_frames(
        path_of(file),
        max_frames=max_frames,
        max_pixels=max_pixels,
        max_clip_pixels=max_clip_pixels,
        use_decord=use_decord,
        name=name,
    )
    offset = 0
    for frame in shown.frames:
        offset = write_at(memory, frame.tobytes() if not frame.flags.c_contiguous else frame.data, offset)
    return {
        "shape": (len(shown.frames), *shown.frames[0].shape),
        "times_s": shown.times_s,
        "duration_s": shown.duration_s,
        "decoder": shown.decoder,
    }


def _check_clip(file: BinaryIO, *, max_pixels: int, name: str) -> dict[str, Any]:
    from yoj_cli.media.clips import check_clip

    return {"size": check_clip(path_of(file), max_pixels=max_pixels, name=name)}


def path_of(file: BinaryIO) -> str:
    """A path by which the decoders' libraries open the very file that is open, whatever has become of its name."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.exists(f"{folder}/{file.fileno()}"):
            return f"{folder}/{file.fileno()}"
    raise MediaError("this system has no paths for open files", where="", hint="Mount /proc.")


def _is_about_memory(error: BaseException | None) -> bool:
    # EAGAIN: there is no room for the stack of a thread of the decoder's.
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in NO_ROOM:
        return True
    return "out of memory" in str(error).lower()


def _too_much_memory(memory_bytes: int, *, is_spent: bool) -> dict[str, Any]:
    what = f"decoding it takes more than {memory_bytes >> 20:,} MiB of memory"
    return {"error": what, "hint": HINT_TOO_LARGE, "is_spent": is_spent}
