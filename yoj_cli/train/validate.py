"""Everything that can be known before the first step: what the data hold, and what in them cannot be used."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from yoj_cli.config.train import TrainConfig
from yoj_cli.errors import LINE_BREAKS, InputError, TooLongError, YojError, is_of_one_group
from yoj_cli.groups import Failure, Group
from yoj_cli.media.options import MediaOptions
from yoj_cli.plan.branches import build_plan
from yoj_cli.scoring.prefetch import Prefetcher
from yoj_cli.sequence.build import SequenceBuilder
from yoj_cli.sequence.packed import PackedSequence
from yoj_cli.train.data import drop_empty_responses, teaches

N_LISTED = 10
"""Errors that are listed one by one; the rest is counted."""


@dataclass
class DataReport:
    """What a file of ranked groups holds.

    Attributes:
        groups: the groups to be used, in their order.
        n_groups_of: how many groups have N responses, by N.
        n_media: groups by what they show: text (nothing), image, video or frames.
        n_tied: groups in which some, but not all, responses share a rank.
        n_single_best: groups with exactly one best response.
        n_best_first: groups whose first response is a best one.
        chance: share of groups that a blind pick would get right.
        longest: tokens of the longest group, and its place; (0, "") where lengths were not counted.
        n_tokens: tokens of all groups together.
        media_bytes: pixels of the group that has most of them, as the vision tower takes them.
        too_long, unusable: errors of the groups that are left out, each with its place.
        n_truncated: groups that are longer than they may be and lose their end.
        n_cut: responses that such groups lose as a whole, in the order of the file; an epoch's order cuts others.
        n_shrunk: groups whose pictures or clips are shown smaller so that they fit.
        n_empty: responses that are left out because they hold no text.
        teaches_nothing: places of groups that are left out because all their responses share a rank.
        fingerprint: equal for equal lines in an equal order; says whether a run can be resumed on them.
    """

    groups: list[Group] = field(default_factory=list)
    n_groups_of: Counter[int] = field(default_factory=Counter)
    n_media: Counter[str] = field(default_factory=Counter)
    n_tied: int = 0
    n_single_best: int = 0
    n_best_first: int = 0
    chance_sum: float = 0.0
    longest: tuple[int, str] = (0, "")
    n_tokens: int = 0
    media_bytes: int = 0
    too_long: list[YojError] = field(default_factory=list)
    unusable: list[YojError] = field(default_factory=list)
    n_truncated: int = 0
    n_cut: int = 0
    n_shrunk: int = 0
    n_empty: int = 0
    teaches_nothing: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def n_groups(self) -> int:
        return len(self.groups)

    @property
    def n_responses(self) -> int:
        return sum(n * count for n, count in self.n_groups_of.items())

    @property
    def chance(self) -> float:
        return self.chance_sum / self.n_groups

    def add(self, group: Group, sequence: PackedSequence | None) -> None:
        """Count a group that will be used; without its sequence, only what its line says."""
        rankings = group.rankings or ()
        n_best = rankings.count(min(rankings))
        self.groups.append(group)
        self.n_groups_of[len(rankings)] += 1
        self.n_media[group.media[0].kind if group.media else "text"] += 1
        self.n_tied += len(set(rankings)) < len(rankings)
        self.n_single_best += n_best == 1
        self.n_best_first += rankings[0] == min(rankings)
        self.chance_sum += n_best / len(rankings)
        if sequence is None:
            return
        n_tokens = sequence.n_tokens
        self.n_tokens += n_tokens
        self.n_truncated += sequence.n_cut > 0
        self.n_cut += len(rankings) - sum(map(len, sequence.spans))
        self.n_shrunk += sequence.is_shrunk
        if n_tokens > self.longest[0]:
            self.longest = (n_tokens, group.where)

    def counts(self) -> dict[str, int | float | str]:
        """The figures, under the names of data.json and the model card."""
        return {
            "groups": self.n_groups,
            "responses": self.n_responses,
            **{f"groups_of_{n}": count for n, count in sorted(self.n_groups_of.items())},
            **{f"groups_with_{kind}": count for kind, count in sorted(self.n_media.items())},
            "groups_with_ties": self.n_tied,
            "single_best_share": round(self.n_single_best / self.n_groups, 4),
            "best_first_share": round(self.n_best_first / self.n_groups, 4),
            "chance": round(self.chance, 4),
            "longest_tokens": self.longest[0],
            "tokens": self.n_tokens,
            "left_out_too_long": len(self.too_long),
            "left_out_unusable": len(self.unusable),
            "truncated": self.n_truncated,
            "cut_responses": self.n_cut,
            "shrunk_media": self.n_shrunk,
            "left_out_all_tied": len(self.teaches_nothing),
            "left_out_empty_responses": self.n_empty,
        }


def validate_data(
    items: Iterable[Group | Failure],
    builder: SequenceBuilder,
    media: MediaOptions,
    config: TrainConfig,
    *,
    what: str,
) -> DataReport:
    """Read every group once, its media and tokens too (unless `config.check` is off).

    Args:
        items: from `read_ranked`.
        media: the limits of media.
        what: the option that named the files, for errors.
    Raises:
        InputError: groups that cannot be used (`on_error` is "stop") or are too long (`on_long` is "error"), the
            first few of them listed; or no group is left.
    """
    report = DataReport()
    digest = hashlib.sha256()

    def prepare(item: Group | Failure) -> tuple[Group | Failure, PackedSequence | None, int]:
        if isinstance(item, Failure) or not teaches(item) or not config.check:
            return item, None, 0
        plan = build_plan(len(item.responses), mode=config.mode)
        try:
            sequence = builder.prepare(item, plan, media)
            _check_window(sequence, builder.attention_window, item.where)
        except YojError as error:
            if not is_of_one_group(error):
                raise
            return Failure(item.where, item.record, error), None, 0
        n_bytes = sum(each.nbytes for each in sequence.media_inputs.values())
        return item, replace(sequence, media_inputs={}), n_bytes

    def without_empty() -> Iterator[Group | Failure]:
        for item in items:
            if config.drop_empty_responses and isinstance(item, Group):
                kept = drop_empty_responses(item)
                report.n_empty += len(item.responses) - len(kept.responses)
                yield kept
            else:
                yield item

    with Prefetcher(prepare, without_empty()) as stream:
        for item, sequence, n_bytes in stream:
            report.media_bytes = max(report.media_bytes, n_bytes)
            if isinstance(item, Failure):
                (report.too_long if isinstance(item.error, TooLongError) else report.unusable).append(
                    item.error
                )
            elif not teaches(item):
                report.teaches_nothing.append(item.where)
            else:
                report.add(item, sequence)
                digest.update(json.dumps(item.record, sort_keys=True, default=str).encode())
    report.fingerprint = digest.hexdigest()
    _refuse(report.unusable, "cannot be used", "--on-error skip", stop=config.on_error == "stop")
    for error in report.too_long:  # --mode and --window, which scoring advises, would train another judge
        error.hint = "Shorten it, or raise --max-tokens where the backbone's context allows that."
    ways_out = "--on-long skip, or cut off their ends: --on-long truncate"
    _refuse(report.too_long, "are too long", ways_out, stop=config.on_long == "error")
    if not report.groups:
        raise _nothing_left(report, what)
    return report


def _check_window(sequence: PackedSequence, window: int | None, where: str) -> None:
    """Refuse responses beside each other where the backbone could not keep them apart."""
    if window is not None and len(sequence.branch_lengths) > 1 and sequence.n_tokens > window:
        raise InputError(
            f"with each response alone the group is {sequence.n_tokens} tokens long, over the {window} of the "
            "backbone's sliding-window attention",
            where=where,
            hint="Train with --mode multi, shorten the group, or take another base.",
        )


def _nothing_left(report: DataReport, what: str) -> InputError:
    """What became of all the groups."""
    counts = {
        "too long": len(report.too_long),
        "unusable": len(report.unusable),
        "all responses tie": len(report.teaches_nothing),
    }
    told = ", ".join(f"{why}: {count:,}" for why, count in counts.items() if count)
    first = [error.what for error in (*report.unusable, *report.too_long)][:1]
    return InputError(
        f"no group is left to use ({told or 'the files hold none'})",
        where=what,
        hint=f"The first: {first[0]}."
        if first
        else "A group needs two responses, one ranked above the other.",
    )


def _refuse(errors: Sequence[YojError], problem: str, way_out: str, *, stop: bool) -> None:
    if not errors or not stop:
        return
    hint = f"{errors[0].hint}\nTo leave such groups out: {way_out}.".lstrip()
    if len(errors) == 1:
        errors[0].hint = hint
        raise errors[0]
    raise InputError(f"{len(errors)} groups {problem}:", hint=f"{list_errors(errors)}\n{hint}")


def list_errors(errors: Sequence[YojError]) -> str:
    """The first few errors, a line each."""
    lines = [f"  {error.where}: {error.what}".translate(LINE_BREAKS) for error in errors[:N_LISTED]]
    more = len(errors) - N_LISTED
    return "\n".join([*lines, f"  … and {more} more"] if more > 0 else lines)


def count_shared(train: Sequence[Group], held_out: Sequence[Group]) -> int:
    """Held-out groups that are in the training data too: the same conversation and the same responses."""
    known = {_key(group) for group in train}
    return sum(_key(group) in known for group in held_out)


def _key(group: Group) -> tuple[str, tuple[str, ...]]:
    return repr(group.messages), tuple(sorted(group.responses))
