"""What a colleague gets by `git clone` and `dvc pull`, from a folder and from a server that speaks S3: every output; nothing runs."""

import json
from pathlib import Path

import pytest
from project import Project
from s3 import KEYS, served
from tiny import tree

pytestmark = pytest.mark.slow
server = pytest.fixture(served)

OUTPUTS = ("data/prepared", "data/augmented", "artifacts/train", "artifacts/evaluate")


@pytest.fixture
def mine(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A project whose pipeline has run, and an empty repository that it is pushed to."""
    project = Project.ran(tmp_path_factory, tmp_path / "mine")
    project.run("git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    return project


def shared(mine: Project, folder: Path) -> Project:
    """Push everything; a colleague's clone, which has pulled it."""
    mine.commit("a place to share")
    mine.run("git", "push", "-q", "origin", "HEAD:main")
    mine.dvc("push")
    mine.run("git", "clone", "-q", str(folder / "origin.git"), str(folder / "theirs"))
    theirs = Project(folder / "theirs", mine.environment)
    assert not (theirs.folder / "artifacts/train/best.ckpt").exists()
    theirs.dvc("pull")
    return theirs


def same_outputs(mine: Project, theirs: Project) -> None:
    for name in OUTPUTS:
        own = {file: data for file, data in tree(mine.folder / name).items() if not file.endswith((".log", ".gitignore"))}
        pulled = {file: data for file, data in tree(theirs.folder / name).items() if not file.endswith(".gitignore")}
        assert pulled == own
        assert own, name
    assert theirs.repro("--allow-missing") == [], "raw data and weights do not travel"
    assert set(theirs.repro()) <= {"configure"}, "which looks for raw data, here drawn ones"
    assert theirs.repro() == []


def test_a_colleague_pulls_from_a_folder(mine: Project, tmp_path: Path) -> None:
    """Also an experiment, which has no commit of its own."""
    mine.dvc("remote", "add", "-d", "shared", str(tmp_path / "remote"))
    theirs = shared(mine, tmp_path)
    same_outputs(mine, theirs)
    assert theirs.run("git", "status", "--porcelain").stdout == ""

    mine.dvc("exp", "run", "-n", "fewer", "-S", "evaluate.num_overlays=1")
    mine.dvc("exp", "push", "origin", "fewer")
    assert "fewer" in theirs.dvc("exp", "list", "origin").stdout
    theirs.dvc("exp", "pull", "origin", "fewer")
    theirs.dvc("exp", "apply", "fewer")
    assert json.loads((theirs.folder / "artifacts/evaluate/metrics.json").read_text())["test"]
    same_outputs(mine, theirs)


def test_a_colleague_pulls_from_a_server_that_speaks_s3(mine: Project, tmp_path: Path, server: str) -> None:
    """Its address is in the repository; the credentials are each user's own, and without them nothing is had."""
    mine.environment |= KEYS
    mine.dvc("remote", "add", "-d", "shared", "s3://shared/project")
    mine.dvc("remote", "modify", "shared", "endpointurl", server)
    same_outputs(mine, shared(mine, tmp_path))
    config = (tmp_path / "theirs/.dvc/config").read_text()
    assert server in config
    assert not any(key in config for key in ("tester", "secret"))
