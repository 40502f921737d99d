"""Which rows of a batch answer one prompt, and the order in which a judge reads them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import Any

from yoj_cli.config.rewards import RewardConfig
from yoj_cli.errors import InputError, UsageError

HINT = (
    "Groups must not be cut: make per_device_train_batch_size x steps_per_generation (and per_device_eval_batch_size "
    "in evaluation) a multiple of num_generations, and give GroupReward the trainer's num_generations."
)


def trainer_of(log_metric: Callable[..., Any] | None) -> Any:
    """The trainer behind TRL's hook for metrics; None where it is another's."""
    trainer = getattr(log_metric, "__self__", None)
    return trainer if isinstance(getattr(trainer, "num_generations", None), int) else None


def group_size(config: RewardConfig, n_rows: int | None, trainer: Any) -> list[int]:
    """Completions a prompt in a call: the sizes that it may have, the likelier first.

    A trainer that can be seen says it. It is the same on all its processes, so that what is refused here is refused
    on all of them; none waits for another that has stopped.

    Args:
        n_rows: of a call that is one group where nothing says how large groups are; None where each has its id.
    Raises:
        UsageError: the trainer has other settings, or such as cut groups.
    """
    train, evaluation = config.num_generations, config.num_generations_eval or config.num_generations
    if trainer is None:
        sizes = [n_rows] if train is None else [train, evaluation]
        return [size for size in dict.fromkeys(sizes) if size]
    is_training = bool(trainer.model.training)
    name = "num_generations" if is_training else "num_generations_eval"
    size = int(getattr(trainer, name, None) or trainer.num_generations)
    given = train if is_training else evaluation
    if given is not None and given != size:
        raise UsageError(
            f"GroupReward has {name}={given}, and the trainer {size}",
            hint="Leave it away: GroupReward takes the trainer's.",
        )
    args = trainer.args
    if is_training:
        n_own, what = (
            args.per_device_train_batch_size * args.steps_per_generation,
            (
                f"per_device_train_batch_size={args.per_device_train_batch_size} x "
                f"steps_per_generation={args.steps_per_generation}"
            ),
        )
    else:
        n_own = args.per_device_eval_batch_size
        what = f"per_device_eval_batch_size={n_own}"
    if n_own % size:
        raise UsageError(f"{what} is no multiple of {name}={size}: a process gets parts of groups", hint=HINT)
    return [size]


def cut(keys: Sequence[bytes | None], sizes: Sequence[int]) -> tuple[list[list[int]], str]:
    """Cut a batch into groups.

    Args:
        keys: (R,) of the rows' prompts; None for one that cannot be used, which fits any group.
        sizes: completions a prompt; the first by which the batch can be cut is taken.
    Returns:
        The rows of each group, and why the others are in none; "" where all are.
    """
    if not keys:
        return [], ""
    problem = ""
    for size in sizes:
        starts = range(0, len(keys) - len(keys) % size, size)
        mixed = [start for start in starts if len(set(keys[start : start + size]) - {None}) > 1]
        if not mixed and len(keys) % size == 0:
            return [list(range(start, start + size)) for start in starts], ""
        if not problem:
            problem = (
                f"rows {mixed[0]} to {mixed[0] + size - 1} answer different prompts, and num_generations is {size}"
                if mixed
                else f"{len(keys)} rows are no multiple of num_generations={size}"
            )
    size = sizes[0]
    whole: list[list[int]] = []
    start = 0
    while start + size <= len(keys):  # groups that are whole, wherever they begin
        if len(set(keys[start : start + size])) == 1 and keys[start] is not None:
            whole.append(list(range(start, start + size)))
            start += size
        else:
            start += 1
    return whole, problem


def ids_of(ids: Any, n_rows: int) -> list[Any] | None:
    """The group of each row, as values that compare; those of a tensor do not.

    Raises:
        InputError: there is not one for each row, or they cannot tell groups apart.
    """
    if ids is None:
        return None
    found = [each.tolist() if hasattr(each, "tolist") else each for each in ids]
    if len(found) != n_rows:
        raise InputError(f"'group_ids' has {len(found)} entries for {n_rows} rows")
    for each in found:
        if not isinstance(each, Hashable):
            raise InputError(f"'group_ids' must be numbers or texts, found {type(each).__name__}")
    return found


def cut_by_id(
    ids: Sequence[object], keys: Sequence[bytes | None], sizes: Sequence[int]
) -> tuple[list[list[int]], str]:
    """Cut a batch into groups where the trainer names the group of each row.

    Args:
        ids: (R,) of the rows' groups; rows of one id whose prompts differ all the same are groups of their own.
        keys: as for `cut`.
        sizes: completions a prompt, the likelier first; where there are none, each id is one group.
    Returns:
        As `cut`.
    """
    groups: dict[object, list[int]] = {}
    for i, (each, key) in enumerate(zip(ids, keys, strict=True)):
        groups.setdefault((each, key), []).append(i)
    if not sizes:
        return list(groups.values()), ""
    fitting = (size for size in sizes if all(len(rows) % size == 0 for rows in groups.values()))
    size = next(fitting, sizes[0])
    whole = [
        rows[start : start + size]
        for rows in groups.values()
        for start in range(0, len(rows) - size + 1, size)
    ]
    odd = next((rows for rows in groups.values() if len(rows) % size), None)
    return whole, f"a prompt has {len(odd)} completions here, and num_generations is {size}" if odd else ""


def shuffled(n: int, seed: int, key: bytes | None, step: int, *, shuffle: bool) -> list[int]:
    """The order in which n different completions of a prompt are read at a step."""
    order = list(range(n))
    if shuffle:
        Random(f"{seed} {step} {key.hex() if key else ''}").shuffle(order)
    return order
