"""The order in which a run meets its groups, where it is not the Trainer's own shuffling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from torch.utils.data import Sampler

from yoj_cli.groups import Group

KINDS = ("text", "image", "video")


class BalancedOrder(Sampler[int]):
    """Groups of text, with pictures and with clips, each as likely to be the next as long as there are any left.

    So the rarer kinds come early in an epoch and the commonest is alone at its end. With seed 0 and one process it
    is, group for group, the order of the released trainer (its `ModalityBatchSampler`, one group to a batch).

    Args:
        epoch: tells the epoch that is about to begin, from 0.
    """

    def __init__(self, groups: Sequence[Group], seed: int, epoch: Callable[[], int]) -> None:
        self._kinds = [_kind(group) for group in groups]
        self._seed, self._epoch = seed, epoch

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[int]:
        numbers = {kind: [at for at, own in enumerate(self._kinds) if own == kind] for kind in KINDS}
        epoch = self._epoch()
        # Each epoch shuffles what the one before left, and the first one finds them shuffled once.
        for seed in (self._seed, *range(self._seed, self._seed + epoch + 1)):
            random = Random(seed)
            for kind in KINDS:
                random.shuffle(numbers[kind])
        every = [(kind, number) for kind in KINDS for number in numbers[kind]]
        Random(self._seed + epoch + 42).shuffle(every)
        waiting = {kind: [number for own, number in every if own == kind] for kind in KINDS}
        random = Random(self._seed + epoch + 1000)
        while left := [kind for kind in KINDS if waiting[kind]]:
            (kind,) = random.choices(left, weights=[1 / len(left)] * len(left))
            yield waiting[kind].pop(0)


def _kind(group: Group) -> str:
    kinds = {medium.kind for medium in group.media}
    if not kinds:
        return "text"
    return "image" if kinds == {"image"} else "video"
