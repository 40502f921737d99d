"""The Hugging Face Hub: models pulled from it, and a checkpoint pushed to it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoj_cli.config.judge import DEMO
from yoj_cli.errors import InputError, ModelError, UsageError
from yoj_cli.storage.files import read_json
from yoj_cli.storage.names import ADAPTER_CONFIG, HEAD_PICKLED, REWARD_CONFIG

PULLED = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", HEAD_PICKLED]
NOT_PUSHED = ["checkpoint-*/**", "runs/**", "recipe.toml", "*.tmp", ".*"]
"""Training state, paths of this machine and half-written files: of use where the training runs, and nowhere else."""

log = logging.getLogger(__name__)
"""What is being fetched; without a handler of the host program's, Python prints it on standard error."""

NOTICE = logging.WARNING + 5
"""For a person, not for a developer: above what the command line hides of libraries' warnings."""

OTHERWISE = "give a folder, or try `{} demo`"
"""What to do about a model that is out of reach but connect, by the option that named it."""

LOG_IN = "`hf auth login`, or set HF_TOKEN, with a token that may write."


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


def check_repo_id(name: str) -> None:
    """Refuse what cannot be the name of a new model on the Hub.

    Raises:
        UsageError: the name is not of the form "owner/name", or has characters the Hub does not allow.
    """
    if name.count("/") != 1 or not is_hub_id(name):
        raise UsageError(
            "no name for a model on the Hub",
            where=name,
            hint='Give "owner/name": letters, digits, "-", "_" and ".", at most 96 in the name.',
        )


def check_push(repo_id: str, base: str | None = None, *, folder: Path | None = None) -> None:
    """Find out before hours of training what would make `push` fail after them.

    Args:
        repo_id: "owner/name" to push to.
        base: the base model's name, as the user gave it; None where the checkpoint will be merged.
        folder: where the checkpoint will be written; a base inside it travels with it.
    Raises:
        UsageError: the name is none, its owner is somebody else, or the base is a folder of this machine.
        ModelError: offline, not logged in, or the Hub cannot be reached.
    """
    check_repo_id(repo_id)
    if base is not None and base != DEMO:  # that one comes with yoj
        # As for loading, a folder of that name goes before the Hub.
        path = Path(base).expanduser().resolve()
        inside = folder is not None and path.is_relative_to(folder.resolve())
        if not inside and (path.is_dir() or not is_hub_id(base)):
            raise _local_base(base)
    _check_online(repo_id, "Unset it, or leave the push away and `hf upload` the checkpoint later.")
    _check_login(repo_id)


def push(folder: Path, repo_id: str, *, private: bool, files: Sequence[str] | None = None) -> str:
    """Upload a checkpoint, without its training state, as one model of the Hub.

    Args:
        folder: a whole checkpoint.
        repo_id: "owner/name"; made if need be. Files of the same names are replaced, others stay.
        private: make the model private. One that is there already and public is refused.
        files: upload only these names or patterns, relative to the folder; all if None.
    Returns:
        URL of the commit.
    Raises:
        UsageError: the name is none, the base model is a folder outside of the checkpoint, or the model is
            public although `private` was asked for.
        CheckpointError: the folder is no checkpoint.
        ModelError: offline, not logged in, not allowed to write, or the Hub cannot be reached.
    """
    check_repo_id(repo_id)
    later = f"hf upload {shlex.quote(repo_id)} {shlex.quote(str(folder))} --exclude 'checkpoint-*/**'"
    _check_online(repo_id, f"Unset it, or later: `{later}`.")
    base = _base_of(folder)
    if base is not None and not is_hub_id(base) and not _is_inside(folder, base):
        raise _local_base(base)
    from huggingface_hub import HfApi

    with _errors(repo_id, f"The checkpoint is safe; later: `{later}`."):
        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise UsageError(
                "the model exists and is public",
                where=repo_id,
                hint="Give another name, or make it private in its settings on the Hub.",
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=None if files is None else list(files),
            ignore_patterns=list(NOT_PUSHED),  # upload_folder adds to the list that it is given
            commit_message="Upload a judge with yoj-cli",
        )
    return str(commit.commit_url)


def _check_online(repo_id: str, hint: str) -> None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError("offline mode is on (HF_HUB_OFFLINE)", where=repo_id, hint=hint)


def _check_login(repo_id: str) -> None:
    """Whoever is logged in must be able to write there; where the Hub does not tell, the push will."""
    from huggingface_hub import HfApi

    with _errors(
        repo_id, "Check the connection, or leave the push away and `hf upload` the checkpoint later."
    ):
        user = HfApi().whoami()
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ModelError("the Hub login may read only", where=repo_id, hint=LOG_IN)
    owners = [str(user.get("name"))] + [str(group.get("name")) for group in user.get("orgs", [])]
    # A fine-grained token can be given one model of an organization that it does not list.
    if role == "write" and repo_id.split("/")[0].lower() not in {owner.lower() for owner in owners}:
        raise UsageError(
            f"the Hub login is {owners[0]}, who cannot write there",
            where=repo_id,
            hint=f"Its models go under {' or '.join(f'{owner}/' for owner in owners)}.",
        )


@contextmanager
def _errors(repo_id: str, hint: str) -> Iterator[None]:
    """Whatever can go wrong between here and the Hub, as our errors; `hint` says what to do then."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    # The base class of the HTTP client's errors, whichever client this version of huggingface_hub uses.
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]

    try:
        yield
    except LocalTokenNotFoundError as error:
        raise ModelError("not logged in to the Hub", where=repo_id, hint=LOG_IN) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            raise ModelError("the Hub does not know this login", where=repo_id, hint=LOG_IN) from error
        if status == 403:
            raise ModelError("this Hub login may not write there", where=repo_id, hint=LOG_IN) from error
        why = error.server_message or error.response.reason_phrase
        raise ModelError(f"the Hub answered {status}: {why}", where=repo_id, hint=hint) from error
    except (TransportError, ConnectionError, TimeoutError) as error:
        raise ModelError("the Hub cannot be reached", where=repo_id, hint=hint) from error
    except (OSError, ValueError, RuntimeError) as error:
        # A file that cannot be read, a card that the Hub refuses, a transfer that broke off.
        raise ModelError(f"cannot be pushed: {error}", where=repo_id, hint=hint) from error


def _base_of(folder: Path) -> str | None:
    """The base model that a checkpoint names; None where it is merged."""
    names = [read_json(folder / REWARD_CONFIG).get("base_model")]
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    names.append(read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path"))
    return next((str(name) for name in names if name), None)


def _is_inside(folder: Path, base: str) -> bool:
    """Whether the base is a folder of the checkpoint, named so that it is found wherever that is moved."""
    if Path(base).is_absolute():
        return False
    path = (folder / base).resolve()
    return path.is_dir() and path.is_relative_to(folder.resolve())


def _local_base(base: str) -> UsageError:
    return UsageError(
        "the base model is a folder of this machine, which nobody else has",
        where=base,
        hint="Give a Hub id for --base, or `yoj merge` first and push the whole model.",
    )
