"""A calibration put into a checkpoint in place: one small file changes, the weights stay where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

from yoj_cli.checkpoint.read import Checkpoint
from yoj_cli.errors import UsageError
from yoj_cli.storage.files import read_json
from yoj_cli.storage.find import EMBEDDED
from yoj_cli.storage.names import REWARD_CONFIG
from yoj_cli.storage.writing import lock, write_whole
from yoj_cli.verdicts.calibration import Calibration


def check_storable(checkpoint: Checkpoint) -> None:
    """See that a checkpoint is the user's own to change.

    Raises:
        UsageError: it is the embedded judge, a snapshot of the Hub's cache, or cannot be written.
    """
    path = checkpoint.folder / REWARD_CONFIG
    problem = ""
    if checkpoint.folder.resolve() == EMBEDDED.resolve():
        problem = "the embedded judge is part of the program"
    elif checkpoint.revision is not None or path.is_symlink():
        problem = "the checkpoint lies in the Hub's cache, which mirrors what is published"
    elif not os.access(path, os.W_OK) or not os.access(checkpoint.folder, os.W_OK):
        problem = f"{path} cannot be written"
    if problem:
        raise UsageError(
            problem, where="--store", hint="Write it with -o FILE, and give that as --calibration."
        )


def store_calibration(checkpoint: Checkpoint, calibration: Calibration) -> Path:
    """Write it into the checkpoint's configuration; a crash leaves the old file.

    Temperatures that were stored for other ways of reading stay, if the judge's files are still the same.
    """
    path = checkpoint.folder / REWARD_CONFIG
    content = read_json(path) | {"calibration": calibration.merged_into(checkpoint.calibration).to_json()}
    with lock(path):
        write_whole(path, json.dumps(content, indent=2) + "\n")
    return path
