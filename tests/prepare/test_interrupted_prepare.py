"""Preparing that is killed: what it leaves is never taken for whole, and the next run gives the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import preloaded
import pytest
from tiny import tree, write_folders

from seg.core.outputs import replaced_folder

RUN = """
import sys
from pathlib import Path
from tiny import folders, prepare_tiny
if __name__ == "__main__":
    print("go", flush=True)
    prepare_tiny(folders(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""
IMAGES, KILLS = 150, 4


def start(script: Path, raw: Path, out: Path) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    process = subprocess.Popen([str(preloaded.python()), str(script), str(raw), str(out)], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    return process


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    raw = write_folders(tmp_path / "raw", [f"scene{n:03d}" for n in range(IMAGES)])
    script = tmp_path / "run.py"
    script.write_text(RUN)
    process = start(script, raw, tmp_path / "whole")
    began = time.monotonic()  # the first of all starts is slower
    assert process.wait() == 0
    span = time.monotonic() - began
    whole = tree(tmp_path / "whole")
    out, moments = tmp_path / "out", np.random.default_rng(0).uniform(0.2, 1.0, KILLS)
    cut = 0
    for number, moment in enumerate(moments):
        process = start(script, raw, out)
        time.sleep(moment * span)
        process.send_signal(signal.SIGKILL)
        cut += process.wait() == -signal.SIGKILL
        left = Path(f"{out}.partial")
        if left.exists():  # workers end with the process that started them, and write no more
            time.sleep(0.5)
            before = set(tree(left))
            time.sleep(0.5)
            assert set(tree(left)) == before
        if (out / "dataset.json").exists():
            assert tree(out) == whole, f"kill {number}"
    assert cut >= KILLS // 2, "most were cut off in the middle"
    assert start(script, raw, out).wait() == 0
    assert tree(out) == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw", "run.py", "whole"]


@pytest.mark.parametrize("dies_at", ["rename of the former", "rename of the new", "removal"])
def test_killed_while_the_folder_is_replaced(tmp_path: Path, dies_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is the former folder, whole, or the new one, whole, or none."""
    out = tmp_path / "out"
    for name in ("first", "second"):
        (out / name).mkdir(parents=True)
    (out / "first" / "a").write_text("former")
    (out / "dataset.json").write_text("former")
    calls: list[str] = []

    class Killed(BaseException):
        pass

    def dying(name: str, act):
        def call(*arguments, **options):
            calls.append(name)
            reached = {
                "rename of the former": ["rename"],
                "rename of the new": ["rename", "rename"],
                "removal": ["rename", "rename", "remove"],
            }
            if calls == reached[dies_at]:
                raise Killed
            return act(*arguments, **options)

        return call

    folder = replaced_folder(out, ("first", "second", "dataset.json"))
    partial = folder.__enter__()
    (partial / "dataset.json").write_text("new")
    (partial / "b").write_text("new")
    monkeypatch.setattr("os.replace", dying("rename", os.replace))
    monkeypatch.setattr("shutil.rmtree", dying("remove", shutil.rmtree))
    with pytest.raises(Killed):
        folder.__exit__(None, None, None)
    monkeypatch.undo()
    found = tree(out) if out.exists() else None
    former = {"first/a": b"former", "dataset.json": b"former"}
    assert found == {"rename of the former": former, "rename of the new": None, "removal": {"b": b"new", "dataset.json": b"new"}}[dies_at]
    with replaced_folder(out, ("first", "second", "b", "dataset.json")) as again:
        (again / "dataset.json").write_text("again")
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    assert tree(out) == {"dataset.json": b"again"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prepare", "augment"])
def test_a_disk_that_becomes_full_leaves_nothing_and_the_same_command_goes_on(stage: str) -> None:
    """A short form of what benchmarks/full_disk.py does for every command."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode:
        pytest.skip("this machine lets no user mount")
    script = Path(__file__).parents[2] / "benchmarks/full_disk.py"
    done = subprocess.run([sys.executable, script, "--trials", "3", "--only", stage], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 trials ended in one line, left nothing half-written and went on" in done.stdout
