"""A scoring run from its inputs to its outputs, begun or gone on with."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from yoj_cli.cli.input import build_media_options, read_files
from yoj_cli.cli.look import stopped_by
from yoj_cli.cli.messages import say
from yoj_cli.cli.output import Report, resolve_format, writing
from yoj_cli.cli.progress import count_lines, show_progress
from yoj_cli.config.calibrate import AbstainConfig
from yoj_cli.config.io import InputConfig, OnError, OutputConfig
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.run import RunConfig
from yoj_cli.errors import UsageError
from yoj_cli.groups import Failure
from yoj_cli.records.selection import Selection, count_own
from yoj_cli.run.manifest import Manifest, fingerprint
from yoj_cli.run.progress import Progress
from yoj_cli.run.result_file import ResultFile
from yoj_cli.run.retry import find_failed, replace_lines
from yoj_cli.run.settings import take_over
from yoj_cli.run.targets import Target, find_manifest

if TYPE_CHECKING:
    from yoj_cli.run.scorer import Scorer
    from yoj_cli.verdicts.verdict import Verdict


@dataclass(frozen=True)
class ScoreRun:
    """What to score, and how failures and interruptions are dealt with.

    Attributes:
        targets: which output belongs to which inputs.
        streams: the outputs, opened.
        limit: groups of all inputs of a target that are scored; None for all.
        abstain: when no response is called the best, and where such groups go.
        escalated: the stream of these groups, opened; None where they go nowhere.
    """

    targets: Sequence[Target]
    streams: Sequence[IO[str]]
    media: InputConfig
    output: OutputConfig
    run: RunConfig
    limit: int | None
    on_error: OnError
    abstain: AbstainConfig
    escalated: IO[str] | None

    def check(self) -> None:
        """See that a run that is to go on can be told from others.

        Raises:
            UsageError: it cannot.
        """
        goes_on = self.run.resume or self.run.shard or self.run.output_dir
        if self.escalated is not None and goes_on:
            raise UsageError(
                "is for a run in one piece, not for --resume, --shard or --output-dir",
                where="--escalate",
                hint="Take the groups out of the results: jq -c 'select(.abstained)' FILE | yoj score - -m JUDGE.",
            )
        asked_for = "--resume" if self.run.resume else "--shard" if self.run.shard else None
        if asked_for and not all(map(self._has_manifest, self.targets, self.streams)):
            raise UsageError(
                "needs files to read, and -o FILE as JSON Lines to write",
                where=asked_for,
                hint="A pipe cannot be read again from its beginning.",
            )

    def take_over(self, judge: JudgeConfig) -> JudgeConfig:
        """What another session, or another shard, of the same run found out about `auto`."""
        if self.run.resume or self.run.shard:
            for target in self.targets:
                if target.output and (earlier := find_manifest(target.output, *self.run.shard_of)):
                    return take_over(judge, earlier)
        return judge

    def score(self, scorer: Scorer, stdin: Iterable[bytes]) -> bool:
        """Score everything and write it.

        Returns:
            Whether no line of the outputs is an error, as far as they are known: of what cannot be resumed, no line
            that was written here.
        Raises:
            YojError: what ended the run.
        """
        below = self.abstain.abstain_below
        said = {} if below is None else {"abstain_below": below}
        report = Report(
            self.output, self.streams[0], {**scorer.description, **said}, self.abstain, self.escalated
        )
        n_failed = 0
        for target, stream in zip(self.targets, self.streams, strict=True):
            progress = self._progress(scorer, target, stream)
            report.turn_to(stream)
            self._score_target(scorer, report, target, stream, stdin, progress)
            if progress and self.run.retry_failed and progress.manifest.n_failed:
                self._retry(scorer, report, target, progress)
            n_failed += progress.manifest.n_failed if progress else report.summary.n_failed
        report.finish()
        return n_failed == 0

    def _score_target(
        self,
        scorer: Scorer,
        report: Report,
        target: Target,
        stream: IO[str],
        stdin: Iterable[bytes],
        progress: Progress | None,
    ) -> None:
        n_done = progress.manifest.n_done if progress else 0
        results = self._results(scorer, target, stdin, self._selection(n_done=n_done), progress)
        shown = show_progress(
            results,
            self.output,
            total=lambda: self._count(target),
            n_done=n_done,
            pause=stream.isatty(),
        )
        with closing(results):
            try:
                for item in shown:
                    self._write(report, item)
                    if progress:
                        progress.add(failed=isinstance(item, Failure))
            except KeyboardInterrupt:
                report.interrupted(self._count(target), can_resume=progress is not None)
                raise
        report.end_stream()
        if progress:
            with writing(stream):
                progress.finish()

    def _retry(self, scorer: Scorer, report: Report, target: Target, progress: Progress) -> None:
        """Score the groups again whose line is an error, and put their new lines in place of the old."""
        assert target.output is not None
        failed = find_failed(target.output)
        line = io.StringIO()
        report.turn_to(line)
        results = self._results(scorer, target, (), self._selection(only=failed), None)
        n_failed = 0

        def next_line() -> str:
            nonlocal n_failed
            item = next(results)
            n_failed += isinstance(item, Failure)
            line.seek(0)
            line.truncate()
            self._write(report, item)
            return line.getvalue()

        with closing(results):
            progress.replaced(replace_lines(target.output, failed, next_line), n_failed)
        if not self.output.quiet:
            say(f"{len(failed) - n_failed:,} of {len(failed):,} groups that had failed are scored now")

    def _results(
        self,
        scorer: Scorer,
        target: Target,
        stdin: Iterable[bytes],
        selection: Selection,
        progress: Progress | None,
    ) -> Generator[Verdict | Failure, None, None]:
        def after_window() -> None:
            if progress:
                if scorer.has_shrunk:
                    progress.note("memory ran out: what was read together then may differ by rounding")
                progress.commit()

        return scorer.score_groups(
            read_files(target.inputs, self.media, stdin, selection),
            media=build_media_options(self.media),
            live=not all(map(os.path.isfile, target.inputs)),
            n_before=progress.manifest.n_done if progress else 0,
            after_window=after_window,
        )

    def _write(self, report: Report, item: Verdict | Failure) -> None:
        if not isinstance(item, Failure):
            report.write(item)
        elif self.on_error == "skip":
            report.write_failure(item)
        else:
            raise stopped_by(item.error)

    def _progress(self, scorer: Scorer, target: Target, stream: IO[str]) -> Progress | None:
        if not self._has_manifest(target, stream) or not isinstance(stream, ResultFile):
            return None
        shard, n_shards = self.run.shard_of
        manifest = Manifest(
            judge=scorer.settings(),
            settings=self._settings(),
            inputs=fingerprint(target.inputs),
            shard=shard,
            n_shards=n_shards,
        )
        progress = Progress(stream, manifest)
        if self.run.resume:
            progress.resume()
            if not self.output.quiet:
                _say_where_it_goes_on(progress.manifest, target)
        stream.before_first_write = progress.begin
        return progress

    def _settings(self) -> dict[str, Any]:
        """What decides about a line beside the judge and the input."""
        settings = {"top": self.output.top, "limit": self.limit, "abstain_below": self.abstain.abstain_below}
        if self.abstain.abstain_below is None:  # as in manifests before there was such an option
            del settings["abstain_below"]
        return settings

    def _has_manifest(self, target: Target, stream: IO[str]) -> bool:
        return (
            isinstance(stream, ResultFile)
            and resolve_format(self.output, stream) == "jsonl"
            and all(map(_is_regular, target.inputs))
        )

    def _selection(self, *, n_done: int = 0, only: frozenset[int] | None = None) -> Selection:
        shard, n_shards = self.run.shard_of
        return Selection(shard=shard, n_shards=n_shards, limit=self.limit, n_done=n_done, only=only)

    def _count(self, target: Target) -> int | None:
        n_lines = count_lines(target.inputs, self.limit)
        return None if n_lines is None else count_own(n_lines, *self.run.shard_of)


def _is_regular(path: str) -> bool:
    return path != "-" and stat.S_ISREG(os.stat(path).st_mode)


def _say_where_it_goes_on(manifest: Manifest, target: Target) -> None:
    if manifest.finished:
        failed = f", {manifest.n_failed:,} of them with an error" if manifest.n_failed else ""
        say(f"{target.output}: all {manifest.n_done:,} groups are done{failed}")
    elif manifest.n_done:
        say(f"{target.output}: going on after {manifest.n_done:,} groups")
