"""A judge as the text reward model that TRL calls itself: `single` on text, by TRL's own path."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from yoj_cli.errors import UsageError
from yoj_cli.scoring.judge import Judge


@dataclass(frozen=True)
class TextScores:
    """logits: (B, 1) float32."""

    logits: Tensor


class TextRewardModel(nn.Module):
    """A judge that TRL takes for a reward model: one pass a completion, without pictures and without its group.

        judge = Judge.load("my-judge", mode="single")
        model = TextRewardModel(judge)
        GRPOTrainer(…, reward_funcs=model, reward_processing_classes=model.tokenizer)

    TRL writes prompt and completion through the chat template and tokenizes the whole: its scores are those of
    `mode="single"`, but for texts that spell special tokens, which TRL takes for those.

    Args:
        judge: reads each response alone, in a turn of the assistant, by its last token; its backbone and head are
            used as they are, and not copied.
    Raises:
        UsageError: another kind of judge, whose scores this cannot be.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        backbone = judge.backbone
        self.backbone, self.head = backbone.model, judge.head
        # TRL writes into the configuration, and logs the reward under its name
        self.config = deepcopy(cast("Any", backbone.model).config)
        self.config._name_or_path = judge.checkpoint.name
        self.tokenizer: Any = deepcopy(backbone.tokenizer)
        self.tokenizer.chat_template = backbone.processor.chat_template
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        has_bos = backbone.family.adds_bos and judge.checkpoint.scoring_text_bos
        self._bos = self.tokenizer.bos_token_id or self.tokenizer.eos_token_id if has_bos else None
        for problem in _problems(judge, self.tokenizer):
            raise UsageError(f"TRL's reward model path cannot give this judge's scores: {problem}")

    @torch.inference_mode()
    def forward(self, input_ids: Tensor, attention_mask: Tensor, **others: Any) -> TextScores:
        """Score texts.

        Args:
            input_ids: (B, T) int64, padded on the right.
            attention_mask: (B, T) 1 where there is a token.
        """
        device = next(self.head.parameters()).device
        ids, mask = input_ids.to(device), attention_mask.to(device)
        if self._bos is not None:  # this family starts with it, and its chat template does not write it
            ids = torch.cat([torch.full_like(ids[:, :1], self._bos), ids], dim=1)  # (B, 1 + T)
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        hidden = self.backbone(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state  # (B, T, H)
        last = hidden[torch.arange(len(ids), device=device), mask.sum(dim=1) - 1]  # (B, H)
        scores: Tensor = self.head(last)
        return TextScores(scores[:, None].to(input_ids.device))


def _problems(judge: Judge, tokenizer: Any) -> list[str]:
    pooled = judge.head.config.resp_repr_mode
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "response"}]
    shown = tokenizer.apply_chat_template(turns, tokenize=False)
    return [
        *([] if judge.mode == "single" else [f"its mode is {judge.mode}"]),
        *([] if judge.role == "assistant" else ["its responses stand in the user's turn"]),
        *([] if pooled == "last" else [f"its head reads {pooled}, and not the last token alone"]),
        *(
            []
            if "question" in shown and "response" in shown
            else ["its chat template drops turns that are plain text, as TRL writes them"]
        ),
    ]
