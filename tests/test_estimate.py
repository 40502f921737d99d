"""A planned run: worked by hand, and every limit can be the one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.conftest import Run
from yoj_cli.records.selection import BLOCK
from yoj_cli.run.estimate import Workload, estimate


def workload(**changes: float) -> Workload:
    given = {
        "groups_per_s": 10.0,
        "load_s": 60.0,
        "decode_s": 0.0,
        "cores_per_device": 8.0,
        "mb_per_group": 0.0,
        "network_mb_per_s": 1000.0,
        "price_per_hour": None,
        **changes,
    }
    return Workload(**given, source="")  # type: ignore[arg-type]


def test_a_run_on_one_device_takes_loading_and_scoring() -> None:
    found = estimate(workload(price_per_hour=2.0), 36_000, 1)
    assert (found.wall_s, found.limit) == (60 + 3600, "device")
    assert found.device_hours == pytest.approx(3660 / 3600)
    assert found.cost == pytest.approx(2 * 3660 / 3600)


def test_shares_are_whole_blocks_so_small_runs_leave_devices_idle() -> None:
    found = estimate(workload(load_s=0.0), 3 * BLOCK, 2)
    assert found.wall_s == pytest.approx(2 * BLOCK / 10)
    assert estimate(workload(load_s=0.0), 100, 5).wall_s == pytest.approx(10.0)
    assert estimate(workload(load_s=0.0), 100, 5).limit == "too few groups"


@pytest.mark.parametrize(
    ("changes", "limit", "wall_s"),
    [
        ({"decode_s": 1.6}, "decoding", 60 + 36_000 / 5),  # 8 cores prepare 5 a second
        ({"mb_per_group": 500.0}, "network", 60 + 36_000 / 2),
        ({"load_s": 7200.0}, "loading", 7200 + 3600),
    ],
)
def test_the_slowest_step_is_the_limit(changes: dict[str, float], limit: str, wall_s: float) -> None:
    found = estimate(workload(**changes), 36_000, 1)
    assert (found.limit, found.wall_s) == (limit, pytest.approx(wall_s))


def test_shared_storage_serves_so_many_devices() -> None:
    assert workload(mb_per_group=1.0).useful_devices == pytest.approx(100.0)
    assert workload().useful_devices == math.inf
    beyond = estimate(workload(mb_per_group=1.0, load_s=0.0), 10**7, 200)
    assert (beyond.limit, beyond.wall_s) == ("network", pytest.approx(10_000.0))


def document(path: Path, **changes: object) -> Path:
    row = {"key": "e", "groups_per_s": 4.0, "tokens": 600, "error": None, **changes}
    runs = [{"n": 2, "n_groups": 1, "variants": []}, {"n": 4, "n_groups": 2, "variants": [{"key": "a"}, row]}]
    path.write_text(json.dumps({"model": "m", "device_name": "CPU", "runs": runs}))
    return path


def test_the_speed_comes_from_what_was_measured_scaled_by_tokens(yoj: Run, tmp_path: Path) -> None:
    bench = document(tmp_path / "bench.json")
    code, out, _ = yoj("plan-run", bench, "--json", "--groups", "1e3", "--at", "1,2")
    assert code == 0
    found = json.loads(out)
    assert found["workload"]["groups_per_s"] == 4.0
    assert [each["n_devices"] for each in found["estimates"]] == [1, 2]
    code, out, _ = yoj("plan-run", bench, "--tokens-per-group", 1200, "--groups", "1e9")
    assert "1 groups/s a device" in out
    assert "for 1,200 tokens a group instead of 300" in " ".join(out.split())  # however the lines are cut


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((), "nothing says how fast a device is"),
        (("--groups-per-s", "0"), "0.0 is not a positive number"),
        (("--groups-per-s", "1", "--at", "0"), "0 is not between 1 and"),
        (("--groups-per-s", "1", "--groups", "many"), "'many' is no list of numbers"),
        (
            ("--groups-per-s", "1", "--tokens-per-group", "5"),
            "needs the tokens of the groups that were measured",
        ),
        (("nowhere.json",), "nowhere.json: cannot be read"),
    ],
)
def test_what_cannot_be_planned_is_refused(yoj: Run, arguments: tuple[str, ...], what: str) -> None:
    code, out, err = yoj("plan-run", *arguments)
    assert (code, out, what in err) == (2, "", True), err


@pytest.mark.parametrize("change", [{"key": "x"}, {"tokens": None}, {"groups_per_s": "fast"}])
def test_another_document_is_refused(yoj: Run, tmp_path: Path, change: dict[str, object]) -> None:
    code, _, err = yoj("plan-run", document(tmp_path / "bench.json", **change))
    assert (code, "is not what `yoj bench-speed --json` writes" in err) == (2, True)
    code, _, err = yoj("plan-run", document(tmp_path / "bench.json", error="out of memory"))
    assert (code, "did not fit: out of memory" in err) == (2, True)
