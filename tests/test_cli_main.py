"""What every command has in common: exit codes, help, pipes, interrupts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.conftest import PARITY, Run
from tests.processes import YOJ, environment
from yoj_cli.cli.main import EXIT_CODES, app
from yoj_cli.errors import ExitCode
from yoj_cli.version import __version__

MODEL = PARITY / "checkpoint"
JUDGE = ("-m", MODEL, "--device", "cpu", "--quant", "none")
ASK = ("-p", "q", "-t", "a")
GROUP = {"prompt": "q", "responses": ["a", "b"]}


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (ExitCode.OK, ["rank", *JUDGE, *ASK]),
        (ExitCode.OK, ["--help"]),
        (ExitCode.OK, ["score", "-h"]),
        (ExitCode.SOME_FAILED, ["score", *JUDGE, "-", "--on-error", "skip"]),
        (ExitCode.USAGE, []),
        (ExitCode.USAGE, ["scor"]),
        (ExitCode.USAGE, ["score", "--nope"]),
        (ExitCode.USAGE, ["score", "--quant", "3bit"]),
        (ExitCode.USAGE, ["score", "--limit", "many"]),
        (ExitCode.USAGE, ["score", "--orders", "0"]),
        (ExitCode.USAGE, ["score", "--json", "--format", "csv"]),
        (ExitCode.USAGE, ["score", *JUDGE, "-"]),
        (ExitCode.MODEL, ["rank", *ASK, "-m", PARITY, "--device", "cpu"]),
        (ExitCode.MODEL, ["rank", *ASK, "-m", "nobody/nothing", "--device", "cpu"]),
        (ExitCode.DEVICE, ["rank", *ASK, "-m", MODEL, "--device", "cuda:99"]),
    ],
)
def test_exit_codes(yoj: Run, code: ExitCode, arguments: list[object]) -> None:
    found, out, err = yoj(*arguments, stdin="{bad\n")
    assert found == code
    if code not in (ExitCode.OK, ExitCode.SOME_FAILED):
        assert out == ""
        assert err
        assert "Traceback" not in err


def test_a_bug_is_called_one(yoj: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("1 / 0")

    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    app.command("broken")(broken)
    code, out, err = yoj("broken")
    assert (code, out) == (ExitCode.BUG, "")
    assert err == "yoj: unexpected ZeroDivisionError: 1 / 0\nThis is a bug in yoj; YOJ_DEBUG=1 shows where.\n"


def test_every_exit_code_is_in_the_help(yoj: Run) -> None:
    out = " ".join(yoj("--help")[1].split())
    for code in ExitCode:
        assert f" {code.value} " in EXIT_CODES
        assert f" {code.value} " in out


def test_debug_shows_where(yoj: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = yoj("rank", *ASK, "--orders", 0)
    assert plain[::2] == (2, "yoj: --orders: needs at least one order, got 0\n")
    code, _, err = yoj("rank", *ASK, "--orders", 0, "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert "--orders: needs at least one order, got 0" in err
    monkeypatch.setenv("YOJ_DEBUG", "1")
    assert yoj("rank", *ASK, "--orders", 0)[2].startswith("Traceback")


@pytest.mark.slow
def test_libraries_warnings_are_shown_with_debug_alone(write_lines: Callable[..., Path]) -> None:
    program = """
        import sys, threading, warnings
        from torch.nn.modules.module import register_module_forward_pre_hook
        from yoj_cli.cli.main import main

        def warn(*_):
            if threading.current_thread() is not threading.main_thread():
                sys.setprofile(None)
            warnings.warn("old, said " + threading.current_thread().name, FutureWarning)

        register_module_forward_pre_hook(warn)
        threading.setprofile(warn)
        main()
    """
    picture = Path(__file__).parents[1] / "examples/pictures/scene-1.png"
    data = write_lines({**GROUP, "image": str(picture)})
    command = [sys.executable, "-c", textwrap.dedent(program), "score", *map(str, JUDGE), str(data), "-q"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120, "env": environment()}
    quiet, debugging = (subprocess.run([*command, *more], **options) for more in ([], ["--debug"]))
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout == debugging.stdout
    assert "FutureWarning: old, said MainThread" in debugging.stderr
    assert debugging.stderr.count("FutureWarning: old, said ") > debugging.stderr.count("said MainThread")


def test_version(yoj: Run) -> None:
    assert yoj("--version") == (0, f"yoj {__version__}\n", "")


def test_no_message_holds_what_a_terminal_acts_on(yoj: Run) -> None:
    err = yoj("score", "\x1b]0;title\x07\x1b[2J.jsonl")[2]
    assert err == "yoj: ␛]0;title␇␛[2J.jsonl: there is no such file\n"


def write_groups(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps(GROUP) + "\n" for _ in range(count)))
    return path


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_ends_the_program_quietly(tmp_path: Path) -> None:
    data = write_groups(tmp_path / "data.jsonl", 3000)
    yoj = subprocess.Popen(
        [*YOJ, "score", *map(str, JUDGE), str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    head = subprocess.run(["head", "-1"], stdin=yoj.stdout, capture_output=True, timeout=60, check=True)
    assert yoj.stdout is not None
    yoj.stdout.close()
    _, err = yoj.communicate(timeout=60)
    assert json.loads(head.stdout)["prompt"] == "q"
    assert (yoj.returncode, err) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_said_once(yoj: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        found = yoj("info", "--json")
    assert found == (
        2,
        "",
        "yoj: the results cannot be written (No space left on device)\n"
        "What was written may end in the middle of a line.\n",
    )


def test_closed_streams_are_no_bug() -> None:
    closed = ["sh", "-c", '"$@" >&- <&-', "sh", *YOJ, "rank", *ASK]
    done = subprocess.run(closed, capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stderr) == (2, b"yoj: standard output is closed\n")


def write_slow_clip(path: Path) -> Path:
    """About a second of decoding."""
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, options={"g": "600"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for number in range(150):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * number, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decoders_of(pid: int) -> list[int]:
    """The decoders that a process has started; they outlive it where they are forgotten."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and "yoj_cli.media.decoder" in row[2]]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_while_a_clip_is_decoded_is_quiet_and_leaves_nothing(tmp_path: Path) -> None:
    clip = write_slow_clip(tmp_path / "slow.mp4")
    data = tmp_path / "data.jsonl"
    data.write_text((json.dumps({**GROUP, "videos": [str(clip)] * 20}) + "\n") * 9)
    yoj = subprocess.Popen(
        [*YOJ, "score", *map(str, JUDGE), str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    try:
        while not decoders_of(yoj.pid) and yoj.poll() is None:
            time.sleep(0.1)
        time.sleep(0.5)
        workers = decoders_of(yoj.pid)
        os.killpg(yoj.pid, signal.SIGINT)
        out, err = yoj.communicate(timeout=20)
    finally:
        yoj.kill()
        yoj.communicate()
    assert workers
    assert (yoj.returncode, out, err) == (ExitCode.INTERRUPTED, b"", b"")
    assert not any(map(is_alive, workers))


@pytest.mark.parametrize("module", ["typer", "yoj_cli.cli.score"])
def test_ctrl_c_during_the_first_imports_is_quiet(module: str) -> None:
    program = f"""if True:
        import os, signal, sys
        class Interrupting:
            def find_spec(self, name, *_):
                if name == {module!r}:
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Interrupting())
        from yoj_cli.__main__ import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment(), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.INTERRUPTED, b"", b"")


def test_usage_is_said_in_plain_words(yoj: Run) -> None:
    err = yoj("score", "x", "--quant", "foo")[2]
    assert "'foo' is not one of" in err
    assert "Value error" not in err
    assert "list[str]" not in yoj("score", "--help")[1]


def test_a_line_break_in_a_files_name_forges_no_message(yoj: Run) -> None:
    err = yoj("score", "x\nyoj: all is well")[2]
    assert err == "yoj: x\\nyoj: all is well: there is no such file\n"


def test_a_message_quotes_no_megabytes_of_a_file(
    yoj: Run, adapter_checkpoint: Path, write_lines: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(adapter_checkpoint, tmp_path / "judge")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["init_lora_weights"] = "a" * 1_000_000
    (folder / "adapter_config.json").write_text(json.dumps(config))
    code, _, err = yoj("score", write_lines({"prompt": "q", "responses": ["a", "b"]}), "-m", folder)
    assert code == 3
    assert len(err) < 3000


def test_info_holds_what_no_terminal_acts_on(yoj: Run) -> None:
    assert "\x1b" not in yoj("info", "-m", "a\x1b[2Jb")[1]
