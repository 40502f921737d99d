"""Data sets of the Hugging Face Hub: only those files are fetched that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from yoj_cli.errors import InputError, first_few
from yoj_cli.storage.hub import announce, reading_errors


def pull_data_set(
    name: str, revision: str | None, files: Sequence[str], archives: Sequence[str] = ()
) -> Path:
    """The local snapshot of those files of a data set that are needed, downloaded at first use.

    Args:
        name, revision: as for `pull`.
        files: patterns of the files with rows; those are fetched that match the first that matches any. One without
            a folder is about a file's own name.
        archives: patterns of further files.
    Raises:
        InputError: there is no such data set, none of its files match, or it is not here and the Hub is out of reach.
    """
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]

    with reading_errors(name, revision, is_data=True, otherwise="or give a local copy with --data"):
        if constants.HF_HUB_OFFLINE:
            return _find_cached(name, revision, files, archives)
        try:
            info = HfApi().dataset_info(name, revision=revision)
        except HfHubHTTPError:
            raise
        except (TransportError, OSError):  # out of reach
            return _find_cached(name, revision, files, archives)
        names = [each.rfilename for each in info.siblings or []]
        wanted = next((found for each in files if (found := matching(names, each))), [])
        if not wanted:
            raise InputError(
                f"no file is called {' or '.join(files)}: it has {first_few(names, 6)}", where=name
            )
        patterns = [*wanted, *(found for each in archives for found in matching(names, each))]
        announce(name, revision, "", patterns, repo_type="dataset")
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=patterns))


def _find_cached(name: str, revision: str | None, files: Sequence[str], archives: Sequence[str]) -> Path:
    """The snapshot in the cache, if it has the files of the first pattern that any of its files match.

    Raises:
        LocalEntryNotFoundError: it is not there, or lacks some of them.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for pattern in files:
        patterns = [form for each in (pattern, *archives) for form in (each, f"*/{each}")]
        folder = Path(
            snapshot_download(
                name, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=True
            )
        )
        if matching([path.relative_to(folder).as_posix() for path in folder.rglob("*")], pattern):
            return folder
    raise LocalEntryNotFoundError(f"none of {', '.join(files)} is in the cache")


def matching(names: Sequence[str], pattern: str) -> list[str]:
    """The names that a pattern means; one without a folder is about a file's own name."""
    return [
        name
        for name in names
        if fnmatchcase(name, pattern)
        or ("/" not in pattern and fnmatchcase(name.rpartition("/")[2], pattern))
    ]


def is_data_set_cached(name: str, revision: str) -> bool:
    """Whether a snapshot of a data set (of one commit, or of any) is in the local cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset") / "snapshots"
    return any(not revision or path.name == revision for path in folder.glob("*"))
