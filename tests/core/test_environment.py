"""What is set in the environment before torch is imported, and that a user's own settings win."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from seg.core.environment import SPIN_COUNT, num_cores, prepare_environment

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OPENCV_LOG_LEVEL", "NO_ALBUMENTATIONS_UPDATE")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing of ours is set; it comes back after the test."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    return monkeypatch


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python whose environment has nothing of ours."""
    env = {k: v for k, v in os.environ.items() if k not in NAMES} | environment
    return subprocess.run([sys.executable, "-c", code, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.usefixtures("bare")
def test_what_is_not_set_is_set() -> None:
    prepare_environment()
    assert {name: os.environ.get(name) for name in NAMES} == {
        "GOMP_SPINCOUNT": SPIN_COUNT,
        "OMP_WAIT_POLICY": None,
        "KMP_BLOCKTIME": "1",
        "OPENCV_LOG_LEVEL": "OFF",
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0")])
def test_a_users_own_setting_of_openmp_wins(bare: pytest.MonkeyPatch, name: str, value: str) -> None:
    bare.setenv(name, value)
    prepare_environment()
    assert {n: os.environ[n] for n in NAMES[:3] if n in os.environ} == {name: value}


def test_a_users_own_other_settings_win(bare: pytest.MonkeyPatch) -> None:
    bare.setenv("OPENCV_LOG_LEVEL", "WARN")
    bare.setenv("NO_ALBUMENTATIONS_UPDATE", "0")
    prepare_environment()
    assert (os.environ["OPENCV_LOG_LEVEL"], os.environ["NO_ALBUMENTATIONS_UPDATE"]) == ("WARN", "0")


CLI = """
import os, sys
from seg.cli import main
sys.argv = ["seg", "--help"]
main()
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"), "torch" in sys.modules)
"""


def test_the_command_line_sets_it_before_torch_is_imported() -> None:
    assert python(CLI).stdout.splitlines()[-1] == f"{SPIN_COUNT} None False"
    assert python(CLI, OMP_WAIT_POLICY="PASSIVE").stdout.splitlines()[-1] == "None PASSIVE False"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks into Linux's list of loaded libraries")
def test_torchs_openmp_takes_it() -> None:
    code = (
        "from seg.core.environment import prepare_environment as p; p(); import torch; print('libgomp' in open('/proc/self/maps').read())"
    )
    done = python(code, OMP_DISPLAY_ENV="VERBOSE")
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() != "True":
        pytest.skip("torch brings another OpenMP runtime")
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in done.stderr


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert num_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1
