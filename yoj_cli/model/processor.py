"""The processor of a model: its tokenizer, its chat template, and what makes tensors of pictures and clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yoj_cli.errors import CheckpointError, ModelError
from yoj_cli.model.family import Family
from yoj_cli.model.processor_claims import check_processor_sizes
from yoj_cli.model.tokenizer_claims import check_added_ids, check_normalizer, read_added_ids
from yoj_cli.storage.files import read_json, translate_load_errors
from yoj_cli.storage.names import PROCESSOR_CONFIG, PROCESSOR_FILES, TOKENIZER, TOKENIZER_CONFIG

MEDIA_PARTS = ("image_processor", "video_processor", "image_token", "video_token", "create_mm_token_type_ids")
"""What is used of the processor of a family that reads media."""


def load_processor(
    folder: Path, family: Family, *, trust_remote_code: bool, chat_template: str | None = None
) -> Any:
    """The family's processor, or a bare tokenizer for text-only families.

    Args:
        chat_template: takes the place of the files' own, if any.
    Raises:
        ModelError: files that are missing or cannot be read; the one at fault is named where it can be told.
    """
    from transformers import AutoProcessor, AutoTokenizer

    added = read_added_ids(folder)
    what, loader = ("processor", AutoProcessor) if family.reads_media else ("tokenizer", AutoTokenizer)
    try:
        with translate_load_errors(f"the {what}", folder):
            processor = loader.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except CheckpointError:
        _name_broken_file(folder)
        raise
    if family.reads_media:
        _check_reads_media(processor, folder)
        check_processor_sizes(processor, folder)
        family.mend_processor(processor)
    tokenizer = getattr(processor, "tokenizer", processor)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"the tokenizer is a {type(tokenizer).__name__}, and only those with a tokenizer.json are read",
            where=str(folder),
        )
    check_added_ids(tokenizer, added, folder)
    check_normalizer(tokenizer, folder)
    if family.adds_bos and tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no bos token, which the sequence starts with",
            where=str(folder / TOKENIZER_CONFIG),
        )
    if chat_template is not None:
        processor.chat_template = tokenizer.chat_template = chat_template
    if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise ModelError(
            "there is no chat template, and without one a conversation cannot be written as text",
            where=str(folder),
            hint="To train on this base, give one: --chat-template FILE (Jinja; it is stored in the checkpoint). Chat "
            "(instruct) models have one, in chat_template.jinja beside the tokenizer.",
        )
    return processor


def _check_reads_media(processor: Any, folder: Path) -> None:
    """Refuse what transformers gives for a processor class that it does not know: a bare tokenizer."""
    missing = [name for name in MEDIA_PARTS if getattr(processor, name, None) is None]
    if missing:
        where = folder / PROCESSOR_CONFIG
        raise ModelError(
            f"the processor is a {type(processor).__name__}, which has no {missing[0]}",
            where=str(where if where.is_file() else folder),
            hint="A backbone that reads pictures and clips needs the processor files that it was published with.",
        )


def check_media_tokens(processor: Any, family: Family, model_config: Any, where: Path) -> None:
    """Make sure that the model looks for its media at tokens that the processor writes.

    Args:
        model_config: transformers' configuration of the model.
        where: its file, for errors.
    Raises:
        ModelError: it does not; every group with a picture or a clip would fail.
    """
    if not family.reads_media:
        return
    written = [*processor.image_token_ids, *processor.video_token_ids]
    for name in ("image_token_id", "video_token_id"):
        token_id = getattr(model_config, name)
        if token_id not in written:
            key = model_config.attribute_map.get(name, name)
            raise ModelError(
                f"{key} is {token_id!r}, and the processor writes media as {written}", where=str(where)
            )


def _name_broken_file(folder: Path) -> None:
    """Name the file at fault, where one of a processor's or tokenizer's files is missing or damaged by itself."""
    from tokenizers import Tokenizer

    for path in sorted(folder.glob("*.json")):
        if path.name in PROCESSOR_FILES:
            read_json(path)
    path = folder / TOKENIZER
    if not path.is_file():
        raise CheckpointError(
            f"there is no {TOKENIZER}, and the tokenizer cannot be made of other files",
            where=str(folder),
            hint="Put the tokenizer's files beside the model; transformers' `save_pretrained` writes it.",
        )
    with translate_load_errors("the tokenizer", path):
        Tokenizer.from_file(str(path))
