"""The groups of one optimizer step: several to a forward and backward pass, their gradients added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from yoj_cli.errors import ModelError, OutOfMemoryError, YojError
from yoj_cli.scoring.batch import bucket
from yoj_cli.scoring.oom import Limits, attempt
from yoj_cli.scoring.stream import PREFETCHED_BATCHES
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.train.data import Example
from yoj_cli.train.losses import RankingLoss
from yoj_cli.verdicts.agreement import agreement

OUT_OF_MEMORY = (
    "Use --gradient-checkpointing, --quant 4bit, a lower --max-tokens with --on-long skip, fewer --max-frames or a "
    "smaller --lora-r; --resume goes on from the last saved state."
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pass has shown of one group.

    Attributes:
        loss, constant_loss: nats; its own, and that of a judge that gives all responses the same score.
        hit, chance: how far the top score is a best response, and a blind pick would be.
        spread: standard deviation of its scores.
        n_tokens: of its sequence.
    """

    loss: float
    constant_loss: float
    hit: float
    chance: float
    spread: float
    n_tokens: int


@dataclass(frozen=True)
class StepGradients:
    """Adds up the gradients of the groups of a step, and tells what was seen of them.

    Args:
        forward: scores sequences in one pass; for each and each of its branches, (responses in it,) float32.
        loss: of the scores of one group.
        backward: adds the gradients of a () loss to those that are there.
        forget: drops all gradients of this step, and what the device holds beside the model.
        limits: tokens of a pass; halved here, see `oom`.
    """

    forward: Callable[[list[PackedSequence]], list[list[Tensor]]]
    loss: RankingLoss
    backward: Callable[[Tensor], None]
    forget: Callable[[], None]
    limits: Limits

    def add(self, examples: Sequence[Future[Example]], n_groups: int | None = None) -> list[Seen]:
        """Add the gradients of the mean loss of some groups.

        A pass that finds no room may have left some of its gradients behind, so the whole step is begun again, with
        passes of half the tokens.

        Args:
            examples: all groups of this step (of this process), being prepared in threads.
            n_groups: of the step over all processes, over which the loss is a mean; by default those that are here.
        Returns:
            What was seen of each, in the order in which they were read.
        Raises:
            InputError: a group cannot be read, or built into a sequence.
            ModelError: a loss is no number.
            OutOfMemoryError: the device has no room for one group alone.
        """
        n_groups = n_groups or len(examples)
        while True:
            seen: list[Seen] = []
            for batch in _batches(examples, self.limits):
                sequences = [example.sequence for example in batch]
                found = attempt(sequences, partial(self._pass, batch, n_groups))
                if not isinstance(found, YojError):
                    seen += found
                    continue
                if not isinstance(found, OutOfMemoryError):
                    raise found
                if len(batch) == 1:
                    raise _no_room(batch[0]) from found
                self.limits.halve(sequences)
                self.forget()
                break
            else:
                return seen

    def _pass(self, batch: Sequence[Example], n_groups: int) -> list[Seen]:
        """One forward and backward pass.

        Args:
            n_groups: groups of the step, over which the loss is a mean.
        """
        rows = self.forward([example.sequence for example in batch])
        scores = [torch.cat(branches) for branches in rows]
        # The one wait for the device: the losses of a few numbers are no work for it.
        near = torch.split(torch.cat(scores).cpu(), [len(each) for each in scores])
        losses = [
            self.loss(each, torch.tensor(example.group.rankings))
            for example, each in zip(batch, near, strict=True)
        ]
        for example, loss in zip(batch, losses, strict=True):
            if not torch.isfinite(loss):
                raise ModelError(
                    f"the loss is {loss.item()}",
                    where=example.group.where,
                    hint=f"Group {example.group.id!r}. Lower --learning-rate, or go on from an earlier saved state.",
                )
        self.backward((torch.stack(losses).sum() / n_groups).to(scores[0].device))
        return [
            _look(example, each.detach(), float(loss.detach()), self.loss)
            for example, each, loss in zip(batch, near, losses, strict=True)
        ]


def _batches(examples: Iterable[Future[Example]], limits: Limits) -> Iterator[list[Example]]:
    """The passes of a step: windows of groups in their order, each in length buckets, while the next are prepared.

    Where a window ends follows from the groups' lengths, not from how fast they came, so a run repeats to the bit.
    """
    window: list[Example] = []
    n_tokens = 0
    for future in examples:
        window.append(future.result())
        n_tokens += window[-1].sequence.n_tokens
        if n_tokens >= PREFETCHED_BATCHES * limits.max_batch_tokens:
            yield from _cut(window, limits)
            window, n_tokens = [], 0
    yield from _cut(window, limits)


def _cut(window: Sequence[Example], limits: Limits) -> Iterator[list[Example]]:
    for batch in bucket([example.sequence for example in window], limits.max_batch_tokens):
        yield [window[index] for index in batch]


def _look(example: Example, scores: Tensor, loss: float, loss_of: RankingLoss) -> Seen:
    rankings = example.group.rankings or ()
    found = agreement(scores.tolist(), rankings)
    return Seen(
        loss=loss,
        constant_loss=float(loss_of(torch.zeros_like(scores), torch.tensor(rankings))),
        hit=found.best or 0.0,
        chance=found.chance or 0.0,
        spread=float(scores.std(correction=0)),
        n_tokens=example.sequence.n_tokens,
    )


def _no_room(example: Example) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory on a group of {example.sequence.n_tokens} tokens",
        where=example.group.where,
        hint=OUT_OF_MEMORY,
    )
