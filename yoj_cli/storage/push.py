"""A checkpoint pushed to the Hugging Face Hub, and what would make that fail found out before."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from yoj_cli.config.judge import DEMO
from yoj_cli.errors import ModelError, UsageError
from yoj_cli.storage.files import read_json
from yoj_cli.storage.hub import is_hub_id
from yoj_cli.storage.names import ADAPTER_CONFIG, REWARD_CONFIG

NOT_PUSHED = ["checkpoint-*/**", "runs/**", "recipe.toml", "*.tmp", ".*"]
"""Training state, paths of this machine and half-written files: of use where the training runs, and nowhere else."""

LOG_IN = "`hf auth login`, or set HF_TOKEN, with a token that may write."


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
