"""Where things are on this machine, which no answer tells."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from yoj_cli.errors import MediaError, UnexpectedError, YojError

TEMPORARY = re.escape(tempfile.gettempdir()) + r"/yoj-\S*"
ANY_PATH = r"(?<!\w)/(?:[\w.@+-]+/)+[\w.@+-]*"
HIDDEN = "…"


class Privacy:
    """Takes places of this machine out of what is said.

    Args:
        media_root: the folder whose files may be named, from there on.
    """

    def __init__(self, media_root: Path | None) -> None:
        self._folders: set[str] = set()
        if media_root is not None:
            self.hide(media_root)

    def hide(self, folder: Path) -> None:
        """Name this folder no more; the root of all is none."""
        self._folders |= {str(folder.absolute()), str(folder.resolve())} - {os.sep}

    def error(self, error: YojError) -> YojError:
        """The error without the places that it names; of a library's own words, or the system's, without any."""
        longest_first = sorted(self._folders, key=len, reverse=True)
        places = [*map(re.escape, longest_first), TEMPORARY]
        is_of_group = isinstance(error, MediaError)  # what it names is the client's, beneath the media root
        if isinstance(error, UnexpectedError) or (isinstance(error.__cause__, OSError) and not is_of_group):
            places.append(ANY_PATH)
        found, pattern = copy(error), "|".join(places)
        found.what, found.where, found.hint = (
            re.sub(pattern, HIDDEN, text) for text in (found.what, found.where, found.hint)
        )
        return found

    def description(self, judge: Mapping[str, Any]) -> dict[str, Any]:
        """A judge's description with folders by their last part alone."""
        return {
            key: os.path.basename(value.rstrip("/"))
            if isinstance(value, str) and os.path.isabs(value)
            else value
            for key, value in judge.items()
        }
