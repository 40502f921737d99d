"""Pictures with questions and answers as tensors, and what a policy thinks of given answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BatchFeature, Qwen3VLProcessor

IGNORE = -100


@dataclass(frozen=True)
class Answered:
    """A picture, what is asked about it, and an answer."""

    picture: Image.Image
    question: str
    answer: str


def messages(picture: Image.Image, question: str) -> list[dict[str, object]]:
    """One turn of a user, in the form that chat templates read."""
    content = [{"type": "image", "image": picture}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


def encode_prompts(processor: Qwen3VLProcessor, prompts: Sequence[tuple[Image.Image, str]]) -> BatchFeature:
    """Pictures and questions, padded on the left, ready for `generate`."""
    texts = [_prompt_text(processor, question) for _, question in prompts]
    pictures = [picture for picture, _ in prompts]
    return processor(text=texts, images=pictures, padding=True, return_tensors="pt")


def encode_answers(processor: Qwen3VLProcessor, items: Sequence[Answered]) -> tuple[BatchFeature, Tensor]:
    """Pictures, questions and answers, padded on the left, with (B, T) labels: the answer to its end, else IGNORE."""
    end = processor.tokenizer.eos_token
    answers = [item.answer + end for item in items]
    texts = [
        _prompt_text(processor, item.question) + answer for item, answer in zip(items, answers, strict=True)
    ]
    batch = processor(text=texts, images=[item.picture for item in items], padding=True, return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], IGNORE)
    for row, answer in enumerate(answers):
        n_tokens = len(processor.tokenizer(answer, add_special_tokens=False).input_ids)
        labels[row, -n_tokens:] = batch["input_ids"][row, -n_tokens:]
    return batch, labels


def answer_logits(model: nn.Module, batch: BatchFeature, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T - 1, V) logits of the next tokens, and the (B, T - 1) labels they are to meet.

    Only the last tokens are computed, as many as the longest answer has.
    """
    n_kept = int((labels != IGNORE).sum(1).max()) + 1
    logits = model(**batch, use_cache=False, logits_to_keep=n_kept).logits
    return logits[:, :-1].float(), labels[:, -n_kept + 1 :]


def answer_loss(model: nn.Module, batch: BatchFeature, labels: Tensor) -> Tensor:
    """() nats: the mean over all answers' tokens of their negative log-likelihood."""
    logits, wanted = answer_logits(model, batch, labels)
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORE)


def _prompt_text(processor: Qwen3VLProcessor, question: str) -> str:
    content = [{"type": "image"}, {"type": "text", "text": question}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
