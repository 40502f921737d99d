"""Several processes with a judge each over one queue: a device each, or a part of the CPU's cores.

The unit of work is a block of groups, which gives the same bits in any process. A process that dies costs nothing:
another does its block. A block that two processes died of is taken apart, and a group that a process dies of alone is
that group's failure.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import DeviceError, YojError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.selection import BLOCK
from yoj_cli.verdicts.verdict import Verdict

PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from yoj_cli.run.worker import serve; serve()"
MAX_DEATHS = 5
"""Of one place in the pool, in a row without a block done: then it is not the groups that are at fault."""

Item = Group | Failure
Result = Verdict | Failure


@dataclass(order=True)
class _Block:
    """Groups in a row; `n_before` is the number of the first one."""

    n_before: int
    items: list[Item] = field(compare=False)
    n_deaths: int = field(default=0, compare=False)
    results: Future[list[Result]] = field(default_factory=Future, compare=False)


class Workers:
    """A judge in each of several processes; use it in a `with` block.

    Args:
        configs: of the judges, one for each process; they differ in their device alone.
        n_threads: of each process on a CPU.
        say: called with messages for a person, from any thread.
    Raises:
        YojError: what the first process says of loading the judge.
    """

    def __init__(
        self,
        configs: Sequence[JudgeConfig],
        *,
        n_threads: int,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._tasks: queue.PriorityQueue[_Block] = queue.PriorityQueue()
        self._closed = False
        self._workers = [_Worker(config, n_threads) for config in configs]
        self.has_shrunk = False
        try:
            described = [worker.wait_until_ready() for worker in self._workers]
        except _DiedError as error:
            self.close()
            raise DeviceError(
                f"a process that scores ended while it loaded the judge ({error})",
                hint="Use fewer of them, if memory is short.",
            ) from error
        except BaseException:
            self.close()
            raise
        # Of which device a line comes is a matter of chance.
        self.description: Mapping[str, Any] = {
            **described[0],
            "device": str(described[0]["device"]).partition(":")[0],
        }

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def settings(self) -> Mapping[str, Any]:
        """See `Scorer`."""
        found: Mapping[str, Any] = self._workers[0].ask(None)
        return found

    def describe_usage(self) -> str:
        """Where the time went is known to each process alone."""
        return f"scored by {len(self._workers)} processes"

    def close(self) -> None:
        """End the processes, also in the middle of a block."""
        self._closed = True
        for worker in self._workers:
            worker.end()

    def score_groups(
        self,
        groups: Iterable[Item],
        *,
        media: MediaOptions,
        live: bool,
        n_before: int = 0,
        after_window: Callable[[], None] = lambda: None,
    ) -> Generator[Result, None, None]:
        """Score a stream, in its order, with the results of one judge; see `Judge.score_groups`.

        Args:
            live: each group is a block of its own, so that none waits for those that are yet to come.
            after_window: called after each block.
        Raises:
            DeviceError: processes keep dying.
        """
        blocks = _cut(groups, 1 if live else BLOCK, n_before)
        pending: deque[_Block] = deque()
        threads = [
            threading.Thread(
                target=self._work, args=(number, media), daemon=True, name=f"yoj-worker-{number}"
            )
            for number in range(len(self._workers))
        ]
        for thread in threads:
            thread.start()
        try:
            while True:
                while len(pending) < 2 * len(self._workers) and (block := next(blocks, None)):
                    pending.append(block)
                    self._tasks.put(block)
                if not pending:
                    break
                yield from pending.popleft().results.result()
                after_window()
        finally:
            with suppress(queue.Empty):
                while True:
                    self._tasks.get_nowait()
            for _ in threads:
                self._tasks.put(_Block(-1, []))
        for thread in threads:
            thread.join()

    def _work(self, number: int, media: MediaOptions) -> None:
        """Do blocks with one process, until an empty one says that there are no more."""
        while (block := self._tasks.get()).items:
            try:
                block.results.set_result(self._do(number, block, media))
            except _DiedError as died:
                block.n_deaths += 1
                try:
                    self._replace(number, died)
                except YojError as error:
                    block.results.set_exception(error)
                    return
                self._tasks.put(block)
            except BaseException as error:
                block.results.set_exception(error)
                return

    def _do(self, number: int, block: _Block, media: MediaOptions) -> list[Result]:
        if block.n_deaths < 2:
            return self._score(number, block.items, media, block.n_before)
        results: list[Result] = []
        for place, item in enumerate(block.items):
            try:
                results += self._score(number, [item], media, block.n_before + place)
            except _DiedError as died:
                self._replace(number, died)
                error = DeviceError(f"the process that scored this group died ({died})").at(item.where)
                results.append(Failure(item.where, item.record, error))
        self.has_shrunk = True  # read alone, their scores differ by rounding
        return results

    def _score(self, number: int, items: list[Item], media: MediaOptions, n_before: int) -> list[Result]:
        worker = self._workers[number]
        found, has_shrunk = worker.ask((items, media, n_before))
        worker.n_deaths = 0
        self.has_shrunk |= has_shrunk
        return [
            result if isinstance(result, Failure) else replace(result, group=item)
            for item, result in zip(items, found, strict=True)
        ]

    def _replace(self, number: int, died: _DiedError) -> None:
        """Put a new process in the place of a dead one.

        Raises:
            DeviceError: they keep dying there.
            YojError: what the new one says of loading the judge.
        """
        while True:
            with self._lock:
                if self._closed:
                    raise DeviceError("scoring was stopped")
                old = self._workers[number]
                old.end()
                if old.n_deaths + 1 >= MAX_DEATHS:
                    raise DeviceError(
                        f"the processes that score keep dying ({died})",
                        hint="Use fewer of them, if memory is short; --resume goes on from here.",
                    )
                self._say(f"process {number} died ({died}); its groups are scored again by another")
                new = _Worker(old.config, old.n_threads, n_deaths=old.n_deaths + 1)
                self._workers[number] = new
            try:
                new.wait_until_ready()
                return
            except _DiedError as error:
                died = error


class _DiedError(Exception):
    """A process ended, or its device is lost; the message says how."""


class _Worker:
    def __init__(self, config: JudgeConfig, n_threads: int, *, n_deaths: int = 0) -> None:
        self.config, self.n_threads, self.n_deaths = config, n_threads, n_deaths
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by end)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={"OMP_NUM_THREADS": str(n_threads), **os.environ},
            start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
        )
        self._send(config)

    def wait_until_ready(self) -> Mapping[str, Any]:
        """What the judge says of itself once it is loaded.

        Raises:
            YojError: it cannot be loaded.
            _DiedError: the process ended.
        """
        found: Mapping[str, Any] = self._receive()
        return found

    def ask(self, request: Any) -> Any:
        self._send(request)
        try:
            return self._receive()
        except DeviceError as error:
            raise _DiedError(error.what) from error

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with suppress(OSError, ValueError):
                    pipe.close()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # that it is dead shows when its answer is read
            pickle.dump(message, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        try:
            message = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise _DiedError(self._how_it_ended()) from error
        if isinstance(message, YojError):
            raise message
        return message

    def _how_it_ended(self) -> str:
        self._process.kill()
        code = self._process.wait()
        if code < 0:
            with suppress(ValueError):
                return signal.Signals(-code).name
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        return ": ".join([f"exit code {code}", *last])


def _cut(groups: Iterable[Item], size: int, n_before: int) -> Iterator[_Block]:
    """The stream as blocks that end where the numbers of the groups are multiples of `size`."""
    items: list[Item] = []
    number = n_before
    for item in groups:
        items.append(item)
        if (number + len(items)) % size == 0:
            yield _Block(number, items)
            number, items = number + len(items), []
    if items:
        yield _Block(number, items)
