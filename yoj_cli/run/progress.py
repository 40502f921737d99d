"""A run that is under way: its output and its manifest, kept in step."""

from __future__ import annotations

import time
from dataclasses import replace

from yoj_cli.errors import UsageError
from yoj_cli.run.manifest import Manifest, path_of, read_manifest, write_manifest
from yoj_cli.run.result_file import ResultFile

COMMIT_EVERY_S = 3.0
"""What a crash of the machine costs at most, besides the groups that are scored together."""


class Progress:
    """What is done of a run, in its output and on the disk.

    Args:
        file: where the lines go.
        manifest: what the run is, with nothing done.
    """

    def __init__(self, file: ResultFile, manifest: Manifest) -> None:
        self._file, self.manifest = file, manifest
        self._n_done = self._n_failed = 0
        self._committed_at = time.monotonic()

    def resume(self) -> None:
        """Go on where the manifest says that an earlier run stopped; what the output holds beyond that is dropped.

        Raises:
            UsageError: the output is of another run, or not of one that can go on.
        """
        output = self._file.path
        earlier = read_manifest(path_of(output))
        size = output.stat().st_size if output.exists() else 0
        if earlier is None and size == 0:
            return
        anew = "Name another file, or begin anew with --overwrite."
        if earlier is None:
            raise UsageError(
                f"has no {path_of(output).name} that says what it is", where=str(output), hint=anew
            )
        earlier.check_same_run(self.manifest, where=str(output), hint=f"Repeat the command as it was. {anew}")
        if (earlier.shard, earlier.n_shards) != (self.manifest.shard, self.manifest.n_shards):
            raise UsageError(f"is shard {earlier.shard}/{earlier.n_shards}", where=str(output), hint=anew)
        if size < earlier.n_bytes:
            raise UsageError(
                f"has {size:,} bytes, and its manifest knows of {earlier.n_bytes:,}: results were lost",
                where=str(output),
                hint=anew,
            )
        self.manifest = earlier
        self._n_done, self._n_failed = earlier.n_done, earlier.n_failed
        self._file.go_on_after(earlier.n_bytes)

    def begin(self) -> None:
        """Before the first line is written: whatever happens from here on, the output can be told from others."""
        write_manifest(path_of(self._file.path), self.manifest)

    def add(self, *, failed: bool) -> None:
        """Count a line that was written."""
        self._n_done += 1
        self._n_failed += failed

    def commit(self) -> None:
        """Between two windows of groups: from here on a run could go on and give the same lines to the last bit."""
        if time.monotonic() - self._committed_at >= COMMIT_EVERY_S:
            self._commit()

    def finish(self) -> None:
        """No group is left."""
        self._commit(finished=True)

    def replaced(self, n_bytes: int, n_failed: int) -> None:
        """Lines of a finished run were replaced in its output."""
        self.manifest = replace(
            self.manifest.note(
                "groups that had failed were scored again, beside other groups: rounding may differ"
            ),
            n_bytes=n_bytes,
            n_failed=n_failed,
        )
        write_manifest(path_of(self._file.path), self.manifest)

    def note(self, text: str) -> None:
        self.manifest = self.manifest.note(text)

    def _commit(self, *, finished: bool = False) -> None:
        n_bytes = self._file.commit()
        self.manifest = replace(
            self.manifest, n_done=self._n_done, n_failed=self._n_failed, n_bytes=n_bytes, finished=finished
        )
        write_manifest(path_of(self._file.path), self.manifest)
        self._committed_at = time.monotonic()
