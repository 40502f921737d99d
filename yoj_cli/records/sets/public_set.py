"""What a public preference set is: where its rows are, under which licence, and what was verified of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Record = dict[str, Any]
"""A line of the training format; media in "image", "images", "video" or "videos" are still as the row had them."""


class LeftOutError(Exception):
    """A row that says no preference, or none that can be used; what the set's readers leave out, counted by reason."""


@dataclass(frozen=True, slots=True)
class PublicSet:
    """One preference set.

    Attributes:
        name: as given on the command line.
        hub_id, revision: the data set on the Hub, and the commit that is read; "" is the newest.
        licence: of the data, as stated; "not stated" where it is not.
        files: patterns of the files with rows, the first that matches any file.
        media: patterns of the files with pictures and clips; () where rows hold them, or there are none.
        n_responses: of a row.
        is_verified: whether the columns were seen in the set's own card, code or files.
        basis: what they were verified against, or guessed from.
        convert: one row to one record.
    """

    name: str
    title: str
    hub_id: str
    revision: str
    licence: str
    files: tuple[str, ...]
    media: tuple[str, ...]
    n_responses: int
    is_verified: bool
    basis: str
    convert: Callable[[Row], Record]
