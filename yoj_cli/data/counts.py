"""What a conversion met: ties, duplicates, contradictions, and everything that is not in the output."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

from yoj_cli.evaluate.judged import normalise
from yoj_cli.groups import Group, Media


@dataclass
class Counts:
    """Numbers of groups, but for the last one.

    Attributes:
        rows: that were read.
        written: groups in the output.
        by_n_responses: how many have 2, 3, … responses.
        with_ties, all_tied: groups in which some, or all, responses share a rank; they are kept.
        duplicates: groups whose prompt and responses came before with the same ranking; they are kept.
        contradictions: groups that rank some pair of responses the other way round than an earlier one of the same
            prompt; they are kept.
        drawn: groups of which only some responses were kept (--n).
        corrected: groups with a score that the set's publishers corrected later.
        left_out: rows without a preference that can be used, by reason.
        failed: rows that are broken.
        contaminated_text, contaminated_media: groups that were dropped because their prompt, or a picture or clip,
            occurs in a benchmark; one with both is in both.
        contaminated: groups that were dropped for either.
        unchecked_media: pictures on the network, which were not compared.
        media_files: new files beside the output.
    """

    rows: int = 0
    written: int = 0
    by_n_responses: Counter[int] = field(default_factory=Counter)
    with_ties: int = 0
    all_tied: int = 0
    duplicates: int = 0
    contradictions: int = 0
    drawn: int = 0
    corrected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    contaminated_text: int = 0
    contaminated_media: int = 0
    contaminated: int = 0
    unchecked_media: int = 0
    media_files: int = 0

    def as_document(self) -> dict[str, Any]:
        document = asdict(self)
        document["by_n_responses"] = {str(n): count for n, count in sorted(self.by_n_responses.items())}
        document["left_out"] = dict(self.left_out)
        return document

    def describe(self) -> list[str]:
        """Lines for a person; what did not happen is not said."""
        sizes = ", ".join(f"{count:,} of {n}" for n, count in sorted(self.by_n_responses.items()))
        lines = [
            f"{self.written:,} groups from {self.rows:,} rows" + (f" (responses: {sizes})" if sizes else "")
        ]
        kept = {
            "with tied responses": self.with_ties,
            "with all responses tied": self.all_tied,
            "duplicates": self.duplicates,
            "contradict an earlier group of the same prompt": self.contradictions,
            "with responses drawn by --n": self.drawn,
            "with a corrected score": self.corrected,
        }
        lines += [f"kept: {count:,} {what}" for what, count in kept.items() if count]
        lines += [f"left out: {count:,} rows: {reason}" for reason, count in self.left_out.most_common()]
        if self.contaminated:
            lines.append(
                f"dropped: {self.contaminated:,} groups that occur in a benchmark "
                f"({self.contaminated_text:,} by their prompt, {self.contaminated_media:,} by a picture or clip)"
            )
        if self.unchecked_media:
            lines.append(f"not compared with benchmarks: {self.unchecked_media:,} pictures on the network")
        if self.failed:
            lines.append(f"failed: {self.failed:,} rows that cannot be used")
        return lines


class Seen:
    """The groups so far, as digests: about 50 bytes a response."""

    def __init__(self) -> None:
        self._of_prompt: dict[int, list[tuple[tuple[int, ...], tuple[float, ...]]]] = defaultdict(list)

    def add(self, group: Group, counts: Counts) -> None:
        """Count a group as a duplicate or a contradiction of an earlier one, and remember it."""
        rankings = group.rankings or ()
        responses = tuple(_digest(response) for response in group.responses)
        earlier = self._of_prompt[_digest(prompt_key(group, whole=True))]
        ranks = dict(zip(responses, rankings, strict=True))
        is_duplicate = is_contradiction = False
        for others, their_rankings in earlier:
            theirs = dict(zip(others, their_rankings, strict=True))
            is_duplicate |= theirs == ranks
            shared = [each for each in ranks if each in theirs]
            is_contradiction |= any(
                (ranks[a] - ranks[b]) * (theirs[a] - theirs[b]) < 0
                for i, a in enumerate(shared)
                for b in shared[:i]
            )
        counts.duplicates += is_duplicate
        counts.contradictions += is_contradiction
        earlier.append((responses, rankings))


def prompt_key(group: Group, *, whole: bool) -> str:
    """What tells prompts apart: normalised texts and media.

    Args:
        whole: of the whole conversation; else of its first user turn: the stages of one dialogue are one prompt.
    """
    turns = [turn for turn in group.messages if turn.role == "user"][:1]
    if whole or not turns:
        turns = list(group.messages)
    blocks = [block for turn in turns for block in turn.blocks]
    texts = [normalise(block) for block in blocks if isinstance(block, str)]
    return "\0".join([*texts, *(str(block.source) for block in blocks if isinstance(block, Media))])


def _digest(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )
