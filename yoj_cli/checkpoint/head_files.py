"""The value head's files: safetensors, or the official format's pickled file, of which only tensors are read."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from yoj_cli.errors import CheckpointError
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.head import HeadConfig, ValueHead
from yoj_cli.storage.files import read_weights
from yoj_cli.storage.names import HEAD_PICKLED, HEAD_SAFE, REWARD_CONFIG


def load_head(folder: Path, config: HeadConfig, backbone: Backbone) -> ValueHead:
    """A checkpoint's value head, frozen, on the CPU.

    Raises:
        CheckpointError: it is missing, damaged, or does not fit its configuration or the backbone.
    """
    if config.hidden_size != backbone.hidden_size:
        raise CheckpointError(
            f"the value head reads {config.hidden_size} numbers a token, "
            f"the backbone gives {backbone.hidden_size}",
            where=str(folder / REWARD_CONFIG),
        )
    # On no device: what the sizes in the file would take is allocated only for weights that have them.
    with torch.device("meta"):
        head = ValueHead(config).eval()
    safe, pickled = folder / HEAD_SAFE, folder / HEAD_PICKLED
    if safe.is_file():
        head.load_weights(read_weights(safe), where=str(safe))
    else:
        head.load_weights(_read_pickled(pickled), where=str(pickled))
    return head.requires_grad_(False)


def _read_pickled(pickled: Path) -> dict[str, Tensor]:
    if not pickled.is_file():
        raise CheckpointError(
            f"the value head is missing: neither {HEAD_SAFE} nor {HEAD_PICKLED}", where=str(pickled.parent)
        )
    _check_unpacked(pickled)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about the file is our error to report
            state = torch.load(pickled, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything at all
        raise CheckpointError(
            "the value head is no plain file of tensors, and nothing else in it will be run",
            where=str(pickled),
        ) from error
    if not isinstance(state, dict) or not all(_is_plain(weight) for weight in state.values()):
        raise CheckpointError("the value head is no dictionary of tensors", where=str(pickled))
    n_bytes = sum(weight.numel() * weight.element_size() for weight in state.values())
    if n_bytes > pickled.stat().st_size:  # a view can repeat a single number any number of times
        raise CheckpointError(
            f"claims {n_bytes:,} bytes of weights and does not have them", where=str(pickled)
        )
    return state


def _is_plain(weight: object) -> bool:
    return isinstance(weight, Tensor) and weight.layout == torch.strided and weight.device.type == "cpu"


def _check_unpacked(pickled: Path) -> None:
    """Refuse a file that grows when it is read; torch writes them unpacked."""
    if not zipfile.is_zipfile(pickled):
        return
    try:
        with zipfile.ZipFile(pickled) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(pickled)) from error
    if sum(member.file_size for member in members) > pickled.stat().st_size:
        raise CheckpointError("is packed, and would be larger than its file", where=str(pickled))
