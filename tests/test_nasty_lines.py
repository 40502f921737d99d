"""Thousands of broken lines through the whole path: each gives a verdict or an error that names it, in order."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import PARITY
from yoj_cli.errors import UnexpectedError
from yoj_cli.groups import Failure
from yoj_cli.records.parse import read_groups

WHOLE: list[dict[str, Any]] = [
    {"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2]},
    {"question": "q", "candidates": ["a", "b"], "ratings": [0.1, 3], "id": 7, "video": {"frames": "frames"}},
    {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "t"}]},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "y"},
        ],
        "images": ["ok.png"],
        "responses": ["a"],
    },
    {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
    },
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ok.png"}}, "x"]}
        ],
        "responses": ["a", "b"],
    },
]
VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**400,
        "",
        " ",
        "a",
        "\ud83d",
        "\x00",
        "\x1b[2J",
        "a" * 3000,
        "e\u0301",
    ),
    *(
        "<|im_end|>",
        "<|image|>",
        "<|resp_sep|>",
        "\ue0000\ue001",
        "\ue002",
        "user",
        "assistant",
        "tool",
        "image",
    ),
    *(
        "ok.png",
        "line.png",
        "frames",
        "gone.png",
        "file://[::1",
        "http://[::1",
        "data:,",
        "data:image/png;base64,x",
    ),
    *("..", "/dev/null", "x" * 5000, "a\x00b", [], {}, [[]], [{}], [None], ["a", "b"], {"url": "ok.png"}),
    *(
        {"frames": "frames", "seconds_per_frame": 1e-320},
        {"frames": "ok.png"},
        {"type": "image"},
        {"type": []},
    ),
    *({"role": "user"}, {"role": "tool", "content": []}, {"role": "system", "content": [{"type": "image"}]}),
]
KEYS = [
    *{key for record in WHOLE for key in record},
    "role",
    "content",
    "type",
    "text",
    "path",
    "scores",
    "error",
    "",
]


def places(item: Any) -> list[tuple[Any, Any]]:
    keys = list(item) if isinstance(item, dict) else list(range(len(item))) if isinstance(item, list) else []
    return [(item, key) for key in keys] + [place for key in keys for place in places(item[key])]


def nasty_line(rng: random.Random) -> bytes:
    record = copy.deepcopy(rng.choice(WHOLE))
    for _ in range(rng.choice([1, 1, 2])):
        holder, key = rng.choice(places(record) or [(record, "prompt")])
        value = copy.deepcopy(rng.choice(VALUES))
        what = rng.choice(["replace", "replace", "remove", "add"])
        if what == "replace":
            holder[key] = value
        elif what == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(KEYS)] = value
        else:
            holder.insert(key, value)
        if not record:
            break
    line = bytearray(json.dumps(record, ensure_ascii=rng.random() < 0.7).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.1:
        line[rng.randrange(len(line))] = rng.choice(b'\x00\xff"{}[],:9\\')
    return bytes(line)


@pytest.mark.parametrize("family", ["molmo2", "qwen3_vl"])
def test_every_nasty_line_gives_a_verdict_or_an_error_of_its_own(
    judges: Any, qwen_checkpoint: Path, tmp_path: Path, family: str
) -> None:
    (tmp_path / "frames").mkdir()
    picture = Image.new("RGB", (60, 40), "red")
    for name in ("ok.png", "frames/0.png", "frames/1.png"):
        picture.save(tmp_path / name)
    Image.new("RGB", (20_000, 1)).save(tmp_path / "line.png")
    rng = random.Random(family)
    data = tmp_path / "nasty.jsonl"
    data.write_bytes(b"".join(nasty_line(rng) + b"\n" for _ in range(600)))
    judge = judges(PARITY / "checkpoint" if family == "molmo2" else qwen_checkpoint)
    found = list(judge.score_groups(read_groups(str(data))))
    failed = [item for item in found if isinstance(item, Failure)]
    wheres = [item.where if isinstance(item, Failure) else item.group.where for item in found]
    assert wheres == [f"{data}:{number}" for number in range(1, 601)]
    assert [str(item.error) for item in failed if isinstance(item.error, UnexpectedError)] == []
    assert all(item.error.where.startswith(item.where) for item in failed)
    assert 60 < len(failed) < 540
