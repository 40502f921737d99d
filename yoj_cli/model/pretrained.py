"""What transformers reads of a model besides its weights: the configuration, the tokenizer and the processor.

Its loaders run code of the model's repository where they are told to, and ask on the terminal where they are told
nothing. So every call says whether it may, and for the families that we know it may not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yoj_cli.errors import CheckpointError, ModelError
from yoj_cli.model.family import KNOWN, Family, family_of
from yoj_cli.storage.files import name_load_errors, read_json

MODEL_CONFIG = "config.json"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"),
)
PROCESSOR_FILES = (
    *TOKENIZER_FILES,
    *("chat_template.jinja", "chat_template.json"),
    *("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
)
MEDIA_KEYS = ("vision_config", "audio_config", "image_token_id", "image_token_index", "video_token_id")
"""What the configuration of a model that reads pictures, clips or sound has, and no other's."""


def read_model_config(folder: Path, *, trust_remote_code: bool) -> tuple[Any, Family, bool]:
    """Read a model's configuration, and find out which family it is of.

    Returns:
        (transformers' configuration, the family, whether code of the model's repository may run).
    Raises:
        ModelError: it cannot be read, is an adapter's, or is of an architecture that is not read.
    """
    from transformers import AutoConfig

    where = folder / MODEL_CONFIG
    if (folder / "adapter_config.json").exists():  # transformers would load the adapter's base instead
        raise CheckpointError(
            "the base is an adapter itself, not a backbone",
            where=str(folder),
            hint="Make a whole model of it first (`yoj merge`).",
        )
    raw = read_json(where)
    model_type = raw.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise CheckpointError(f"model_type is {model_type!r}, which names no architecture", where=str(where))
    family = family_of(model_type)
    trust = trust_remote_code and model_type not in KNOWN
    with name_load_errors("the backbone's configuration", where):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    if model_type not in KNOWN:
        _check_reads_text_only(model_type, config, where)
    return config, family, trust


def _check_reads_text_only(model_type: str, config: Any, where: Path) -> None:
    """Refuse an architecture with eyes or ears that we know nothing of: its adapter would land on them, too."""
    from transformers.models.auto import modeling_auto

    sees = [key for key in MEDIA_KEYS if getattr(config, key, None) is not None]
    if sees or model_type in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise ModelError(
            f"the backbone ({model_type}) reads more than text{f' ({sees[0]})' if sees else ''}; "
            f"of those, yoj knows {' and '.join(KNOWN)}",
            where=str(where),
            hint="Use a Molmo2 or Qwen3-VL backbone, or a text-only decoder.",
        )


def load_processor(folder: Path, family: Family, *, trust_remote_code: bool) -> Any:
    """The family's processor, or a bare tokenizer for text-only families.

    Raises:
        ModelError: files that are missing or cannot be read; the one at fault is named where it can be told.
    """
    from transformers import AutoProcessor, AutoTokenizer

    what, loader = ("processor", AutoProcessor) if family.reads_media else ("tokenizer", AutoTokenizer)
    try:
        with name_load_errors(f"the {what}", folder):
            processor = loader.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except CheckpointError:
        _name_broken_file(folder)
        raise
    tokenizer = getattr(processor, "tokenizer", processor)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"the tokenizer is a {type(tokenizer).__name__}, and only those with a tokenizer.json are read",
            where=str(folder),
        )
    if family.adds_bos and tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no bos token, which the sequence starts with",
            where=str(folder / "tokenizer_config.json"),
        )
    if not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise ModelError(
            "there is no chat template, and without one a conversation cannot be laid out",
            where=str(folder),
            hint="It belongs in chat_template.jinja, beside the tokenizer; chat (instruct) models have one.",
        )
    return processor


def _name_broken_file(folder: Path) -> None:
    """Say which of the files a tokenizer or processor is made of is at fault, where that is plain to see."""
    from tokenizers import Tokenizer

    for path in sorted(folder.glob("*.json")):
        if path.name in PROCESSOR_FILES:
            read_json(path)
    path = folder / "tokenizer.json"
    if path.is_file():
        with name_load_errors("the tokenizer", path):
            Tokenizer.from_file(str(path))
