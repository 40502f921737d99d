"""A server: where it listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from yoj_cli.config.certificate import check_certificate
from yoj_cli.config.field import Options, option, positive
from yoj_cli.config.keys import KEY_VARIABLE, is_sendable, read_key_file
from yoj_cli.config.run import valid_devices
from yoj_cli.errors import UsageError

MIN_KEY_LENGTH = 16

SHARE = 0.75
"""Of what may wait, one client may hold so much: the rest is for others."""


def _valid_pattern(value: str) -> str | None:
    try:
        n_groups = re.compile(value).groups
    except re.error as error:
        return f"{value!r} is no regular expression: {error}"
    return None if n_groups == 1 else f"{value!r} has {n_groups} groups in (…), and one is to be the prompt"


def share_of(limit: int) -> int:
    """What one client may hold of it."""
    return math.ceil(limit * SHARE)


def _valid_port(value: int) -> str | None:
    return None if 0 <= value < 1 << 16 else f"{value} is not in 0 … 65535"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig(Options):
    """Where a server listens, who may ask, and how much."""

    host: str = option(
        "127.0.0.1",
        "Address to listen on; any but this machine's own needs --api-key or --api-key-file.",
        metavar="ADDRESS",
    )
    port: int = option(8321, "Port to listen on; 0 takes a free one.", metavar="PORT", check=_valid_port)
    api_key: str | None = option(
        None,
        "Answer only those who send this key as `Authorization: Bearer KEY`. Also $YOJ_API_KEY, which unlike an option "
        "is not seen in the list of processes.",
        metavar="KEY",
    )
    api_key_file: Path | None = option(
        None, "The same with the keys of this file, one a line: a client each.", metavar="FILE"
    )
    ssl_certfile: Path | None = option(
        None,
        "Answer over TLS (https), with this certificate and those of its authorities behind it (PEM).",
        metavar="FILE",
    )
    ssl_keyfile: Path | None = option(
        None,
        "The certificate's private key (PEM, without a password), unless --ssl-certfile holds it.",
        metavar="FILE",
    )
    allowed_host: str | None = option(
        None,
        "Names by which clients call a server on 127.0.0.1 beside localhost (a proxy's, say), with commas.",
        metavar="NAMES",
    )
    name: str | None = option(
        None, "What answers call the judge. Default: as --model, a folder by its last part.", metavar="NAME"
    )
    devices: str | None = option(
        None,
        "A judge on each of these GPUs, behind one queue: all, or numbers such as 0,1.",
        metavar="LIST",
        check=valid_devices,
    )
    timeout: float = option(
        600.0, "Longest time that a request may take, and what it has unless it asks for less.",
        metavar="S", check=positive,
    )  # fmt: skip
    body_timeout: float = option(
        60.0,
        "Hang up on a client whose request does not come in this time, or that does not read its answer for so long.",
        metavar="S",
        check=positive,
    )
    max_body_mb: float = option(64.0, "Refuse a larger request.", metavar="MB", check=positive)
    max_waiting: int = option(
        2048, "Groups of all requests that may wait, of one client three quarters; more is told to come later (429).",
        metavar="N", check=positive,
    )  # fmt: skip
    max_waiting_mb: float = option(
        512.0, "The same for the bytes of all requests.", metavar="MB", check=positive
    )
    max_connections: int = option(512, "Clients connected at once.", metavar="N", check=positive)
    log_prompts: bool = option(False, "Write the text of prompts into the log.")

    cohort: int | None = option(
        None, "POST /get_reward and /rm: wait for so many responses to a prompt, and score them together. "
        "Needed unless --mode is single.",
        metavar="N", check=positive,
    )  # fmt: skip
    cohort_timeout: float = option(
        60.0, "Score what has come of a cohort so long after its first response; less than the trainer's timeout.",
        metavar="S", check=positive,
    )  # fmt: skip
    prompt_pattern: str | None = option(
        None, "The (…) of this regular expression is what the trainer's prompt asks, without its chat template.",
        metavar="REGEX", check=_valid_pattern,
    )  # fmt: skip
    response_end: str | None = option(
        None, "Cut trainers' responses where this text begins, such as <|im_end|>.", metavar="TEXT"
    )

    @property
    def max_body_bytes(self) -> int:
        return int(self.max_body_mb * (1 << 20))

    @property
    def max_waiting_bytes(self) -> int:
        return int(self.max_waiting_mb * (1 << 20))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def scheme(self) -> str:
        return "http" if self.ssl_certfile is None else "https"

    def check_certificate(self) -> None:
        """See that the certificate and its key can be used, where they are given.

        Raises:
            UsageError: naming the file that is wrong.
        """
        if self.ssl_certfile is not None:
            check_certificate(self.ssl_certfile, self.ssl_keyfile)

    def read_keys(self) -> tuple[str, ...]:
        """The keys of which a client has to send one; empty where everybody on this machine may ask.

        Raises:
            UsageError: a key that can be guessed or cannot be sent, no key in the file, none where one is needed.
        """
        if self.api_key_file is not None:
            where = f"--api-key-file {self.api_key_file}"
            keys = read_key_file(self.api_key_file, where)
            if not keys:
                raise UsageError("holds no key", where=where, hint="Write one key a line.")
        elif self.api_key is not None:
            where, keys = "--api-key", (self.api_key,)
        else:
            where, keys = KEY_VARIABLE, tuple(filter(None, [os.environ.get(KEY_VARIABLE)]))
        for number, key in enumerate(keys, start=1):
            if len(key) < MIN_KEY_LENGTH or not is_sendable(key):
                raise UsageError(
                    f"key {number} is no {MIN_KEY_LENGTH} or more visible ASCII characters",
                    where=where,
                    hint="`openssl rand -hex 32` makes a good one.",
                )
        if not keys and not self.is_loopback:
            raise UsageError(
                f"--host {self.host} can be reached from other machines and needs a key",
                hint="Give --api-key-file FILE (`openssl rand -hex 32 > FILE`), or leave --host at 127.0.0.1.",
            )
        return keys

    def check_together(self) -> None:
        if self.api_key is not None and self.api_key_file is not None:
            raise UsageError("contradicts --api-key", where="--api-key-file")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise UsageError("needs --ssl-certfile", where="--ssl-keyfile")
        if self.max_body_bytes > share_of(self.max_waiting_bytes):
            raise UsageError(
                f"{SHARE:.0%} of it, one client's share, are less than --max-body-mb",
                where="--max-waiting-mb",
            )
