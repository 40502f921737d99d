"""Which rows of a batch answer one prompt, and the order in which a judge reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from yoj_cli.config.rewards import RewardConfig
from yoj_cli.errors import UsageError

HINT = (
    "Groups must not be cut: make per_device_train_batch_size x steps_per_generation (and per_device_eval_batch_size "
    "in evaluation) a multiple of num_generations, and give GroupReward the trainer's num_generations."
)


def trainer_of(log_metric: Callable[..., Any] | None) -> Any:
    """The trainer behind TRL's hook for metrics; None where it is another's."""
    trainer = getattr(log_metric, "__self__", None)
    return trainer if isinstance(getattr(trainer, "num_generations", None), int) else None


def group_size(config: RewardConfig, n_rows: int, trainer: Any) -> list[int]:
    """Completions a prompt in a call of so many rows: the sizes that it may have, the likelier first.

    A trainer that can be seen says it. It is the same on all its processes, so that what is refused here is refused
    on all of them; none waits for another that has stopped.

    Raises:
        UsageError: the trainer has other settings, or such as cut groups.
    """
    train, evaluation = config.num_generations, config.num_generations_eval or config.num_generations
    if trainer is None:
        sizes = [n_rows] if train is None else [train, evaluation or train]
        return list(dict.fromkeys(sizes))
    is_training = bool(trainer.model.training)
    name = "num_generations" if is_training else "num_generations_eval"
    size = int(trainer.num_generations if is_training else trainer.num_generations_eval)
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


def cut(keys: Sequence[bytes | None], sizes: Sequence[int]) -> tuple[list[range], str]:
    """Cut a batch into groups.

    Args:
        keys: (R,) of the rows' prompts; None for one that cannot be used, which fits any group.
        sizes: completions a prompt; the first by which the batch can be cut is taken.
    Returns:
        The rows of each group, and why the others are in none; "" where all are.
    """
    problem = ""
    for size in sizes:
        starts = range(0, len(keys) - len(keys) % size, size)
        mixed = [start for start in starts if len(set(keys[start : start + size]) - {None}) > 1]
        if not mixed and len(keys) % size == 0:
            return [range(start, start + size) for start in starts], ""
        if not problem:
            problem = (
                f"rows {mixed[0]} to {mixed[0] + size - 1} answer different prompts, and num_generations is {size}"
                if mixed
                else f"{len(keys)} rows are no multiple of num_generations={size}"
            )
    size = sizes[0]
    whole, start = [], 0
    while start + size <= len(keys):  # groups that are whole, wherever they begin
        if len(set(keys[start : start + size])) == 1 and keys[start] is not None:
            whole.append(range(start, start + size))
            start += size
        else:
            start += 1
    return whole, problem


def shuffled(n: int, seed: int, key: bytes | None, step: int, *, shuffle: bool) -> list[int]:
    """The order in which n different completions of a prompt are read at a step."""
    order = list(range(n))
    if shuffle:
        Random(f"{seed} {step} {key.hex() if key else ''}").shuffle(order)
    return order
