"""`yoj gather`: the parts of a run in, its whole output out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoj_cli.cli.messages import say
from yoj_cli.cli.options import with_options
from yoj_cli.cli.output import open_output, writing
from yoj_cli.config.io import OutputConfig


@with_options()
def gather(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Outputs of `yoj score`, here or in a store (s3://…/out.*); their manifests may be among them.",
            metavar="FILE",
        ),
    ],
    out: Annotated[Path, typer.Option("--output", "-o", help="The joined output.", metavar="FILE")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let -o replace the results that FILE holds.")
    ] = False,
) -> None:
    """Join the outputs of shards, or of several inputs, when they are found to belong together and to be whole.

    Shards give the lines of one run in the order of its input; outputs of several inputs follow one another as given.
    """
    from yoj_cli.records.stores import find_files
    from yoj_cli.run.gather import find_parts
    from yoj_cli.run.manifest import path_of, write_manifest
    from yoj_cli.run.result_file import ResultFile

    gathering = find_parts(find_files(files))
    with open_output(OutputConfig(output=out, overwrite=overwrite), files) as stream:
        with writing(stream):
            for line in gathering.lines():
                stream.write(line.decode("utf-8"))
            stream.flush()
        manifest = gathering.manifest
        if isinstance(stream, ResultFile):
            write_manifest(path_of(out), replace(manifest, n_bytes=stream.commit()))
    failed = f", {manifest.n_failed:,} of them with an error" if manifest.n_failed else ""
    say(f"gathered: {manifest.n_done:,} groups{failed}")
