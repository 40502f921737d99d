"""What is trained on: ranked groups, and the order in which a run meets them and their responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from torch.utils.data import Dataset

from yoj_cli.config.limits import LIMITS, Limits
from yoj_cli.errors import InputError
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import Mode, build_plan
from yoj_cli.records.document import parse_document, read_document
from yoj_cli.records.parse import read_groups
from yoj_cli.scoring.prefetch import N_PREFETCHED
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence

GIVE_RANKINGS = "Give 'rankings' (1 = best), 'ratings' (higher is better), or 'chosen' and 'rejected'."
MAKE_OF_VOTES = "It has votes: `yoj votes rank` makes rankings of them."


@dataclass(frozen=True)
class Example:
    """A group with its responses in the order of one epoch, and its sequence in that order.

    Where the sequence was truncated, the group has the responses that are left.
    """

    group: Group
    sequence: PackedSequence


def read_ranked(
    paths: Sequence[Path],
    media_root: Path | None = None,
    limit: int | None = None,
    limits: Limits = LIMITS,
) -> Iterator[Group | Failure]:
    """The groups of some files, in their order; one without rankings or ratings is a Failure like any bad line.

    Args:
        paths: JSON Lines, or named .json one document; see `read_document`.
        media_root: see `read_groups`.
        limit: stop after this many groups.
        limits: of lines and groups.
    """
    n_read = 0
    for path in paths:
        for item in _read(path, media_root, limits):
            if isinstance(item, Failure):
                yield item
            elif item.rankings is None:
                missing = InputError(
                    "the line has no 'rankings' to learn from",
                    where=item.where,
                    hint=MAKE_OF_VOTES if "pairwise" in item.record else GIVE_RANKINGS,
                )
                yield Failure(item.where, item.record, missing)
            else:
                yield item
                n_read += 1
                if n_read == limit:
                    return


def _read(path: Path, media_root: Path | None, limits: Limits) -> Iterator[Group | Failure]:
    if path.suffix.lower() == ".json" and (records := read_document(path)) is not None:
        return parse_document(records, path, media_root=media_root, limits=limits)
    return read_groups(str(path), media_root=media_root, limits=limits)


def teaches(group: Group) -> bool:
    """Whether the ranking tells any two responses apart."""
    return len(set(group.rankings or ())) > 1


def drop_empty_responses(group: Group) -> Group:
    """The same group without its responses that hold no text, and without their ranks."""
    kept = [index for index, text in enumerate(group.responses) if text.strip()]
    rankings = group.rankings or ()
    return replace(
        group,
        responses=tuple(group.responses[index] for index in kept),
        rankings=tuple(rankings[index] for index in kept),
    )


def keep_first(group: Group, n: int) -> Group:
    """The same group with its first n responses."""
    if n == len(group.responses):
        return group
    return replace(group, responses=group.responses[:n], rankings=(group.rankings or ())[:n])


def shuffle_responses(group: Group, seed: int, epoch: int) -> Group:
    """The same group in an order of its own for this epoch, so that a response's place says nothing.

    The order follows from seed, epoch and the group's line alone: a resumed run and a run on several GPUs
    shuffle as any other.
    """
    n = len(group.responses)
    order = Random(f"{seed} {epoch} {group.where}").sample(range(n), n)
    rankings = group.rankings or ()
    return replace(
        group,
        responses=tuple(group.responses[index] for index in order),
        rankings=tuple(rankings[index] for index in order),
    )


class Examples(Dataset[Future[Example]]):
    """Groups by number, each a future: media are read and tokens built in threads while the device works.

    The Trainer takes the futures of a whole optimizer step at once and asks for each when its turn comes, so
    one step's pixels are the most that is held (some 10 MB a picture, 30 MB a clip). Not a `Prefetcher`, which
    reads a stream in its order: the Trainer's sampler draws the numbers, skips those of a resumed run, and gives
    each process its share.

    Args:
        shuffle_seed: seed of the responses' order; None leaves it as it is in the file.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        builder: SequenceBuilder,
        media: MediaOptions,
        mode: Mode,
        shuffle_seed: int | None,
    ) -> None:
        self.epoch = 0
        self.groups, self._builder, self._media, self._mode = groups, builder, media, mode
        self._shuffle_seed = shuffle_seed
        self._pool = ThreadPoolExecutor(N_PREFETCHED, thread_name_prefix="yoj-prefetch")

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Future[Example]:
        return self._pool.submit(self._prepare, self.groups[index], self.epoch)

    def _prepare(self, group: Group, epoch: int) -> Example:
        if self._shuffle_seed is not None:
            group = shuffle_responses(group, self._shuffle_seed, epoch)
        plan = build_plan(len(group.responses), mode=self._mode)
        sequence = self._builder.prepare(group, plan, self._media)
        return Example(keep_first(group, sum(map(len, sequence.spans))), sequence)

    def close(self) -> None:
        """Forget what nobody will ask for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
