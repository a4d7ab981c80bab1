"""A new project: what it holds, what it is refused for, and what an upgrade of the package says."""

import subprocess
from pathlib import Path

import pytest
import yaml

from seg.configure import template
from seg.core.errors import InputError
from seg.stages import configure, new


def make(folder: Path) -> None:
    new.run(folder.parent, new.Arguments(folder))


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_project_holds_settings_and_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "cells")
    folder = tmp_path / "cells"
    names = {".dvc", ".dvcignore", ".git", ".gitignore", "README.md", "conf", "data", "dvc.yaml", "params.yaml"}
    assert {p.name for p in folder.iterdir()} == names
    assert yaml.safe_load((folder / "params.yaml").read_text())["code"] == template.digests()
    assert (folder / "data/raw").is_symlink()
    assert "cells: a new project; now: cd" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"cells"}


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already, and not empty"):
        make(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_repository_is_filled_and_keeps_its_history(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "before")
    make(folder)
    assert "before" in git(folder, "log", "--format=%s")
    assert (folder / "dvc.yaml").is_file()


def test_within_a_repository_no_other_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(tmp_path, "init", "-q")
    make(tmp_path / "cells")
    assert not (tmp_path / "cells/.git").exists()
    assert "lies in a git repository; commit it there" in capsys.readouterr().out


def test_another_version_of_the_package_names_the_stages_that_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "cells")
    present = template.digests()
    monkeypatch.setattr(configure, "digests", lambda: present | {"version": "9.9", "train": "0" * 16})
    capsys.readouterr()
    configure.run(tmp_path / "cells", configure.Arguments())
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"seg {present['version']} -> 9.9: the code of train is another, so these stages run again"
    configure.run(tmp_path / "cells", configure.Arguments())
    assert capsys.readouterr().out == "configured with the defaults of conf/\n"
