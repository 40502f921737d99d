"""The page as one file: template, style, script and data, with a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("page")
STYLES = ("colours", "frame", "overview", "groups", "print")
SCRIPTS = (
    "data",
    "dom",
    "share",
    "address",
    "marks",
    "find",
    "list",
    "words",
    "lightbox",
    "responses",
    "group",
    "export",
    "keys",
    "print",
    "start",
)
"""In the order in which they are joined: each uses names of those before it."""

ENDS_A_SCRIPT = "[<>&\u2028\u2029\ud800-\udfff]"
"""What may not stand in a data block as it is: it could end the element or a line, or is no character in UTF-8."""


def render_page(
    *, title: str, overview: Mapping[str, Any], index: Mapping[str, Any], blocks: Sequence[tuple[str, Any]]
) -> str:
    """The whole page.

    Args:
        overview: what the template of the overview shows.
        index: what the script reads first.
        blocks: documents that it reads when they are asked for, each under its element's id.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    style = _join("style", STYLES, "css")
    script = f'"use strict";\n(() => {{\n{_join("script", SCRIPTS, "js")}}})();\n'
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        title=title,
        overview=overview,
        policy=policy(style, script),
        style=style,
        script=script,
        blocks=[(name, data_block(document)) for name, document in [("index", index), *blocks]],
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a text may hold half a character


def policy(style: str, script: str) -> str:
    """The content security policy: this style, this script and pictures inside the page; nothing else, from nowhere."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{_sha256(script)}'",
            f"style-src 'sha256-{_sha256(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def data_block(document: Any) -> str:
    """JSON that may stand inside a script element, whatever texts it holds."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub(ENDS_A_SCRIPT, lambda match: f"\\u{ord(match[0]):04x}", text)


def _join(kind: str, names: Sequence[str], ending: str) -> str:
    texts = [(FOLDER / kind / f"{name}.{ending}").read_text(encoding="utf-8") for name in names]
    return "\n".join(texts)


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
