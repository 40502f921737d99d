"""The backbone: a decoder without its LM head, its processor, and where and in what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from yoj_cli.config.judge import Quant
from yoj_cli.errors import ModelError, YojError
from yoj_cli.model.attention import CANNOT, ONE_BRANCH
from yoj_cli.model.branch_probe import keeps_branches_apart
from yoj_cli.model.device import is_out_of_memory
from yoj_cli.model.family import KNOWN, Family

NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Backbone:
    """A decoder without its LM head, its processor, and where and in what it computes.

    Attributes:
        model: transformers module whose `last_hidden_state` (1, T, H) the head reads.
        processor: the family's processor, or a bare tokenizer for text-only families.
        where: the folder of its files, for errors.
        device, dtype, quant: where it computes, in which type, and how its weights are quantized; nothing is `auto`.
    """

    model: nn.Module
    processor: Any
    family: Family
    device: torch.device
    dtype: torch.dtype
    quant: Quant = "none"
    where: str = ""

    @property
    def tokenizer(self) -> Any:
        return getattr(self.processor, "tokenizer", self.processor)

    @property
    def hidden_size(self) -> int:
        """H, the numbers of a token's last hidden state."""
        return int(getattr(self.text_config, self.family.width))

    @property
    def n_layers(self) -> int:
        return int(self.text_config.num_hidden_layers)

    @property
    def n_rows(self) -> int:
        """Rows of the input embedding: a token id must be below it."""
        return int(self.model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]

    @property
    def context(self) -> int:
        """Most tokens of a sequence: as many as the backbone has positions for, if it counts them.

        Of a base with two sets of rotary frequencies (longrope, as of Phi-3), as many as the first is for. The
        longest sequence of a pass decides on the set for all: scores would depend on what is read beside a group.
        """
        rope = getattr(self.text_config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "longrope":
            return int(rope["original_max_position_embeddings"])
        return int(getattr(self.text_config, "max_position_embeddings", NO_LIMIT))

    @property
    def attention_window(self) -> int | None:
        """Tokens that a token attends to in layers of sliding-window attention; None where there are none.

        Branches are kept apart only where prefix and branches together are no longer than that.
        """
        config = self.text_config
        kinds = getattr(config, "layer_types", None)
        is_chunked = "chunked_attention" in (kinds or ())  # Llama 4
        window = getattr(config, "attention_chunk_size" if is_chunked else "sliding_window", None)
        has_window = is_chunked or kinds is None or any("sliding" in kind for kind in kinds)
        return int(window) if window and has_window else None

    @cached_property
    def keeps_branches_apart(self) -> bool:
        """Whether several branches can be read in one pass; for a family that is not known, found out once."""
        with self._translate_errors():
            return self.family.name in KNOWN or keeps_branches_apart(self.model, self.n_layers, self.device)

    def check_branches(self, hint: str = ONE_BRANCH) -> None:
        """Refuse several branches in one pass where the architecture does not keep them apart.

        Raises:
            ModelError: it does not; with the hint.
        """
        if not self.keeps_branches_apart:
            raise ModelError(f"{CANNOT} ({self.family.name})", hint=hint)

    @property
    def text_config(self) -> Any:
        return self.model.config.get_text_config()  # type: ignore[operator,union-attr]

    def run(self, method: str, **arguments: Any) -> Any:
        """Call the model's own code.

        Args:
            method: "forward", or another that takes tensors.
        Raises:
            ModelError: it fails.
        """
        with self._translate_errors():
            return (self.model if method == "forward" else getattr(self.model, method))(**arguments)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Around the library's code, where a configuration fails that fits the shapes of the weights."""
        try:
            yield
        except (YojError, OSError):
            raise
        except Exception as error:
            if is_out_of_memory(error) or "CUDA error" in str(error):  # see `translate_oom`
                raise
            raise ModelError(
                f"the backbone cannot read the group: {type(error).__name__}: {error}",
                where=self.where,
                hint="Its configuration, weights, tokenizer and processor may not fit together. If they do, this is a "
                "bug; YOJ_DEBUG=1 shows where.",
            ) from error

    def positions(self, input_ids: Tensor, media_types: Tensor, media_inputs: dict[str, Tensor]) -> Tensor:
        """Position ids of a sequence without branches.

        Args:
            input_ids: (1, T) int64.
            media_types: (1, T) 0 = text, 1 = picture token, 2 = clip token (as the processor numbers them).
            media_inputs: what the picture and clip processors returned.
        Returns:
            (1, T) int64, or (3, 1, T) time, height and width for Qwen3-VL (mRoPE).
        """
        with self._translate_errors():
            return self.family.positions(self.model, input_ids, media_types, media_inputs)
