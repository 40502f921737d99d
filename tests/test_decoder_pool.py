"""Decoders in processes of their own: what hangs, crashes, swells or prints costs its own medium and nothing more."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from tests.test_clips import GENEROUS, numbers, overwrite_frame, write_clip
from tests.waiting import wait_until
from yoj_cli.errors import MediaError
from yoj_cli.media import decoder_process
from yoj_cli.media.clips import Decoded, decode_clip
from yoj_cli.media.decoder_pool import DecoderPool
from yoj_cli.media.options import MediaOptions
from yoj_cli.media.pictures import BAND_PX, convert_picture, picture_digest


@pytest.fixture
def pool():
    pool = DecoderPool(max_decoders=2)
    yield pool
    pool.close()


def decode(pool: DecoderPool, path: Path, timeout_s: float = 60) -> Decoded:
    """A named pipe is opened for writing too, so that reading it never ends."""
    flags = os.O_RDWR if stat.S_ISFIFO(path.stat().st_mode) else os.O_RDONLY
    with open(os.open(path, flags), "rb", buffering=0) as file:
        return pool.decode_clip(file, where=str(path), **GENEROUS, timeout_s=timeout_s)


def test_the_pool_gives_what_decoding_here_gives(tmp_path: Path, pool: DecoderPool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 25)
    here, there = decode_clip(str(clip), **GENEROUS), decode(pool, clip)
    assert np.array_equal(here.frames, there.frames)
    assert (here.times_s, here.duration_s, here.decoder) == (there.times_s, there.duration_s, there.decoder)
    assert there.frames.flags.writeable


def test_one_decoder_serves_clip_after_clip(tmp_path: Path, pool: DecoderPool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)
    (tmp_path / "bad.mp4").write_text("no clip")
    decode(pool, clip)
    (process,) = pool._processes
    with pytest.raises(MediaError, match="not a clip"):
        decode(pool, tmp_path / "bad.mp4")
    decode(pool, clip)
    assert pool._processes == {process}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_decoder_that_hangs_is_stopped_and_the_next_clip_is_fine(tmp_path: Path, pool: DecoderPool) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    clip = write_clip(tmp_path / "a.mp4", 5)
    decode(pool, clip)
    started = time.monotonic()
    with pytest.raises(MediaError, match=r"did not finish within 0\.5 s") as caught:
        decode(pool, tmp_path / "never.mp4", timeout_s=0.5)
    assert time.monotonic() - started < 5
    assert caught.value.where == str(tmp_path / "never.mp4")
    assert numbers(decode(pool, clip)) == [0, 4]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_decoder_that_crashes_is_an_error_and_the_next_clip_is_fine(
    tmp_path: Path, pool: DecoderPool
) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    clip = write_clip(tmp_path / "a.mp4", 5)
    with ThreadPoolExecutor(1) as thread:
        doomed = thread.submit(decode, pool, tmp_path / "never.mp4")
        killed = None
        for _ in range(2):  # the second one reads it without decord
            while pool._processes in (set(), {killed}):
                time.sleep(0.01)
            (killed,) = pool._processes
            os.kill(killed._process.pid, signal.SIGSEGV)
        with pytest.raises(MediaError, match=r"crashed \(SIGSEGV\)"):
            doomed.result()
    assert numbers(decode(pool, clip)) == [0, 4]


def test_a_decoder_that_died_idle_is_replaced(tmp_path: Path, pool: DecoderPool) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)
    decode(pool, clip)
    (process,) = pool._processes
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert numbers(decode(pool, clip)) == [0, 4]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_close_ends_busy_decoders(tmp_path: Path, pool: DecoderPool) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    with ThreadPoolExecutor(1) as thread:
        doomed = thread.submit(decode, pool, tmp_path / "never.mp4")
        while not pool._processes:
            time.sleep(0.01)
        pool.close()
        with pytest.raises(MediaError):
            doomed.result(timeout=10)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_close_also_ends_those_who_wait_for_a_decoder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    pool = DecoderPool(max_decoders=1)
    with ThreadPoolExecutor(3) as threads:
        doomed = [threads.submit(decode, pool, tmp_path / "never.mp4") for _ in range(3)]
        wait_until(lambda: pool._processes and len(pool._free._cond._waiters) == 2)
        pool.close()
        for one in doomed:
            with pytest.raises(MediaError):
                one.result(timeout=10)
    assert not pool._processes
    assert numbers(decode(pool, write_clip(tmp_path / "a.mp4", 5))) == [0, 4]
    pool.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_a_decoder_that_cannot_be_started_leaves_no_file_open(
    tmp_path: Path, pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, "too many processes")

    before = sorted(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as changed:
        changed.setattr(subprocess, "Popen", refuse)
        for _ in range(3):
            with pytest.raises(OSError, match="too many processes"):
                decode(pool, clip)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert numbers(decode(pool, clip)) == [0, 4]


def test_a_decoder_that_does_not_come_up_is_said_to(
    tmp_path: Path, pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_process, "MAX_START_S", 0.2)
    monkeypatch.setattr(decoder_process, "PROGRAM", "import time; time.sleep(60)")
    with pytest.raises(MediaError, match=r"the clip decoder did not start within 0\.2 s"):
        decode(pool, write_clip(tmp_path / "a.mp4", 5))


def test_threads_share_the_pool(tmp_path: Path, pool: DecoderPool) -> None:
    clips = [write_clip(tmp_path / f"{n}.mp4", n) for n in (6, 11, 16)]
    most: list[int] = []

    def read(path: Path) -> list[int]:
        decoded = decode(pool, path)
        most.append(len(pool._processes))
        return numbers(decoded)

    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(read, clips * 4))
    assert results == [[0, 5, 5], [0, 5, 10, 10], [0, 5, 10, 15, 15]] * 4
    assert max(most) <= 2


LOAD = """
    import sys
    from yoj_cli.media.decoder_pool import pool
    from yoj_cli.errors import MediaError
    for path in sys.argv[1:]:
        try:
            pool.decode_clip(open(path, 'rb'), where=path, max_frames=16, max_pixels=10**8, timeout_s=60)
        except MediaError:
            pass
    print([process._process.pid for process in pool._processes][0])
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_program_on_standard_input_works_prints_nothing_more_and_leaves_no_process(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 40, options={"g": "10", "bf": "0"})
    damaged = overwrite_frame(clip, 1.2)
    done = subprocess.run(
        [sys.executable, "-", str(clip), str(damaged)],
        input=textwrap.dedent(LOAD),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.stderr == ""
    assert done.returncode == 0
    (line,) = done.stdout.splitlines()
    assert not is_alive(int(line))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_ctrl_c_while_decoding_is_quiet_and_leaves_no_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    program = """
        import os, sys, threading, time
        from yoj_cli.media.decoder_pool import pool
        def tell():
            while not pool._processes: time.sleep(0.01)
            print([process._process.pid for process in pool._processes][0], flush=True)
        threading.Thread(target=tell, daemon=True).start()
        try:
            never = open(os.open(sys.argv[1], os.O_RDWR), "rb")
            pool.decode_clip(never, where="", max_frames=2, max_pixels=10**8, timeout_s=60)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "never.mp4")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    assert not is_alive(worker)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_gets_decoders_of_its_own(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)
    program = """
        import os, sys, warnings
        from yoj_cli.media.decoder_pool import pool
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 has one about forking
        limits = dict(where='', max_frames=2, max_pixels=10**8, timeout_s=60)
        pool.decode_clip(open(sys.argv[1], 'rb'), **limits)
        theirs = {process._process.pid for process in pool._processes}
        child = os.fork()
        assert len(pool.decode_clip(open(sys.argv[1], 'rb'), **limits).frames) == 2
        mine = {process._process.pid for process in pool._processes}
        assert (mine == theirs) == (child != 0)
        if child:
            sys.exit(os.waitpid(child, 0)[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), clip],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_decoder_imports_only_what_decoding_needs() -> None:
    program = """
        import sys, yoj_cli.media.decoder
        print([name for name in ("torch", "typer", "rich", "numpy", "av", "decord") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert done.stdout.strip() == "[]"


def test_waiting_for_a_free_decoder_does_not_count_as_decoding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 5)
    pool = DecoderPool(max_decoders=1)
    try:
        decode(pool, clip)
        pool._free.acquire()
        threading.Timer(0.6, pool._free.release).start()
        assert numbers(decode(pool, clip, timeout_s=0.5)) == [0, 4]
    finally:
        pool.close()


# Pictures


def decode_picture(pool: DecoderPool, path: Path, timeout_s: float = 60) -> np.ndarray:
    with open(path, "rb") as file:
        image, digest = pool.decode_picture(
            file, where=str(path), max_pixels=MediaOptions().max_pixels, timeout_s=timeout_s
        )
    assert digest == picture_digest(image)
    return np.asarray(image)


def write_scans(path: Path, n_scans: int, side: int) -> Path:
    """A progressive JPEG that says the same thing so many times: each scan passes over all pixels."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    path.write_bytes(data[:-2] + n_scans * data[data.rindex(b"\xff\xda") : -2] + b"\xff\xd9")
    return path


def test_a_picture_comes_back_to_the_last_pixel_whatever_its_size(tmp_path: Path, pool: DecoderPool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (999, 3001, 3), np.uint8)
    for height, width in ((999, 3001), (1, 1), (700, 900), (1, 3001), (999, 1)):
        pixels = noise[:height, :width]
        Image.fromarray(pixels).save(tmp_path / "a.png", compress_level=0)
        assert np.array_equal(decode_picture(pool, tmp_path / "a.png"), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "I;16", "F"])
def test_a_large_picture_is_converted_in_parts_to_the_same_pixels(mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (1100, 1000), np.uint8)
    grey = Image.fromarray(values)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        image = Image.merge(mode, [grey] * len(mode))
    else:
        image = grey.convert(mode)
    if mode == "P":
        image.info["transparency"] = 7
    assert image.width * image.height > BAND_PX
    whole = np.asarray(convert_picture(image, where="", max_pixels=10**8))
    parts = [image.crop((0, top, 1000, top + 100)) for top in range(0, 1100, 100)]
    small = [np.asarray(convert_picture(part, where="", max_pixels=10**8)) for part in parts]
    assert np.array_equal(whole, np.concatenate(small))


def test_a_picture_that_takes_too_long_is_stopped_and_the_next_is_fine(tmp_path: Path) -> None:
    slow = write_scans(tmp_path / "slow.jpg", 2000, 3000)
    assert slow.stat().st_size < 700_000
    Image.new("RGB", (9, 6), (1, 2, 3)).save(tmp_path / "a.png")
    pool = DecoderPool(max_decoders=1, picture_cpu_s=0.5)
    try:
        with pytest.raises(
            MediaError, match=r"did not finish within 0\.5 s of the processor's time"
        ) as caught:
            decode_picture(pool, slow)
        assert (caught.value.where, "save it again" in caught.value.hint) == (str(slow), True)
        assert decode_picture(pool, tmp_path / "a.png")[0, 0].tolist() == [1, 2, 3]
        with pytest.raises(MediaError, match=r"did not finish within 0\.2 s and was stopped"):
            decode_picture(pool, slow, timeout_s=0.2)
    finally:
        pool.close()


def test_a_picture_that_takes_too_much_memory_costs_itself(tmp_path: Path) -> None:
    pool = DecoderPool(max_decoders=1, memory_bytes=64 << 20)
    names = ("large.png", "large.jpg", "large.tif")
    for name in names:
        Image.new("RGB", (4000, 5000)).save(tmp_path / name)
    Image.new("RGB", (9, 6), (1, 2, 3)).save(tmp_path / "a.png")
    try:
        for name in names:
            with pytest.raises(MediaError, match="takes more than 64 MiB of memory") as caught:
                decode_picture(pool, tmp_path / name)
            assert "Scale it down" in caught.value.hint
            (process,) = pool._processes  # it lives on
            assert decode_picture(pool, tmp_path / "a.png")[0, 0].tolist() == [1, 2, 3]
            assert pool._processes == {process}
    finally:
        pool.close()


def test_a_clip_that_takes_too_much_memory_costs_itself(tmp_path: Path) -> None:
    pool = DecoderPool(max_decoders=1, memory_bytes=48 << 20)
    try:
        with pytest.raises(MediaError, match="takes more than 48 MiB of memory"):
            decode(pool, write_large_clip(tmp_path / "large.mp4"))
        assert numbers(decode(pool, write_clip(tmp_path / "a.mp4", 5))) == [0, 4]
    finally:
        pool.close()


def write_large_clip(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for _ in range(16):
            frame = av.VideoFrame(1920, 1080, "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_what_a_pictures_library_prints_stays_with_the_decoder(tmp_path: Path, capfd: Any) -> None:
    """libtiff complains of damaged data on the program's standard error."""
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.tif", compression="tiff_lzw")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as image:
        start = image.tag_v2[TiffImagePlugin.STRIPOFFSETS][0]
    data[start + 500 : start + 900] = b"\xff" * 400
    (tmp_path / "a.tif").write_bytes(data)
    with Image.open(tmp_path / "a.tif") as image, pytest.raises(OSError, match=r"decoder|TIFF"):
        image.load()
    assert capfd.readouterr().err != ""
    pool = DecoderPool(max_decoders=1)
    try:
        with pytest.raises(MediaError, match="damaged"):
            decode_picture(pool, tmp_path / "a.tif")
    finally:
        pool.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_busy_decoder_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never.mp4")
    program = """
        import os, sys, threading, time
        from yoj_cli.media.decoder_pool import pool
        never = open(os.open(sys.argv[1], os.O_RDWR), "rb")
        limits = dict(where="", max_frames=2, max_pixels=10**8, timeout_s=600)
        threading.Thread(target=pool.decode_clip, args=[never], kwargs=limits, daemon=True).start()
        while not pool._processes: time.sleep(0.01)
        time.sleep(1)  # until it reads
        print([process._process.pid for process in pool._processes][0], flush=True)
        time.sleep(60)
    """
    killed = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "never.mp4")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert killed.stdout is not None
    decoder = int(killed.stdout.readline())
    assert is_alive(decoder)
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + 10
    while is_alive(decoder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(decoder)
    killed.stdout.close()
