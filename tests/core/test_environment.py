"""What is set in the environment before torch is imported, and that a user's own settings win."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from seg.core.environment import SPIN_COUNT, in_first_process, num_cores, prepare_command, prepare_environment, processes_started

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
    return subprocess.run([sys.executable, "-c", code, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=600)


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
    for share, cores in (("2", 2), ("8", 3), ("0", 1), ("all", 3)):
        monkeypatch.setenv("SEG_CORES", share)
        assert num_cores() == cores, share
    monkeypatch.delenv("SEG_CORES")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


@pytest.mark.parametrize(
    ("variables", "first", "started"),
    [
        ({"RANK": "", "WORLD_SIZE": "", "TORCHELASTIC_RUN_ID": ""}, True, 1),
        ({"RANK": "captain", "LOCAL_RANK": " "}, True, 1),
        ({"LOCAL_RANK": "1"}, False, 1),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, True, 1),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, True, 1),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0"}, False, 8),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0"}, True, 2),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "bash"}, True, 1),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1"}, False, 2),
    ],
    ids=str,
)
def test_who_started_this_process(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], first: bool, started: int) -> None:
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (in_first_process(), processes_started()) == (first, started)


def test_a_command_takes_back_what_it_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"RANK": "", "WORLD_SIZE": "x", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "", "MPLBACKEND": "module://nowhere.inline"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    prepare_command()
    assert {name: os.environ.get(name) for name in given} == dict.fromkeys(given) | {"LOCAL_RANK": "1", "MPLBACKEND": "agg"}


def test_text_files_are_utf_8_in_every_locale() -> None:
    """Each open, read_text and write_text says so, or is of bytes."""
    for path in (ROOT / "seg").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name in ("read_text", "write_text") or (name == "open" and isinstance(call.func, ast.Name)):
                modes = [a.value for a in call.args[1:] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                named = any(k.arg == "encoding" for k in call.keywords) or (name == "read_text" and call.args)
                assert named or (name == "open" and "b" in "".join(modes)), f"{path}:{call.lineno}"
