"""The server from start to end: it answers at once, loads its judge meanwhile, and finishes what it accepted."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, TypeAlias

import uvicorn

from yoj_cli.config.io import InputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.serve import ServeConfig
from yoj_cli.errors import UnexpectedError, UsageError, YojError
from yoj_cli.serve.app import build_app
from yoj_cli.serve.loop import Loop
from yoj_cli.serve.protocol import MAX_HEADER_BYTES, protocol_class
from yoj_cli.serve.service import Service

FINISH_S = 22.0
"""Time for what was accepted, once the server is to end; with what follows it ends within 30 s."""

SAY_SO_S = 3.0
"""Of which this is for saying what was not finished."""

KEEP_ALIVE_S = 15

IN_THE_CLEAR = (
    "yoj: without TLS keys and prompts travel in the clear: put a proxy in front, or give --ssl-certfile"
)

if TYPE_CHECKING:
    from yoj_cli.scoring.judge import Judge

Load: TypeAlias = "Callable[[], Sequence[Judge]]"


def serve(
    config: ServeConfig,
    judge: JudgeConfig,
    media: InputConfig,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Answer until a signal says to end.

    Raises:
        UsageError: the address cannot be listened on, or needs a key.
        YojError: the judge cannot be loaded.
    """
    service = Service(config, judge, media)
    listener = open_listener(config)
    Server(service, lambda: load_judges(judge, config), say=say).run([listener])


class Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn in this process.

    Args:
        load: called in a thread of its own.
        say: called with messages for a person.
    """

    def __init__(self, service: Service, load: Load, *, say: Callable[[str], None] = lambda _: None) -> None:
        config = service.config
        super().__init__(
            uvicorn.Config(
                build_app(service),
                http=protocol_class(config.max_connections, config.body_timeout, service.note),
                ws="none",
                lifespan="off",
                loop=f"{Loop.__module__}:{Loop.__qualname__}",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                ssl_certfile=config.ssl_certfile,
                ssl_keyfile=config.ssl_keyfile,
                ssl_ciphers=None,  # Python's; an old uvicorn's are wider
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            )
        )
        self.service, self._load, self._say = service, load, say
        self._stop_by: float | None = None
        self._has_said_so = False
        self._error: YojError | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end.

        Raises:
            YojError: the judge could not be loaded.
        """
        config = self.service.config
        for each in sockets or []:
            host, port = each.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._say(f"{config.scheme}://{shown}:{port} answers; {self.service.name} is being loaded")
        if not config.is_loopback and config.scheme == "http":
            self._say(IN_THE_CLEAR)
        threading.Thread(target=self._start, name="yoj-prefetch-load", daemon=True).start()
        try:
            super().run(sockets)
        finally:
            self.service.close()
            for each in sockets or []:  # uvicorn leaves them open where it is told to end before it is up
                each.close()
        if self._error is not None:
            raise self._error

    def stop(self, within_s: float = FINISH_S) -> None:
        """Finish what was accepted and end; may be called from any thread."""
        self.service.stop()
        self._stop_by = self._stop_by or time.monotonic() + within_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_by is not None and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
            return
        self.stop()  # and nothing is said here: the signal may have come in the middle of a line

    async def on_tick(self, counter: int) -> bool:
        if self._stop_by is not None:
            if not self._has_said_so:
                self._has_said_so = True
                self._say("ending: what was accepted is finished; Ctrl-C ends at once")
            self.service.gatherer.cohorts.close_all()  # nobody else is let in
            left_s = self._stop_by - time.monotonic()
            if left_s < SAY_SO_S:
                self.service.give_up()
            self.should_exit |= self.service.admission.n_requests == 0 or left_s < 0
        return bool(await super().on_tick(counter))

    def _start(self) -> None:
        started = time.perf_counter()
        try:
            self.service.start(self._load())
        except Exception as error:
            self._error = error if isinstance(error, YojError) else UnexpectedError.of(error)
            self.should_exit = True
            return
        self._say(f"ready after {time.perf_counter() - started:.1f} s")


def load_judges(judge: JudgeConfig, config: ServeConfig) -> list[Judge]:
    """The judge, or the same on each of several GPUs; each has scored a group.

    Raises:
        YojError: it cannot be loaded, or does not work.
    """
    from yoj_cli.run.load import load_judge
    from yoj_cli.run.scorer import find_devices

    devices: Sequence[str] = [judge.device]
    if config.devices is not None:
        devices = find_devices(judge, config.devices, hint="Leave it out: a server on a CPU has one judge.")
    judges = [load_judge(replace(judge.resolved(), device=device)) for device in devices]
    for each in judges:
        each.score(prompt="Which is a number?", responses=["One.", "No."])
    return judges


def open_listener(config: ServeConfig) -> socket.socket:
    """The socket that clients connect to, open before anything is loaded.

    Raises:
        UsageError: the address is another program's, or not this machine's.
    """
    try:
        ((family, _, _, _, address), *_) = socket.getaddrinfo(
            config.host.strip("[]"), config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(
            f"{config.host}:{config.port} cannot be listened on ({error.strerror or error})",
            where="--host, --port",
            hint="Give another --port, or 0 for a free one.",
        ) from error
    return listener
