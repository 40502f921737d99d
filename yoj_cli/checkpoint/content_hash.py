"""One hash for all that a judge is made of: two folders with the same hash give the same scores."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from yoj_cli.checkpoint.read import Checkpoint, find_base
from yoj_cli.errors import CheckpointError
from yoj_cli.storage.names import HEAD_PICKLED, REWARD_CONFIG

SUFFIXES = {".json", ".jinja", ".safetensors", ".txt", ".model"}
"""Files that the weights, the tokenizer, the processor and their settings are in."""

NO_PART = {"metrics.jsonl", "trainer_state.json", "README.md", "data-card.json"}

BLOB = re.compile(r"[0-9a-f]{64}")
"""The Hub's cache names a weight file by the SHA-256 of what it holds."""


def content_hash(checkpoint: Checkpoint) -> str:
    """BLAKE2b over the files of a judge and of its base, without a calibration stored in them.

    A calibration changes no score, and is named by itself. Reads all weights that are not in the Hub's cache: some
    seconds for a judge of 9 GB.

    Raises:
        CheckpointError: a file cannot be read.
    """
    total = hashlib.blake2b(digest_size=16)
    folders = [checkpoint.folder]
    if checkpoint.base_model is not None:
        folders.append(find_base(checkpoint))
    for folder in folders:
        for path in sorted(folder.iterdir()):
            is_part = path.suffix in SUFFIXES or path.name == HEAD_PICKLED
            if is_part and path.is_file() and path.name not in NO_PART:
                total.update(f"{path.name}\0{_digest(path)}\0".encode())
    return total.hexdigest()


def _digest(path: Path) -> str:
    try:
        blob = path.resolve().name
        if path.is_symlink() and BLOB.fullmatch(blob):
            return blob
        if path.name == REWARD_CONFIG:
            raw = json.loads(path.read_bytes())
            raw.pop("calibration", None)
            return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
