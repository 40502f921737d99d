"""Whatever manifests and shards hold, reading them ends in what they say or in an error of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoj_cli.errors import YojError
from yoj_cli.records.lines import open_lines
from yoj_cli.records.selection import BLOCK, Selection
from yoj_cli.run.gather import find_parts
from yoj_cli.run.manifest import FORMAT_VERSION, InputFile, Manifest, parse_manifest, path_of, render_manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
WHOLE = json.loads(render_manifest(Manifest({"mode": "multi"}, {}, (InputFile("a", 1, "b"),), finished=True)))
ONE_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None)
def test_any_bytes_as_a_manifest(content: bytes) -> None:
    with suppress(YojError):
        parse_manifest(content, where="m")


@given(st.sampled_from(sorted(WHOLE)), JSON)
@settings(deadline=None, max_examples=300)
def test_any_value_in_any_field_of_a_manifest(key: str, value: Any) -> None:
    with suppress(YojError):
        found = parse_manifest(json.dumps({**WHOLE, key: value}).encode(), where="m")
        with suppress(YojError):
            found.check_same_run(Manifest({}, {}, ()), where="m", hint="")
        assert parse_manifest(render_manifest(found).encode(), where="m") == found


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=80),
            st.fixed_dictionaries(
                {},
                optional={
                    "shard": st.integers(0, 3),
                    "n_shards": st.integers(0, 3),
                    "n_done": st.integers(0, 3),
                    "n_bytes": st.integers(0, 80),
                    "finished": st.booleans(),
                    "inputs": st.lists(st.just({"path": "a", "n_bytes": 1, "blake2b": "b"}), max_size=2),
                },
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
@ONE_FOLDER
def test_any_outputs_with_any_manifests_are_gathered_whole_or_refused(
    tmp_path: Path, parts: list[tuple[bytes, dict[str, Any], bool]]
) -> None:
    paths, expected = [], 0
    for number, (content, changes, is_true) in enumerate(parts):
        path = tmp_path / f"part{number}"
        path.write_bytes(content)
        manifest = {**WHOLE, **changes}
        if is_true:  # its sizes are right, whatever else it says
            manifest |= {"n_bytes": len(content), "n_done": len(content.splitlines(keepends=True))}
        path_of(path).write_text(json.dumps(manifest))
        paths.append(str(path))
        expected += manifest["n_done"]
    with suppress(YojError):
        assert len(list(find_parts(paths).lines())) == expected


@given(st.binary(max_size=100), st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"]))
@ONE_FOLDER
def test_any_bytes_as_a_packed_file(tmp_path: Path, content: bytes, start: bytes) -> None:
    path = tmp_path / "packed"
    path.write_bytes(start + content)
    with suppress(YojError), open_lines(path) as lines:
        list(lines)


@given(st.integers(0, 5 * BLOCK), st.integers(1, 5), st.integers(0, 3 * BLOCK))
@settings(deadline=None)
def test_every_line_is_done_once_wherever_each_shard_was_interrupted(
    n: int, n_shards: int, n_done: int
) -> None:
    taken: list[int] = []
    for shard in range(n_shards):
        first = Selection(shard=shard, n_shards=n_shards)
        own = [number for number in range(n) if first.takes_next()]
        rest = Selection(shard=shard, n_shards=n_shards, n_done=min(n_done, len(own)))
        taken += own[: min(n_done, len(own))] + [number for number in range(n) if rest.takes_next()]
    assert sorted(taken) == list(range(n))


def test_a_manifest_reads_back_as_it_was_written() -> None:
    manifest = parse_manifest(json.dumps(WHOLE).encode(), where="m")
    assert {"format_version": FORMAT_VERSION, **json.loads(json.dumps(asdict(manifest)))} == WHOLE
