"""The Hugging Face Hub: models pulled from it, and what can go wrong when it is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoj_cli.errors import InputError, ModelError
from yoj_cli.storage.names import HEAD_PICKLED

PULLED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", HEAD_PICKLED]

log = logging.getLogger(__name__)
"""What is being fetched; without a handler of the host program's, Python prints it on standard error."""

NOTICE = logging.WARNING + 5
"""For a person, not for a developer: above what the command line hides of libraries' warnings."""

OTHERWISE = "give a folder, or try `{} demo`"
"""What to do about a model that is out of reach but connect, by the option that named it."""


def pull(
    name: str,
    revision: str | None,
    *,
    local_only: bool = False,
    why: str = "",
    otherwise: str = OTHERWISE.format("--model"),
) -> Path:
    """The local snapshot of a model, downloaded at first use; what will be downloaded is said before.

    Args:
        name: "owner/name" on the Hub.
        revision: branch, tag or commit; the main branch if None.
        local_only: do not ask the Hub.
        why: what the model is wanted for, where the user did not name it.
        otherwise: what an error advises besides connecting.
    Raises:
        ModelError: there is no such model, it may not be read, or it is not here and the Hub is out of reach.
    """
    from huggingface_hub import constants, snapshot_download

    # Said explicitly: older releases ask the Hub for the files of a commit even in offline mode, and fail.
    here_only = local_only or constants.HF_HUB_OFFLINE
    with reading_errors(name, revision, local_only=local_only, otherwise=otherwise):
        if not here_only:
            announce(name, revision, why, PULLED)
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=PULLED, local_files_only=here_only)
        )


def list_weight_bytes(name: str, revision: str | None) -> int:
    """Size of a model's weight files as the Hub lists them; nothing is downloaded.

    Args:
        name, revision: as for `pull`.
    Raises:
        ModelError: as `pull`.
    """
    from huggingface_hub import HfApi

    with reading_errors(name, revision):
        files = HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
    return sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))


@contextmanager
def reading_errors(
    name: str,
    revision: str | None,
    *,
    local_only: bool = False,
    is_data: bool = False,
    otherwise: str = OTHERWISE.format("--model"),
) -> Iterator[None]:
    """Whatever can go wrong when a model or data set is read from the Hub, as our errors.

    Args:
        otherwise: see `pull`.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The base class of the HTTP client's errors, whichever client this version of huggingface_hub uses.
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]

    at = f"{name}@{revision}" if revision else name
    kind, error_class = ("data set", InputError) if is_data else ("model", ModelError)
    try:
        yield
    except GatedRepoError as error:
        raise error_class(
            f"the {kind} is gated", where=at, hint="Accept its terms on the Hub, then `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise error_class("the Hub has no such revision", where=at) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise error_class(
            "no data set on the Hub" if is_data else "neither a folder here nor a model on the Hub",
            where=at,
            hint="Check the name, or `hf auth login` if it is private.",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, TransportError, OSError) as error:
        if local_only:
            raise error_class(
                "not on this machine; downloaded from the Hub at first use", where=at
            ) from error
        option = " --repo-type dataset" if is_data else ""
        raise error_class(
            "not in the local cache, and the Hub cannot be reached",
            where=at,
            hint=f"Connect and run `hf download{option} {name}` once, {otherwise}.",
        ) from error


def announce(
    name: str, revision: str | None, why: str, patterns: Sequence[str], repo_type: str = "model"
) -> None:
    """Say what is about to be fetched: nobody should wonder where 9 GB come from, or who asked for them."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Hidden(tqdm):
        """The bar of a download that is none."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    try:
        planned = snapshot_download(
            name,
            repo_type=repo_type,
            revision=revision,
            allow_patterns=list(patterns),
            dry_run=True,
            tqdm_class=Hidden,
        )
    except (DryRunError, OSError, TransportError):
        return  # out of reach: what is here is used, or the download says what is wrong
    sizes = [file.file_size or 0 for file in planned if file.will_download]
    if sizes:
        at, asked = f"{name}@{revision}" if revision else name, f", {why}" if why else ""
        message = "fetching %s from the Hub (%d files, %.3g MB)%s"
        log.log(NOTICE, message, at, len(sizes), sum(sizes) / 1e6, asked)


def is_hub_id(name: str) -> bool:
    """Whether the Hub could have a model of that name: "owner/name", or one of the few without an owner."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True
