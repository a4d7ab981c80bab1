"""The scratch folder of a training: where it lies, what names it, and that one training has it at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

from seg.core.errors import InputError
from seg.core.scratch import Scratch, fingerprint, scratch_root


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEG_SCRATCH", raising=False)


def test_the_root_lies_in_the_project(tmp_path: Path) -> None:
    assert scratch_root(tmp_path) == tmp_path / ".scratch"


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/temp/tmpabc", ".dvc/tmp/exps/standalone/tmpabc", ".dvc/tmp/exps/tmpabc/sub/project"])
def test_a_queued_experiments_copy_uses_the_original_projects(tmp_path: Path, copy: str) -> None:
    (tmp_path / copy).mkdir(parents=True)
    assert scratch_root(tmp_path / copy) == tmp_path / ".scratch"


def test_the_variable_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_SCRATCH", str(tmp_path / "fast"))
    assert scratch_root(tmp_path / "project/.dvc/tmp/exps/temp/tmpabc") == tmp_path / "fast"
    monkeypatch.setenv("SEG_SCRATCH", "~/fast")
    assert scratch_root(tmp_path) == Path.home() / "fast"


def test_a_fingerprint_changes_with_settings_and_inputs_alone() -> None:
    settings = {"model": {"name": "unet", "stride": 32}, "seed": 0}
    name = fingerprint(settings, ["a", "b"])
    assert fingerprint({"seed": 0, "model": {"stride": 32, "name": "unet"}}, ["a", "b"]) == name, "the order of keys says nothing"
    assert len(name) == 16
    others = [
        fingerprint(settings | {"seed": 1}, ["a", "b"]),
        fingerprint(settings | {"model": {"name": "unet", "stride": 16}}, ["a", "b"]),
        fingerprint(settings, ["a", "c"]),
        fingerprint(settings, ["b", "a"]),
        fingerprint(settings, ["ab"]),
    ]
    assert len({name, *others}) == 6


def test_a_fingerprint_changes_with_our_code_and_not_with_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint({}, [])
    for name, ours in [("seg.extra", True), ("segment.extra", False), ("other", False)]:
        module = ModuleType(name)
        module.__file__ = str(tmp_path / f"{name}.py")
        Path(module.__file__).write_text("a = 1\n")
        monkeypatch.setitem(sys.modules, name, module)
        loaded = fingerprint({}, [])
        Path(module.__file__).write_text("a = 2\n")
        edited = fingerprint({}, [])
        assert len({before, loaded, edited}) == (3 if ours else 1), name
        monkeypatch.delitem(sys.modules, name)


HOLD = """
import sys, time
from pathlib import Path
from seg.core.scratch import Scratch
with Scratch(Path(sys.argv[1]), "train") as folder:
    (folder / "last.ckpt").write_text("half")
    print("held", flush=True)
    time.sleep(120)
"""


def test_one_training_at_a_time_and_a_killed_one_leaves_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.core.scratch.WAIT", 0.6)
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"train: a training with the same settings is still running \(it holds train\.lock\)"):
            Scratch(tmp_path, "train").__enter__()
        with Scratch(tmp_path, "another"):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    with Scratch(tmp_path, "train") as folder:
        assert (folder / "last.ckpt").read_text() == "half"


def test_the_lock_excludes_a_second_holder_in_the_same_process_and_ends_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seg.core.scratch.WAIT", 0.6)
    with Scratch(tmp_path, "train") as folder, pytest.raises(InputError, match="still running"):
        Scratch(tmp_path, "train").__enter__()
    with Scratch(tmp_path, "train") as again:
        assert again == folder == tmp_path / "train"


def test_a_finished_training_leaves_nothing(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "train")
    with scratch as folder:
        (folder / "last.ckpt").write_text("done")
        scratch.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_training_leaves_its_folder(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, "train")
    (scratch.__enter__() / "last.ckpt").write_text("half")
    scratch.__exit__(KeyError, KeyError(), None)
    assert (tmp_path / "train/last.ckpt").read_text() == "half"


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/last.ckpt").write_text("good")
    (tmp_path / "train/last.ckpt.partial").write_text("ha")
    with Scratch(tmp_path, "train") as folder:
        assert [path.name for path in folder.iterdir()] == ["last.ckpt"]


def test_a_folder_that_was_killed_while_it_was_removed_is_none_to_go_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = Scratch(tmp_path, "train")
    (scratch.__enter__() / "last.ckpt").write_text("done")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    scratch.clear()
    scratch.__exit__()
    monkeypatch.undo()
    with Scratch(tmp_path, "train") as folder:
        assert list(folder.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train.lock"]


def test_loading_processes_do_not_hold_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks of a killed training live on for seconds."""
    monkeypatch.setattr("seg.core.scratch.WAIT", 0.0)
    holder = os.fork()
    if holder == 0:
        Scratch(tmp_path, "train").__enter__()
        if os.fork() == 0:
            (tmp_path / "loads").write_text(str(os.getpid()))
            signal.pause()
        while not (tmp_path / "loads").exists():
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(holder, 0)
    try:
        Scratch(tmp_path, "train").__enter__()
    finally:
        os.kill(int((tmp_path / "loads").read_text()), signal.SIGKILL)
