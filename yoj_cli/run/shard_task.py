"""One shard of a run, done as a whole by one process of a cluster."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from yoj_cli.config.judge import JudgeConfig
from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import UnexpectedError, YojError
from yoj_cli.groups import Failure
from yoj_cli.media.options import MediaOptions
from yoj_cli.records.parse import read_groups
from yoj_cli.records.selection import Selection
from yoj_cli.render.writers import render_json
from yoj_cli.run.load import load_judge
from yoj_cli.run.manifest import InputFile, Manifest
from yoj_cli.run.places import publish, shard_path
from yoj_cli.run.result_file import ResultFile
from yoj_cli.run.scorer import LocalScorer
from yoj_cli.storage.writing import private_folder
from yoj_cli.verdicts.record import to_error_record, to_record


@dataclass(frozen=True)
class ShardedRun:
    """A run that is done shard by shard.

    Attributes:
        inputs: files or addresses, with what they held when the run began.
        output: of the whole run; see `shard_path`.
        limits: of lines and groups.
        earlier: the manifest of a shard that is done; the others must be of the same run.
        stops: a group that cannot be scored fails its shard.
    """

    inputs: tuple[InputFile, ...]
    output: str
    n_shards: int
    judge: JudgeConfig
    media: MediaOptions
    media_root: str | None
    top: int | None
    limit: int | None
    stops: bool
    earlier: Manifest | None = None
    limits: Limits = LIMITS


class ShardScorer:
    """Holds a judge and does shard after shard: a callable class, as Ray Data's actor pool wants it."""

    def __init__(self, run: ShardedRun) -> None:
        self.run = run
        self.failed_to_load: YojError | None = None
        try:
            self.scorer = LocalScorer(load_judge(run.judge))
            self.settings = self.scorer.settings()
        except YojError as error:  # said once a shard, and not by an actor that is started again and again
            self.failed_to_load = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Shards in, what became of them out.

        Args:
            batch: "shard": their numbers.
        """
        done = [self._try(int(shard)) for shard in batch["shard"]]
        return {name: [each[name] for each in done] for name in ("shard", "n_done", "n_failed", "error")}

    def _try(self, shard: int) -> dict[str, Any]:
        try:
            if self.failed_to_load is not None:
                raise self.failed_to_load
            manifest = self.score(shard)
        except YojError as error:
            return {"shard": shard, "n_done": 0, "n_failed": 0, "error": str(error)}
        except Exception as error:
            return {"shard": shard, "n_done": 0, "n_failed": 0, "error": str(UnexpectedError.of(error))}
        return {"shard": shard, "n_done": manifest.n_done, "n_failed": manifest.n_failed, "error": ""}

    def score(self, shard: int) -> Manifest:
        """Score a shard and give its output and manifest their places.

        Raises:
            YojError: it cannot be done; nothing of it is left.
        """
        run = self.run
        manifest = Manifest(
            judge=self.settings,
            settings={"top": run.top, "limit": run.limit},
            inputs=run.inputs,
            shard=shard,
            n_shards=run.n_shards,
        )
        if run.earlier is not None:
            run.earlier.check_same_run(manifest, where=run.output, hint="Repeat the command as it was.")
        path = shard_path(run.output, shard, run.n_shards)
        selection = Selection(shard=shard, n_shards=run.n_shards, limit=run.limit)
        groups = chain.from_iterable(
            read_groups(each.path, media_root=run.media_root, selection=selection, limits=run.limits)
            for each in run.inputs
        )
        n_done = n_failed = 0
        with private_folder("yoj-shard-") as folder:
            local = folder / Path(path).name
            with (
                ResultFile(local, overwrite=False) as file,
                closing(self.scorer.score_groups(groups, media=run.media)) as results,
            ):
                for item in results:
                    if not isinstance(item, Failure):
                        record = to_record(item, self.scorer.description, top=run.top)
                    elif run.stops:
                        raise item.error
                    else:
                        record = to_error_record(item.record, item.error)
                        n_failed += 1
                    file.write(render_json(record) + "\n")
                    n_done += 1
                n_bytes = file.commit()
            done = replace(manifest, n_done=n_done, n_failed=n_failed, n_bytes=n_bytes, finished=True)
            if self.scorer.has_shrunk:
                done = done.note("memory ran out: what was read together then may differ by rounding")
            publish(local, path, done)
        return done
