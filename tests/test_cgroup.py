"""Memory that is free to this process in a container: the limit's, where that is less than the machine's."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from yoj_cli.model import device
from yoj_cli.model.cgroup import unused_bytes_of_cgroups

GB = 10**9
NAMES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
NO_LIMIT = {1: "9223372036854771712", 2: "max"}


class Groups:
    """A fake of `/proc/self/cgroup` and `/sys/fs/cgroup`."""

    def __init__(self, root: Path, version: int) -> None:
        self.version, self.process = version, root / "self"
        self.mount = root / "cgroup"
        self.tree = self.mount / "memory" if version == 1 else self.mount
        self.tree.mkdir(parents=True)

    def join(self, path: str) -> None:
        lines = [f"4:cpu,memory:{path}", "3:cpuset:/other", "0::/"] if self.version == 1 else [f"0::{path}"]
        self.process.write_text("\n".join(lines) + "\n")

    def add(self, path: str, limit: int | str, used: int, files: int = 0) -> None:
        folder = self.tree / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        of_limit, of_usage, of_files = NAMES[self.version]
        (folder / of_limit).write_text(f"{limit}\n")
        (folder / of_usage).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon {used - files}\n{of_files} {files}\n")

    def unused(self) -> int | None:
        return unused_bytes_of_cgroups(self.process, self.mount)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def groups(request, tmp_path):
    return Groups(tmp_path, request.param)


def test_the_least_of_all_levels_is_left(groups):
    groups.join("/pod/own")
    groups.add("/pod/own", 8 * GB, 1 * GB)
    groups.add("/pod", 4 * GB, 3 * GB)
    groups.add("/", NO_LIMIT[groups.version], 20 * GB)
    assert groups.unused() == GB


def test_files_that_were_read_count_as_free(groups):
    groups.join("/own")
    groups.add("/own", 8 * GB, 7 * GB, files=5 * GB)
    assert groups.unused() == 6 * GB


def test_a_path_of_the_host_leads_to_the_root_that_is_mounted_in_the_container(groups):
    groups.join("/docker/0123abcd")
    groups.add("/", 2 * GB, GB // 2)
    assert groups.unused() == 3 * GB // 2
    groups.join("/../outside")
    assert groups.unused() == 3 * GB // 2


def test_a_group_over_its_limit_has_nothing_left(groups):
    groups.join("/own")
    groups.add("/own", GB, 2 * GB)
    assert groups.unused() == 0


def test_without_limits_the_systems_figure_stands(groups, monkeypatch):
    groups.join("/own")
    groups.add("/own", NO_LIMIT[groups.version], GB)
    assert groups.unused() is None or groups.unused() > 10**18
    monkeypatch.setattr(device, "unused_bytes_of_cgroups", groups.unused)
    assert device.available_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_where_there_are_no_groups_there_is_no_limit(tmp_path):
    assert unused_bytes_of_cgroups(tmp_path / "none", tmp_path) is None


def test_the_smaller_of_both_is_free_to_this_process(groups, monkeypatch):
    groups.join("/own")
    groups.add("/own", 3 * 10**6, 10**6)
    monkeypatch.setattr(device, "unused_bytes_of_cgroups", groups.unused)
    assert device.available_bytes() == 2 * 10**6
