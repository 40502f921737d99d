"""How many tests hold each promise of SECURITY.md: python -m tests.security prints its table."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from tests.processes import ROOT, environment

AREAS = {
    "checkpoint": (
        *("test_hostile_checkpoints.py", "test_pretrained.py", "test_adapter_files.py", "test_files.py"),
        *("test_template_process.py", "test_line_process.py", "test_patterns.py", "test_tokens.py"),
    ),
    "data": ("test_limits.py", "test_lines.py", "test_nasty_lines.py", "test_text_bound.py", "test_fuzz.py"),
    "media": (
        "test_decoder_pool.py",
        "test_clips.py",
        "test_load_media.py",
        "test_media_root.py",
        "test_prefetch.py",
    ),
    "network": ("test_download.py",),
    "output": ("test_writing.py", "test_writers.py", "test_table.py", "faults"),
    "server": (
        "test_serve.py",
        "test_serve_limits.py",
        "test_serve_load.py",
        "test_serve_queue.py",
        "test_serve_schema.py",
        "test_serve_trainers.py",
        "test_serve_protocol.py",
        "test_serve_rerank.py",
        "test_serve_shapes.py",
        "test_serve_tls.py",
        "test_cohort.py",
    ),
}


def count_tests() -> dict[str, int]:
    """Tests by area, slow ones too; a parametrized one counts as often as it runs."""
    files = [f"tests/{name}" for names in AREAS.values() for name in names]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-m", "", *files],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    places = Counter(
        line.split("::")[0].split("/")[1] for line in collected.stdout.splitlines() if "::" in line
    )
    return {area: sum(places[name] for name in names) for area, names in AREAS.items()}


def main() -> None:
    from tests.fuzz.chats import SPECIAL
    from tests.hostile_checkpoints import attacks

    print("| area | tests | in `tests/` |\n|---|---|---|")  # noqa: T201
    for area, n_tests in count_tests().items():
        print(f"| {area} | {n_tests} | {', '.join(f'`{name}`' for name in AREAS[area])} |")  # noqa: T201
    n_tokens = len(set(SPECIAL["qwen3-vl"]) | set(SPECIAL["molmo2"]))
    print(f"\n{len(attacks())} hostile checkpoints, {n_tokens} special tokens")  # noqa: T201


if __name__ == "__main__":
    main()
