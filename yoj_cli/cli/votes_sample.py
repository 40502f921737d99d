"""`yoj votes sample`: ranked groups in, groups of N responses out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Optional

import typer

from yoj_cli.cli.input import check_paths
from yoj_cli.cli.messages import Complaints, say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.config.io import OutputConfig
from yoj_cli.config.limits import Limits
from yoj_cli.config.votes import SampleConfig
from yoj_cli.errors import ExitCode, InputError
from yoj_cli.groups import Failure, Group


@with_options(sample=SampleConfig)
def sample(
    sample: SampleConfig,
    files: Annotated[
        Optional[list[str]],  # noqa: UP045  (read at run time, also by Python 3.10)
        typer.Argument(help="Ranked groups, JSON Lines; - for standard input.", metavar="FILE"),
    ] = None,
) -> None:
    """Draw groups of N responses out of full rankings: no duplicates, the best one equally often in each place.

    yoj votes rank votes.jsonl --texts texts.jsonl | yoj votes sample --n 4 --unique-best > groups.jsonl

    Media paths are kept as they are: write the output beside the input, or score it with --media-root.
    """
    paths = check_paths(files)
    complaints = Complaints(rows_say_so=False)
    with open_output(
        OutputConfig(output=sample.output, overwrite=sample.overwrite, format="jsonl"), paths
    ) as stream:
        from yoj_cli.records.parse import read_groups
        from yoj_cli.render.votes import render_sample
        from yoj_cli.render.writers import render_json
        from yoj_cli.votes.sample import sample_variants

        failures: list[Failure] = []
        # Groups are ranked lists here, and nothing of them is loaded: what a line may hold is bound enough.
        limits = Limits(
            max_line_mb=sample.max_line_mb,
            max_line_values=sample.max_line_values,
            max_responses=sample.max_line_values,
            max_media=sample.max_line_values,
        )
        items = (item for path in paths for item in read_groups(path, limits=limits))
        groups = _ranked(items, failures, sample.on_error)
        found = sample_variants(
            groups,
            sample.n,
            unique_best=sample.unique_best,
            per_group=sample.per_group,
            seed=sample.seed,
        )
        with writing(stream):
            for record in found.records:
                stream.write(render_json(record) + "\n")
            stream.flush()
    for failure in failures:
        complaints.add(failure.error)
    complaints.finish()
    if not sample.quiet:
        say(render_sample(found, sample.n))
    if failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _ranked(items: Iterable[Group | Failure], failures: list[Failure], on_error: str) -> Iterator[Group]:
    """The groups that have rankings; what else there is goes to `failures`, or ends the run."""
    for item in items:
        found = item
        if isinstance(item, Group) and item.rankings is None:
            error = InputError(
                "the group has no rankings", where=item.where, hint="`yoj votes rank` makes them of votes."
            )
            found = Failure(item.where, item.record, error)
        if isinstance(found, Group):
            yield found
        elif on_error == "stop":
            raise found.error
        else:
            failures.append(found)
