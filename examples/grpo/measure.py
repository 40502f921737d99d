"""What a policy can do on pictures that nothing was trained on."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import torch
import world
from answers import IGNORE, Answered, answer_logits, encode_answers, encode_prompts
from PIL import Image
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

MAX_NEW_TOKENS = 28
GENERATIONS = 8
"""Captions of a picture that are judged together: in GRPO, in its measures and in the judges' data."""
SCENES_PER_PASS = 64


@dataclass(frozen=True)
class Policy:
    """A model with its processor."""

    model: Qwen3VLForConditionalGeneration
    processor: Qwen3VLProcessor


@dataclass(frozen=True)
class TestScene:
    """A picture of the test stream with its truth."""

    index: int
    truth: world.scenes.Scene
    picture: Image.Image


@dataclass(frozen=True)
class Samples:
    """Captions of S scenes, K each.

    Attributes:
        texts: S lists of K captions.
        lengths: tokens of each, its end included; as many as were allowed where it was cut.
        entropies: mean over its tokens of the policy's entropy, nats.
        kls: mean over its tokens of the divergence from the policy before, KL(policy || before), nats.
    """

    texts: list[list[str]]
    lengths: list[list[int]]
    entropies: list[list[float]]
    kls: list[list[float]]


@dataclass(frozen=True)
class Measures:
    """The policy on the test scenes. Shares run from 0 to 1.

    Attributes:
        accuracy: captions that get every fact right.
        wrong_facts: mean number of wrong facts of the captions that can be read.
        unreadable: captions that are no sentence of this world.
        entropy, kl: nats a token (see `Samples`).
        length: tokens of a caption.
        distinct: different captions among a picture's samples, over their number.
        count, place: right answers to the two questions that are never rewarded, most likely token by token.
    """

    accuracy: float
    wrong_facts: float
    unreadable: float
    entropy: float
    kl: float
    length: float
    distinct: float
    count: float
    place: float


def load_policy(folder: Path) -> Policy:
    """A policy in float32, ready to be read."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    return Policy(model, AutoProcessor.from_pretrained(folder))


def load_scenes(n_scenes: int, stream: str = "test") -> list[TestScene]:
    """The first scenes of a stream."""
    found = []
    for index in range(n_scenes):
        truth, drawing = world.sample_picture(world.rng_for(stream, index))
        found.append(TestScene(index, truth, world.paint(drawing)))
    return found


@torch.inference_mode()
def sample_captions(
    policy: Policy,
    scenes: Sequence[TestScene],
    n_each: int,
    *,
    before: Policy | None = None,
    seed: int = 0,
    temperature: float = 1.0,
) -> Samples:
    """Draw captions, as GRPO draws them.

    Args:
        n_each: K, captions a scene.
        before: the policy that divergence is measured from; none gives zeros.
    """
    torch.manual_seed(seed)
    samples = Samples([], [], [], [])
    for part in _parts(scenes, max(1, SCENES_PER_PASS * 2 // n_each)):
        batch, ids = _draw(policy, part, n_each, temperature)
        n_prompt = batch["input_ids"].shape[1]
        written = ids[:, n_prompt:]  # (B, C)
        said = _until_end(written, policy.processor.tokenizer.eos_token_id)
        entropy, kl = _entropy_and_kl(policy, before, batch, ids, said, temperature)
        texts = policy.processor.batch_decode(written, skip_special_tokens=True)
        for values, found in (
            (samples.texts, texts),
            (samples.lengths, said.sum(1).tolist()),
            (samples.entropies, entropy.tolist()),
            (samples.kls, kl.tolist()),
        ):
            values.extend(list(group) for group in _parts(found, n_each))  # type: ignore[attr-defined]
    return samples


@torch.inference_mode()
def sample_texts(
    policy: Policy, scenes: Sequence[TestScene], n_each: int, *, seed: int = 0, temperature: float = 1.0
) -> list[list[str]]:
    """Captions alone, K of each scene, without the forward pass that entropy and divergence take."""
    torch.manual_seed(seed)
    texts: list[list[str]] = []
    for part in _parts(scenes, max(1, SCENES_PER_PASS * 2 // n_each)):
        batch, ids = _draw(policy, part, n_each, temperature)
        written = ids[:, batch["input_ids"].shape[1] :]
        texts.extend(_parts(policy.processor.batch_decode(written, skip_special_tokens=True), n_each))  # type: ignore[arg-type]
    return texts


def sample_once(
    path: Path, policy: Policy, scenes: Sequence[TestScene], n_each: int, seed: int = 0
) -> Samples:
    """Captions of the policy as it is, drawn once and then read from a file."""
    if path.exists():
        known = Samples(**json.loads(path.read_text(encoding="utf-8")))
        if [len(texts) for texts in known.texts] == [n_each] * len(scenes):
            return known
    samples = sample_captions(policy, scenes, n_each, seed=seed)
    path.write_text(json.dumps(asdict(samples)), encoding="utf-8")
    return samples


@torch.inference_mode()
def share_right(policy: Policy, scenes: Sequence[TestScene], kind: str) -> float:
    """Share of the scenes whose question of a kind ("count" or "place") is answered right, word for word."""
    n_right = 0
    for part in _parts(scenes, SCENES_PER_PASS):
        items = []
        for scene in part:
            rng = world.rng_for("test", 1_000_000 + scene.index)
            question = world.count(scene.truth) if kind == "count" else world.place(rng, scene.truth)
            items.append(Answered(scene.picture, question.text, question.answer))
        logits, wanted = answer_logits(policy.model, *encode_answers(policy.processor, items))
        n_right += int(((logits.argmax(-1) == wanted) | (wanted == IGNORE)).all(1).sum())
    return n_right / len(scenes)


def measure(policy: Policy, scenes: Sequence[TestScene], samples: Samples) -> Measures:
    """Figures of a policy, of its samples and of its answers to the other questions."""
    wrong = [
        world.count_wrong(text, scene.truth)
        for scene, texts in zip(scenes, samples.texts, strict=True)
        for text in texts
    ]
    readable = [n for n in wrong if n is not None]
    return Measures(
        accuracy=wrong.count(0) / len(wrong),
        wrong_facts=fmean(readable) if readable else float("nan"),
        unreadable=wrong.count(None) / len(wrong),
        entropy=_mean(samples.entropies),
        kl=_mean(samples.kls),
        length=_mean(samples.lengths),
        distinct=fmean(len(set(texts)) / len(texts) for texts in samples.texts),
        count=share_right(policy, scenes, "count"),
        place=share_right(policy, scenes, "place"),
    )


def rounded(measures: Measures) -> dict[str, float]:
    """For a line of JSON."""
    return {name: round(value, 5) for name, value in asdict(measures).items()}


def _draw(
    policy: Policy, scenes: Sequence[TestScene], n_each: int, temperature: float
) -> tuple[BatchFeature, Tensor]:
    """The prompts, and (B, T) ids of prompts with captions, `n_each` rows a scene."""
    prompts = [(scene.picture, world.PROMPT) for scene in scenes for _ in range(n_each)]
    batch = encode_prompts(policy.processor, prompts)
    ids = policy.model.generate(
        **batch,
        max_new_tokens=MAX_NEW_TOKENS,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        suppress_tokens=[policy.model.config.image_token_id],
    )
    return batch, ids


def _entropy_and_kl(
    policy: Policy,
    before: Policy | None,
    batch: dict[str, Tensor],
    ids: Tensor,
    said: Tensor,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """(B,) each, means over the tokens that were said."""
    n_written = said.shape[1]
    whole = dict(batch)
    whole["input_ids"] = ids
    whole["attention_mask"] = torch.cat([batch["attention_mask"], said.long()], 1)
    whole["mm_token_type_ids"] = torch.cat(
        [batch["mm_token_type_ids"], torch.zeros_like(said, dtype=torch.long)], 1
    )

    def log_probs(model: Qwen3VLForConditionalGeneration) -> Tensor:
        logits = model(**whole, use_cache=False, logits_to_keep=n_written + 1).logits[:, :-1]
        return (logits / temperature).log_softmax(-1)  # (B, C, V)

    mine = log_probs(policy.model)
    theirs = log_probs(before.model) if before else mine
    weights = said / said.sum(1, keepdim=True)  # (B, C)
    entropy = -(mine.exp() * mine).sum(-1)
    kl = (mine.exp() * (mine - theirs)).sum(-1)
    return (entropy * weights).sum(1), (kl * weights).sum(1)


def _until_end(written: Tensor, end_id: int) -> Tensor:
    """(B, C) bool: every token up to the first end, which is included."""
    ended = (written == end_id).cumsum(1)
    return (ended == 0) | ((ended == 1) & (written == end_id))


def _parts(values: Sequence, size: int) -> Iterator[Sequence]:  # type: ignore[type-arg]
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _mean(values: Sequence[Sequence[float]]) -> float:
    return fmean(value for group in values for value in group)
