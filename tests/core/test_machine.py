"""What a machine or a container has left, read from control groups of versions 1 and 2 that the tests write as files."""

import os
from pathlib import Path

import psutil
import pytest

from seg.core import environment

GIB = 2**30


def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, files: dict[str, object]) -> None:
    """The control groups of this process."""
    for name, value in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (tmp_path / "of_process").write_text(membership)
    monkeypatch.setattr(environment, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(environment, "_OF_PROCESS", tmp_path / "of_process")


V1, V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


@pytest.mark.parametrize(
    ("membership", "folder", "names"),
    [
        ("0::/\n", ".", V2),  # in a container, whose own group is the root
        ("0::/user/job\n", "user/job", V2),
        ("0::/user/job/step\n", "user", V2),  # the limit is that of a group above
        ("9:memory:/docker/4f\n4:cpu,cpuacct:/\n0::/x\n", "memory", V1),  # in a container: it sees its own group as the root
        ("9:memory:/job\n", "memory/job", V1),
        ("9:cpu,memory:/\n", "memory", V1),
    ],
)
@pytest.mark.parametrize("idle", [None, 0.25])
def test_a_container_that_uses_1_5_of_2_gb_has_half_a_gb_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, folder: str, names: tuple[str, str], idle: float | None
) -> None:
    """And what files hold that nobody used lately."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 20 * GIB}))
    files: dict[str, object] = {f"{folder}/{names[0]}": 2 * GIB, f"{folder}/{names[1]}": int(1.5 * GIB)}
    if idle is not None:
        counted = "inactive_file" if names is V2 else "total_inactive_file"
        files[f"{folder}/memory.stat"] = f"anon 400\n{counted} {int(idle * GIB)}"
    groups(tmp_path, monkeypatch, membership, files)
    assert environment.available_memory() == (0.5 + (idle or 0)) * GIB


NO_LIMIT = {"memory/memory.limit_in_bytes": (1 << 63) - 4096, "memory/memory.usage_in_bytes": 1}


@pytest.mark.parametrize("files", [{}, {"memory.max": "max", "memory.current": 5}, NO_LIMIT])
def test_without_a_limit_the_system_says_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, object]) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 20 * GIB}))
    groups(tmp_path, monkeypatch, "0::/\n", files)
    assert environment.available_memory() == 20 * GIB
    assert environment.processor_quota() is None


def test_processors_are_granted_by_the_tightest_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups(tmp_path, monkeypatch, "0::/a/b\n", {"a/b/cpu.max": "250000 100000", "a/cpu.max": "max 100000"})
    assert environment.processor_quota() == 2.5
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert environment.num_cores() == 2
    groups(tmp_path, monkeypatch, "4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": 150000, "cpu/x/cpu.cfs_period_us": 100000})
    assert environment.processor_quota() == 1.5
    groups(tmp_path, monkeypatch, "4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": -1})
    assert environment.processor_quota() is None
