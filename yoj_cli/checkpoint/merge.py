"""Merging a LoRA into its base: the official format, read by the official implementation and by every tool
that reads transformers models.

The base is never loaded. Its files are rewritten shard by shard under their own names, and the adapted layers get
their product B A added on the way: in float32, rounded once to the type of the base. A bfloat16 base keeps 8 bits
of mantissa, so scores of the merged model differ from those of base and adapter by that rounding; a float32 base
gives the same scores to float tolerance. Scores differ more where merged weights are quantized, since an adapter that
is not merged stays unquantized.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yoj_cli.checkpoint.adapter_files import read_adapter
from yoj_cli.checkpoint.head_files import load_head
from yoj_cli.checkpoint.read import (
    Checkpoint,
    find_base,
    find_processor,
    read_checkpoint,
)
from yoj_cli.checkpoint.save import copy_processor, write_official_head
from yoj_cli.checkpoint.separator import restore_separator
from yoj_cli.checkpoint.transformers4 import with_rotary_for_4, write_processor_for_4, write_tokenizer_for_4
from yoj_cli.config.judge import JudgeConfig
from yoj_cli.errors import CheckpointError, first_few
from yoj_cli.model.adapter import load_adapter
from yoj_cli.model.backbone import Backbone
from yoj_cli.model.load import load_on_meta
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.storage.files import check_new_folder, copy_file, new_folder, read_json, write_json
from yoj_cli.storage.find import is_local
from yoj_cli.storage.names import (
    ADAPTER_CONFIG,
    IMAGE_PROCESSOR_CONFIG,
    MODEL_CONFIG,
    PROCESSOR_CONFIGS,
    REWARD_CONFIG,
    VIDEO_PROCESSOR_CONFIG,
)
from yoj_cli.storage.weights import Planned, Stored, find_weights, write_weights

CODED = (MODEL_CONFIG, *PROCESSOR_CONFIGS)
"""Files whose "auto_map" says which of the repository's own code reads the model."""


@dataclass(frozen=True)
class Merged:
    """What a merge wrote.

    Attributes:
        n_layers: layers of the decoder that the adapter changed.
        n_bytes: size of the weights.
        has_lm_head: the base has a language-model head, which was carried over; of its own, or the embedding (tied).
    """

    n_layers: int
    n_bytes: int
    has_lm_head: bool


def merge(config: JudgeConfig, out: Path) -> Merged:
    """Merge a checkpoint's LoRA into its base and write the official merged format.

    A base without a language-model head (no score uses one) gives a result without: the official loader then
    warns that it makes up a new one, and scores the same.

    Args:
        config: names the checkpoint and its revision; nothing else of it is used.
        out: the new folder; it appears when all is written.
    Raises:
        UsageError: there is something in `out`, or no room for it.
        CheckpointError: there is no adapter, or it cannot be merged.
        ModelError: the checkpoint or its base cannot be found or read.
    """
    check_new_folder(out)
    config = config.resolved()
    checkpoint = read_checkpoint(config)
    if checkpoint.base_model is None:
        raise CheckpointError(
            "there is nothing to merge: the checkpoint has no adapter", where=str(checkpoint.folder)
        )
    _check_mergeable(checkpoint)
    base = find_base(checkpoint)
    if read_json(base / MODEL_CONFIG).get("quantization_config"):
        raise CheckpointError(
            "the base is stored quantized; a LoRA is merged into whole weights",
            where=str(base),
            hint="Merge the checkpoint that this one was quantized from.",
        )
    processor = find_processor(checkpoint, base)
    on_meta = load_on_meta(base, config, processor_folder=processor)
    _, rows = restore_separator(on_meta, checkpoint.separator, checkpoint.folder)
    SequenceBuilder(on_meta, checkpoint.separator, checkpoint.role, 1, where=str(checkpoint.folder))
    load_adapter(on_meta, *read_adapter(checkpoint.folder), folder=checkpoint.folder)
    head = load_head(checkpoint.folder, checkpoint.head, on_meta)
    adapted = _adapted(on_meta, checkpoint)
    stored = find_weights(base)
    inner = _inner_names(stored, on_meta)
    weights = [
        _grown(weight, inner, on_meta, rows) for weight in _plan(on_meta, adapted, stored, inner, base)
    ]
    with new_folder(out) as folder:
        n_bytes = write_weights(folder, weights)
        copy_processor(processor, folder)
        write_official_head(folder, checkpoint, head)
        _write_config(folder, base, on_meta, grown=rows is not None)
        _carry_code(folder, base, checkpoint)
    lm_head = on_meta.family.lm_head
    has_lm_head = any(weight.name.startswith(lm_head) for weight in weights) or _is_tied(on_meta)
    return Merged(len(adapted), n_bytes, has_lm_head)


def _check_mergeable(checkpoint: Checkpoint) -> None:
    where = checkpoint.folder / ADAPTER_CONFIG
    adapter = read_json(where)
    if adapter.get("lora_bias"):
        raise CheckpointError("the adapter has biases, which the base has no place for", where=str(where))
    divisor = math.sqrt(checkpoint.head.hidden_size)
    if not math.isclose(checkpoint.head.score_divisor, divisor, rel_tol=1e-6):
        raise CheckpointError(
            f"scores are divided by {checkpoint.head.score_divisor}; the official format knows only {divisor}",
            where=str(checkpoint.folder / REWARD_CONFIG),
        )


def _adapted(on_meta: Backbone, checkpoint: Checkpoint) -> dict[str, Any]:
    """PEFT's layers by the name of the layer they adapt; only plain LoRA, which is a product and no more."""
    from peft.tuners.lora import LoraLayer

    layers = {name: module for name, module in on_meta.model.named_modules() if isinstance(module, LoraLayer)}
    for name, layer in layers.items():
        if layer.lora_variant:
            raise CheckpointError(
                f"the adapter of {name} is more than a product of two matrices: not merged",
                where=str(checkpoint.folder / ADAPTER_CONFIG),
            )
    return layers


def _plan(
    on_meta: Backbone,
    adapted: Mapping[str, Any],
    stored: Mapping[str, Stored],
    inner: Mapping[str, str],
    base: Path,
) -> Iterator[Planned]:
    """The weights to write, in the order of the base's files, each under its official name.

    Args:
        inner: see `_inner_names`.
    """
    embedding = _divided_embedding(on_meta, stored, inner, base)
    n_rows = {name: int(module.out_features) for name, module in _linears(on_meta)}
    left, names = set(adapted), set()
    for name, weight in stored.items():
        official = _official_name(name, inner[name], on_meta, base)
        if official in names:
            raise CheckpointError(f"there is more than one {official}", where=str(base))
        names.add(official)
        layer = inner[name].removesuffix(".weight")
        parts = {part: n_rows.get(part, 0) for part in on_meta.family.layers_of(layer)}
        if name in embedding:
            yield embedding[name]
        elif left.isdisjoint(parts):
            yield Planned(official, weight.n_bytes, lambda name=name, weight=weight: weight.read(name))  # type: ignore[misc]
        else:
            if weight.shape[0] != sum(parts.values()):
                raise CheckpointError(
                    f"{name} has {weight.shape[0]} rows in the file and {sum(parts.values())} in the model",
                    where=str(weight.file),
                )
            left.difference_update(parts)
            yield Planned(official, weight.n_bytes, _product_added(name, weight, parts, adapted))
    if left:
        raise CheckpointError(
            f"the base's files do not hold {len(left)} adapted layers ({first_few(sorted(left))})",
            where=str(base),
        )


def _linears(on_meta: Backbone) -> Iterator[tuple[str, Any]]:
    for name, module in on_meta.model.named_modules():
        if hasattr(module, "out_features"):
            yield name, module


def _inner_names(stored: Iterable[str], on_meta: Backbone) -> dict[str, str]:
    """Names of weights in the files -> those without the prefix that models with a language-model head put in front.

    Where transformers gives weights other names as it loads them (EXAONE's), they are those, but for families whose
    released names we know.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    renamings: list[Any] = []
    if on_meta.family.released is None:
        known = get_model_conversion_mapping(on_meta.model)
        renamings = [each for each in known if isinstance(each, WeightRenaming)]
    prefix, found = f"{on_meta.model.base_model_prefix}.", {}
    for name in stored:
        inner = name
        for renaming in renamings:
            inner, _ = renaming.rename_source_key(inner)
        found[name] = inner.removeprefix(prefix)
    return found


def _official_name(name: str, inner: str, on_meta: Backbone, base: Path) -> str:
    """The name in the official format; transformers' own families keep the names they have."""
    released = on_meta.family.released
    if released is None or name.startswith(on_meta.family.lm_head):
        return name
    if not inner.startswith(released.roots):
        raise CheckpointError(
            f"{name} is not how the released files name a weight",
            where=str(base),
            hint="Give the adapter the base in the format it was released in.",
        )
    return f"model.{inner}"


def _divided_embedding(
    on_meta: Backbone, stored: Mapping[str, Stored], inner: Mapping[str, str], base: Path
) -> dict[str, Planned]:
    """The two parts of an embedding, by their names in the file, with the rows that the official loader wants."""
    released = on_meta.family.released
    found = [name for name in stored if released and inner[name] in released.embedding]
    if released is None or not found:
        return {}
    found.sort(key=lambda name: released.embedding.index(inner[name]))
    text = on_meta.text_config
    n_rows = [int(text.vocab_size), int(text.additional_vocab_size)]
    shapes = [stored[name].shape for name in found]
    if len(found) != 2 or sum(shape[0] for shape in shapes) != sum(n_rows):
        raise CheckpointError(
            f"the embedding has {[shape[0] for shape in shapes]} rows, the configuration says {n_rows}",
            where=str(base),
        )

    def part(index: int) -> Tensor:
        whole = torch.cat([stored[name].read(name) for name in found])
        return whole.split(n_rows)[index].clone()  # type: ignore[no-untyped-call, no-any-return]

    row_bytes = stored[found[0]].n_bytes // shapes[0][0]
    return {
        name: Planned(
            _official_name(name, inner[name], on_meta, base),
            row_bytes * n_rows[index],
            lambda index=index: part(index),  # type: ignore[misc]
        )
        for index, name in enumerate(found)
    }


def _product_added(name: str, weight: Stored, parts: Mapping[str, int], adapted: Mapping[str, Any]) -> Any:
    """A function that computes W + B A alpha / r of one weight (out, in), whose rows may belong to several layers."""

    def build() -> Tensor:
        whole = weight.read(name).float()
        for layer, rows in zip(parts, torch.split(whole, list(parts.values())), strict=True):
            if layer in adapted:
                rows += adapted[layer].get_delta_weight("default")
        merged = whole.to(weight.torch_dtype)
        if not bool(torch.isfinite(merged).all()):
            raise CheckpointError(f"{name} is no longer finite when the adapter is merged")
        return merged

    return build


def _is_tied(on_meta: Backbone) -> bool:
    """Whether the embedding is the language-model head, too."""
    return bool(getattr(on_meta.model.config, "tie_word_embeddings", False))


def _grown(weight: Planned, inner: Mapping[str, str], on_meta: Backbone, rows: Tensor | None) -> Planned:
    """A weight of the vocabulary with the rows that the judge adds; any other as it is.

    A head that is not tied gets the mean of its own rows: no score uses it, and no text is more likely for it.
    """
    if rows is None:
        return weight
    embedding = on_meta.model.get_input_embeddings()  # type: ignore[operator]
    names = {f"{name}.weight" for name, module in on_meta.model.named_modules() if module is embedding}
    is_embedding = inner.get(weight.name) in names
    if not (is_embedding or weight.name.startswith(on_meta.family.lm_head)):
        return weight

    def build() -> Tensor:
        whole = weight.build()
        mean = whole.float().mean(0, keepdim=True).expand(len(rows), *whole.shape[1:])
        added = rows if is_embedding or _is_tied(on_meta) else mean
        return torch.cat([whole, added.to(whole.dtype)])

    n_bytes = weight.n_bytes // (on_meta.n_rows - len(rows)) * on_meta.n_rows
    return Planned(weight.name, n_bytes, build)


def _write_config(folder: Path, base: Path, on_meta: Backbone, *, grown: bool) -> None:
    content = read_json(base / MODEL_CONFIG)
    if grown:
        text = content.get("text_config", content)
        text["vocab_size"] = on_meta.n_rows
    if on_meta.family.released is not None:
        content["architectures"] = [on_meta.family.released.architecture]
    write_json(folder / MODEL_CONFIG, with_rotary_for_4(content))


def _carry_code(folder: Path, base: Path, checkpoint: Checkpoint) -> None:
    """Have the merged folder name the base's own code, which the official implementation runs; nothing runs here.

    Code that lies beside the base is copied. A base from the Hub is pulled without its code: there, the name is
    completed to "owner/name--module.Class", which transformers follows.
    """
    for path in base.glob("*.py"):
        copy_file(path, folder)
    for name in ("generation_config.json", IMAGE_PROCESSOR_CONFIG, VIDEO_PROCESSOR_CONFIG):
        if (base / name).is_file() and not (folder / name).exists():
            copy_file(base / name, folder)
    write_tokenizer_for_4(folder)
    write_processor_for_4(folder)
    for name in CODED:
        if not (folder / name).is_file():
            continue
        content = read_json(folder / name)
        known = read_json(base / name).get("auto_map") if (base / name).is_file() else None
        code = content.get("auto_map") or known
        if code:
            content["auto_map"] = {
                key: _located(str(place), folder, checkpoint) for key, place in code.items()
            }
            write_json(folder / name, content)


def _located(place: str, folder: Path, checkpoint: Checkpoint) -> str:
    module = place.partition(".")[0]
    base = str(checkpoint.base_model)
    is_folder = is_local(base) or (checkpoint.folder / base).is_dir()
    if "--" in place or (folder / f"{module}.py").is_file() or is_folder or "/" not in base:
        return place
    return f"{base}--{place}"
