"""A judge on another machine, or in another process, with the interface of `Judge`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from yoj_cli.client.answer import HINT_OTHER, check_same, parse_answer
from yoj_cli.client.connection import Connection, TooLargeError
from yoj_cli.client.request import request_line
from yoj_cli.config.client import PATIENCE_S, ClientConfig, check_key
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import DeadlineError, ServerError, UsageError, YojError, is_of_one_group
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import DEFAULTS, MediaOptions
from yoj_cli.records.parse import parse_records, parse_values
from yoj_cli.scoring.prefetch import Prefetcher
from yoj_cli.verdicts.verdict import Verdict

if TYPE_CHECKING:
    from os import PathLike
    from types import TracebackType

    from yoj_cli.scoring.judge import Picture

N_IN_FLIGHT = 4
GROUPS_PER_REQUEST = 16
REQUEST_BYTES = 8 << 20
"""A request goes off when it holds so many groups, or so many bytes; one group alone may have MAX_GROUP_BYTES."""

MAX_GROUP_BYTES = 48 << 20


@dataclass(frozen=True)
class Outgoing:
    """A group with the line that is sent for it, under its number in the stream."""

    group: Group
    line: bytes
    number: int


class RemoteJudge:
    """Scores groups with the judge of a server (`yoj serve`).

        with RemoteJudge("http://127.0.0.1:8321") as judge:
            judge.score(prompt="…", images=["scene.png"], responses=["a", "b"]).best

    Media are read here and sent as bytes: the server needs none of the files. Neither torch nor transformers is
    imported, Pillow only for pictures in memory. A server that is away for a while (restarted, say) is waited for.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        model: str | None = None,
        api_key: str | None = None,
        patience_s: float = PATIENCE_S,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Nothing is asked of the server yet.

        Args:
            server: its address; default $YOJ_SERVER.
            model: the judge that it must have; None for any.
            api_key: default $YOJ_API_KEY.
            patience_s: how long the server may be silent or away. One that is not there in the beginning is not
                waited for.
            say: told, in words, when the server is away and when it is back; from any thread.
        Raises:
            UsageError: no address.
        """
        config = ClientConfig(server=server, server_patience=patience_s).resolved()
        if config.server is None:
            raise UsageError("no server", hint="Give its address, or set YOJ_SERVER.")
        self._model = model
        key = config.read_key() if api_key is None else check_key(api_key, "api_key")
        self._connection = Connection(config.server, api_key=key, patience_s=patience_s, say=say)

    def close(self) -> None:
        """Hang up; what was scored stays valid."""
        self._connection.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._connection.closed

    def __enter__(self) -> RemoteJudge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def server(self) -> str:
        """Its address."""
        return self._connection.server

    @cached_property
    def served(self) -> Mapping[str, Any]:
        """What the server says of its judge: "id", "judge" (its description) and, where it does, "settings".

        Raises:
            ServerError: there is no server, or it says something else.
            UsageError: it has another judge than the one asked for, or wants a key.
        """
        return self._ask_for_judge()

    def _ask_for_judge(self) -> Mapping[str, Any]:
        listing = self._connection.get("/v1/models")
        try:
            served = [each for each in listing["data"] if isinstance(each["judge"]["model"], str)]
            names = [str(each["id"]) for each in served]
        except (KeyError, TypeError) as error:
            raise ServerError("does not list its judges", where=self.server, hint=HINT_OTHER) from error
        wanted = [each for each in served if self._model in (None, each["id"], each["judge"]["model"])]
        if not names:
            raise ServerError("has no judge", where=self.server)
        if not wanted:
            raise UsageError(
                f"the server has {', '.join(map(repr, names))}, not {self._model!r}",
                where=self.server,
                hint="Ask for the judge that it has, or for none (then any is taken).",
            )
        found: Mapping[str, Any] = wanted[0]
        return found

    def _check_unchanged(self) -> None:
        """See that a server that was away is the one that it was; its judge's files may be others under one name."""
        before, now = self.served, self._ask_for_judge()
        check_same({**said_of(before), **before["judge"]}, {**said_of(now), **now["judge"]})

    @property
    def description(self) -> dict[str, Any]:
        """The server's `Judge.description`."""
        return dict(self.served["judge"])

    def score(
        self,
        *,
        responses: Iterable[str],
        prompt: str | None = None,
        messages: Iterable[Mapping[str, Any]] | None = None,
        images: Picture | Iterable[Picture] | None = None,
        videos: str | PathLike[str] | Iterable[str | PathLike[str]] | None = None,
        media: MediaOptions | None = None,
        limits: Limits = LIMITS,
    ) -> Verdict:
        """Score one group given as Python values; see `Judge.score`."""
        given = {
            "prompt": prompt,
            "messages": messages,
            "images": images,
            "videos": videos,
            "responses": responses,
        }
        return self.score_group(parse_values(given, limits), media=media)

    def score_group(self, group: Group, *, media: MediaOptions | None = None) -> Verdict:
        """Score one parsed group; see `score`."""
        (found,) = self.score_groups([group], media=media)
        if isinstance(found, Failure):
            raise found.error
        return found

    def score_groups(
        self,
        groups: Iterable[Group | Failure | Mapping[str, Any]],
        *,
        media: MediaOptions | None = None,
        limits: Limits = LIMITS,
        live: bool = False,
        n_before: int = 0,
        after_window: Callable[[], None] = lambda: None,
    ) -> Generator[Verdict | Failure, None, None]:
        """Score a stream in its order, several requests at a time; see `Judge.score_groups`.

        Memory does not grow with the stream: N_IN_FLIGHT requests are under way, and as much is made ready.

        Args:
            media: whether the network may be asked for media, by this process. What is taken of a picture or clip is
                the server's to decide.
            limits: of records; the server has its own.
            n_before: has no meaning here: what is read together is up to the server.
            after_window: called where all results of a request have been taken.
        Raises:
            ServerError: the server is away for too long, or does not answer as one.
            UsageError: it has another judge than the one asked for, wants a key, or `media` asks for what it does
                not do.
        """
        options = media or DEFAULTS
        self._check_media(options)
        model = str(self.served["id"])

        def encode(numbered: tuple[int, Group | Failure]) -> Outgoing | Failure:
            number, item = numbered
            if isinstance(item, Failure):
                return item
            try:
                line = request_line(item, number, options, max_bytes=MAX_GROUP_BYTES)
            except YojError as error:
                return Failure(item.where, item.record, error)
            return Outgoing(item, line, number)

        def send(items: list[Outgoing | Failure]) -> list[Verdict | Failure]:
            outgoing = [item for item in items if isinstance(item, Outgoing)]
            answers = iter(
                [*self._answers(outgoing, model)]
            )  # to its end, so that the connection is used again
            return [item if isinstance(item, Failure) else next(answers) for item in items]

        def requests() -> Iterator[list[Outgoing | Failure]]:
            while window := encoded.take(live=live):
                yield window

        def numbered() -> Iterator[tuple[int, Group | Failure]]:
            with closing(parse_records(groups, limits)) as items:
                yield from enumerate(items)

        with (
            Prefetcher(encode, numbered(), size=_size, max_size=REQUEST_BYTES) as encoded,
            Prefetcher(send, requests(), n_prefetched=N_IN_FLIGHT) as answered,
        ):
            for results in answered:
                yield from results
                after_window()

    def _answers(self, outgoing: list[Outgoing], model: str) -> Iterator[Verdict | Failure]:
        """The result of each group; a request that is too large for the server goes as two.

        What the server had no time or no device for any more is asked again, as long as others were answered.
        """
        lines = self._connection.ask(
            [each.line for each in outgoing], model=model, before_retry=self._check_unchanged
        )
        n_answered = 0
        try:
            for each, line in zip(outgoing, lines, strict=True):
                found = parse_answer(line, each.group, each.number, self.description)
                if isinstance(found, Failure) and is_of_server(found.error):
                    if n_answered:
                        lines.close()
                        yield from self._answers(outgoing[n_answered:], model)
                        return
                    if not isinstance(found.error, DeadlineError):
                        raise ServerError(str(found.error.what), where=self.server, hint=found.error.hint)
                yield found
                n_answered += 1
        except TooLargeError as error:
            left = outgoing[n_answered:]
            if len(left) == 1:
                group = left[0].group
                yield Failure(group.where, group.record, error.problem.at(group.where))
                return
            middle = len(left) // 2
            yield from self._answers(left[:middle], model)
            yield from self._answers(left[middle:], model)

    def _check_media(self, options: MediaOptions) -> None:
        n_frames = self.description.get("max_frames")
        if options.max_frames not in (None, n_frames):
            raise UsageError(f"max_frames is the server's to decide: {n_frames}", where=self.server)
        for name in ("max_pixels", "max_clip_pixels", "max_group_pixels"):
            if getattr(options, name) != getattr(DEFAULTS, name):
                raise UsageError(
                    f"{name} is the server's to decide",
                    where=self.server,
                    hint="Leave out --max-picture-mp, --max-clip-mp and --max-group-mp.",
                )


def is_of_server(error: YojError) -> bool:
    """Whether an error says more of the server's state than of the group that it came with."""
    return isinstance(error, DeadlineError) or not is_of_one_group(error)


def said_of(served: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a server says of its judge beside the description: "content", "max_tokens"; empty where it does not."""
    found = served.get("settings")
    return found if isinstance(found, Mapping) else {}


def _size(item: Outgoing | Failure) -> int:
    n_bytes = len(item.line) if isinstance(item, Outgoing) else 0
    return max(n_bytes, REQUEST_BYTES // GROUPS_PER_REQUEST)
