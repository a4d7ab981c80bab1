"""`seg clean`, and what a training says of a state that lies beside its own."""

import fcntl
from pathlib import Path

import pytest
from typed import typed

from seg.core.scratch import Scratch


def left(root: Path, name: str, epochs: int) -> Path:
    """The state of a training that was interrupted."""
    scratch = Scratch(root, name)
    with scratch as folder:
        scratch.note({"trainer": {"max_epochs": epochs}})
        (folder / "last.ckpt").write_bytes(b"12")
    return folder


def test_a_fresh_start_says_what_lies_beside_it(tmp_path: Path) -> None:
    before = left(tmp_path, "a", 50)
    scratch = Scratch(tmp_path, "b")
    with scratch:
        (line,) = scratch.note({"trainer": {"max_epochs": 60}})
    told = "with trainer.max_epochs=50, here 60; `seg clean` lists what is left"
    assert line == f"starts anew: {before} holds an interrupted training {told}"
    again = Scratch(tmp_path, "a")
    with again:
        assert again.note({"trainer": {"max_epochs": 50}}) == [], "it goes on"


def test_what_is_left_is_listed_and_removed_but_not_what_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / ".scratch/train"
    old, running = left(root, "old", 1), left(root, "running", 2)
    (tmp_path / "data/prepared.partial/train").mkdir(parents=True)
    (tmp_path / "artifacts/train").mkdir(parents=True)
    (tmp_path / "artifacts/train/best.ckpt.partial").touch()
    (tmp_path / "artifacts/train/best.ckpt").touch()
    with open(root / "running.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        typed("clean", tmp_path, [])
        assert old.exists()
        listed = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
        assert listed == [".scratch/train/old", "data/prepared.partial", "artifacts/train/best.ckpt.partial", "to remove them"]
        typed("clean", tmp_path, ["--remove"])
        capsys.readouterr()
        typed("clean", tmp_path, [])
        assert capsys.readouterr().out == "nothing is left over\n"
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {f".scratch/train/running/{name}" for name in ("last.ckpt", "settings.json")} | {
        ".scratch/train/running.lock",
        "artifacts/train/best.ckpt",
    }
    assert running.exists()
