"""From a scene group to tensors: the token sequence a scorer feeds, and all that a loss can be computed on."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import count
from typing import Literal

import numpy as np
import scenes
import torch
from numpy.random import Generator
from tiny_molmo2 import CELLS, IMAGE_PX, PATCH_PX, POOL, SEPARATOR
from torch import Tensor
from transformers import Molmo2Processor

N_SHARES = {2: 0.16, 3: 0.14, 4: 0.34, 5: 0.1, 6: 0.1, 7: 0.06, 8: 0.1}
IGNORE = -100


@dataclass(frozen=True)
class Example:
    """One group as tokens. T tokens, N responses, F frames, M marks."""

    ids: list[int]
    positions: list[int]
    branches: list[int]  # 0: the prefix, or a branch that may see all before it
    media: list[int]  # index of the picture token's feature among the F * CELLS of this example, else -1
    attends_both_ways: list[bool]
    ends: list[int]  # (N,)
    marks: list[tuple[int, bool, bool]]  # (M,) (token, fits, right)
    caption: list[int]  # tokens of the right response
    best: int
    frames: np.ndarray  # (F, SIDE_PX, SIDE_PX, 3) uint8


@dataclass(frozen=True)
class Batch:
    """B groups, padded. All tensors on one device."""

    ids: Tensor  # (B, T) int64
    positions: Tensor  # (B, T) int64
    mask: Tensor  # (B, 1, T, T) bool, True where a row may look
    media: Tensor  # (B, T) int64, index into the batch's features, else -1
    ends: Tensor  # (B, N) int64, the padding's is 0
    real: Tensor  # (B, N) bool
    best: Tensor  # (B,) int64
    marks: Tensor  # (M, 4) int64: group, token, fits, right
    caption: Tensor  # (B, T) bool, True on tokens of the right response
    frames: Tensor  # (F, 3, SIDE_PX, SIDE_PX) uint8

    def to(self, device: str) -> "Batch":
        """The same batch elsewhere."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


class Encoder:
    """Turns scene groups into token sequences, as the processor and its chat template would."""

    def __init__(self, processor: Molmo2Processor) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer.backend_tokenizer
        self.patch_id = processor.tokenizer.convert_tokens_to_ids("<im_patch>")
        self.both_ways = set(processor.image_token_ids)
        self.media_ids: dict[int, list[int]] = {}

    def encode(self, group: scenes.SceneGroup, form: Literal["joint", "single"]) -> Example:
        """Lay out a group: all responses one after the other, or each alone behind the shared prefix."""
        prefix = self.encode_media(group)
        header = f"<|im_start|>user\n{group.prompt}<|im_end|>\n <|im_start|>assistant\n"
        texts = [response.text for response in group.responses]
        joined = [f"\n\n{SEPARATOR}\n\n".join(texts)] if form == "joint" else texts
        n_header = len(self.tokenizer.encode(header, add_special_tokens=False).ids)

        ids, positions, branches = list(prefix), list(range(len(prefix))), [0] * len(prefix)
        ends: list[int] = []
        marks: list[tuple[int, bool, bool]] = []
        caption: list[int] = []
        for k, text in enumerate(joined):
            encoding = self.tokenizer.encode(header + text, add_special_tokens=False)
            skip = n_header if k else 0
            shift = len(ids) - skip
            ids += encoding.ids[skip:]
            positions += range(len(prefix) + skip, len(prefix) + len(encoding.ids))
            branches += [
                k + 1 if form == "single" and i >= n_header else 0 for i in range(skip, len(encoding.ids))
            ]
            responses = group.responses if form == "joint" else group.responses[k : k + 1]
            start = len(header)
            for response in responses:
                stop = start + len(response.text)
                first = encoding.char_to_token(start) + shift
                end = encoding.char_to_token(min(stop + 1, len(header + text) - 1)) + shift
                for mark in response.marks[:-1]:
                    marks.append(
                        (encoding.char_to_token(start + mark.end - 1) + shift, mark.fits, mark.right)
                    )
                marks.append((end, response.marks[-1].fits, response.marks[-1].right))
                if len(ends) == group.best:
                    caption = list(range(first, end + 1))
                ends.append(end)
                start = stop + len(SEPARATOR) + 4
        is_patch = np.array(ids) == self.patch_id
        media = np.where(is_patch, (np.cumsum(is_patch) - 1) % (CELLS * len(shown(group))), -1).tolist()
        return Example(
            ids=ids,
            positions=positions,
            branches=branches,
            media=media,
            attends_both_ways=[token in self.both_ways for token in ids],
            ends=ends,
            marks=marks,
            caption=caption,
            best=group.best,
            frames=np.stack([scenes.draw_frame(group.drawing, index) for index in shown(group)]),
        )

    def encode_media(self, group: scenes.SceneGroup) -> list[int]:
        """Tokens up to the user's turn. A picture is there twice: Molmo2's global view and its only crop."""
        n_frames = group.drawing.n_frames
        if n_frames not in self.media_ids:
            side = IMAGE_PX // PATCH_PX // POOL
            if group.scene.kind == "picture":
                text = self.processor.replace_image_token({"image_grids": [[side] * 4]}, 0)
            else:
                instants = [instant for instant, _ in scenes.shown_frames(n_frames)]
                text = self.processor.get_video_string(np.array([len(instants), side, side]), instants)
            text = self.processor.tokenizer.bos_token + text
            self.media_ids[n_frames] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.media_ids[n_frames]


def shown(group: scenes.SceneGroup) -> list[int]:
    """The frames that the model is shown."""
    if group.scene.kind == "picture":
        return [0]
    return [index for _, index in scenes.shown_frames(group.drawing.n_frames)]


def cell_contents(drawing: scenes.Drawing, index: int) -> np.ndarray:
    """(CELLS, 4) int64: shape, colour and size (0 = empty, else 1 + index) and place of what each cell shows.

    A thing is in the cell of its centre; what else it touches is neither empty nor a thing: IGNORE.
    """
    contents = np.zeros((CELLS, 4), np.int64)
    contents[:, 3] = np.arange(CELLS)
    grid = contents.reshape(3, 3, 4)
    boxes = [scenes.sprite_at(drawing, sprite, index) for sprite in drawing.sprites]
    for x, y, diameter in boxes:
        low = np.array([y - diameter / 2, x - diameter / 2]) // scenes.CELL_PX
        high = np.array([y + diameter / 2, x + diameter / 2]) // scenes.CELL_PX
        (top, left), (bottom, right) = np.clip([low, high], 0, 2).astype(int)
        grid[top : bottom + 1, left : right + 1, :3] = IGNORE
    for sprite, (x, y, diameter) in zip(drawing.sprites, boxes, strict=True):
        size = 1 if diameter < 32 else 2 if diameter > 40 else IGNORE
        named = (
            1 + scenes.SHAPES.index(sprite.shape),
            1 + scenes.VALUES["colour"].index(sprite.colour),
            size,
        )
        grid[int(y // scenes.CELL_PX), int(x // scenes.CELL_PX), :3] = named
    return contents


@dataclass(frozen=True)
class Sights:
    """Frames alone, with what their cells show. F frames."""

    frames: Tensor  # (F, 3, SIDE_PX, SIDE_PX) uint8
    contents: Tensor  # (F * CELLS, 4) int64


def sample_sights(rng: Generator, n_frames: int) -> Sights:
    """Any frames of any scenes."""
    frames, contents = [], []
    for _ in range(n_frames):
        kind: scenes.Kind = "clip" if rng.random() < 0.4 else "picture"
        drawing = scenes.sample_drawing(rng, scenes.sample_scene(rng, kind))
        index = int(rng.integers(drawing.n_frames))
        frames.append(scenes.draw_frame(drawing, index))
        contents.append(cell_contents(drawing, index))
    return Sights(
        torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2), torch.from_numpy(np.concatenate(contents))
    )


def collate(examples: list[Example]) -> Batch:
    """Pad examples to one batch."""
    b, t = len(examples), max(len(example.ids) for example in examples)
    n = max(len(example.ends) for example in examples)
    ids, positions, branches = (np.zeros((b, t), np.int64) for _ in range(3))
    media = np.full((b, t), -1)
    ends, real = np.zeros((b, n), np.int64), np.zeros((b, n), bool)
    both, caption = np.zeros((b, t), bool), np.zeros((b, t), bool)
    marks: list[tuple[int, int, int, int]] = []
    n_features = 0
    for i, example in enumerate(examples):
        length = len(example.ids)
        ids[i, :length], positions[i, :length] = example.ids, example.positions
        branches[i, :length], both[i, :length] = example.branches, example.attends_both_ways
        media[i, :length] = [slot if slot < 0 else slot + n_features for slot in example.media]
        ends[i, : len(example.ends)], real[i, : len(example.ends)] = example.ends, True
        caption[i, example.caption] = True
        marks += [(i, token, int(fits), int(right)) for token, fits, right in example.marks]
        n_features += len(example.frames) * CELLS
    causal = np.tril(np.ones((t, t), bool)) & (
        (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    )
    mask = causal | (both[:, None, :] & both[:, :, None])
    return Batch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        mask=torch.from_numpy(mask)[:, None],
        media=torch.from_numpy(media),
        ends=torch.from_numpy(ends),
        real=torch.from_numpy(real),
        best=torch.tensor([example.best for example in examples]),
        marks=torch.tensor(marks),
        caption=torch.from_numpy(caption),
        frames=torch.from_numpy(np.concatenate([example.frames for example in examples])).permute(0, 3, 1, 2),
    )


def sample_example(encoder: Encoder, rng: Generator, p_clip: float) -> Example:
    """One training example: a third of the groups are laid out with each response alone."""
    kind: scenes.Kind = "clip" if rng.random() < p_clip else "picture"
    n_responses = int(rng.choice(list(N_SHARES), p=list(N_SHARES.values())))
    form: Literal["joint", "single"] = "single" if rng.random() < 1 / 3 else "joint"
    return encoder.encode(scenes.sample_group(rng, kind, n_responses), form)


def train_batches(
    encoder: Encoder, seed: int, batch_size: int, p_clip: float, start: int = 0
) -> Iterator[Batch]:
    """Endless batches of groups of similar length, from `start` on in the training stream."""
    n_pool = 8 * batch_size
    for pool in count():
        indices = range(start + pool * n_pool, start + (pool + 1) * n_pool)
        examples = [
            sample_example(encoder, scenes.rng_for("train", seed, index), p_clip) for index in indices
        ]
        examples.sort(key=lambda example: len(example.ids))
        order = scenes.rng_for("train", seed, indices[0]).permutation(8)
        for i in order:
            yield collate(examples[i * batch_size : (i + 1) * batch_size])


def heldout_batches(
    encoder: Encoder,
    kind: scenes.Kind,
    n_responses: int,
    form: Literal["joint", "single"],
    n_groups: int,
    seed: int = 0,
) -> Iterator[Batch]:
    """Groups that no training stream contains."""
    for start in range(0, n_groups, 50):
        rngs = [scenes.rng_for("heldout", seed, index) for index in range(start, min(start + 50, n_groups))]
        yield collate([encoder.encode(scenes.sample_group(rng, kind, n_responses), form) for rng in rngs])
