"""Evaluations by name: in folders, and in the revisions and experiments of a project that DVC keeps."""

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import tree

from seg.compare.runs import EVALUATION, FoundRun, find_run
from seg.core.errors import DataError
from seg.evaluation.record import Run, write_run

OTHER = "artifacts/out_of_fold"
Find = Callable[[str], FoundRun]


@pytest.fixture(scope="module", autouse=True)
def _no_log() -> Iterator[None]:
    """DVC logs to the output that was there when it was first imported, which may be that of another test, and closed."""
    import dvc.logger

    logger = logging.getLogger(dvc.logger.__name__.partition(".")[0])
    handlers, logger.handlers = logger.handlers, [logging.NullHandler()]
    yield
    logger.handlers = handlers


def write(folder: Path, epoch: int, pictures: int = 2) -> None:
    """An evaluation whose epoch tells it apart; its predictions are no pictures, but nobody looks."""
    shutil.rmtree(folder / "predictions", ignore_errors=True)
    (folder / "predictions/sub").mkdir(parents=True)
    write_run(folder / "evaluation.json", Run("semantic", "miou", "shapes", "0" * 64, "test", ["a", "b"], epoch, {}))
    for number in range(pictures):
        (folder / f"predictions/sub/{number}.png").write_text(f"{epoch} {number}")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two commits, a branch, a tag and two experiments, of epochs 1, 2, 1, 1 and 3; the workspace is of epoch 4."""
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("kept")
    git(folder, "init", "-q", "-b", "main")
    with Repo.init(str(folder)) as repo:
        git(folder, "commit", "-qm", "empty")
        git(folder, "tag", "before")
        for epoch in (1, 2, 3):
            for place, more in ((EVALUATION, 0), (OTHER, 10)):
                write(folder / place, epoch + more)
                repo.add([str(folder / place / name) for name in ("evaluation.json", "predictions")])
            git(folder, "add", "-A")
            git(folder, "commit", "-qm", f"epoch {epoch}")
            if epoch == 1:
                git(folder, "branch", "wide")
                git(folder, "tag", "v1")
    head = git(folder, "rev-parse", "HEAD")
    git(folder, "reset", "-q", "--hard", "HEAD~1")  # what is left of it is the experiment
    base = git(folder, "rev-parse", "HEAD")
    for baseline, name in ((base, "tepid-mona"), (base, "twice"), ("a" * 40, "double"), ("b" * 40, "double")):
        git(folder, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", head)
    write(folder / EVALUATION, 4)
    write(folder / OTHER, 14)
    return folder


@pytest.fixture
def find(kept: Path, tmp_path: Path) -> Find:
    def run(name: str) -> FoundRun:
        (scratch := tmp_path / "scratch").mkdir()
        return find_run(name, kept, scratch)

    return run


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        *[("workspace", 4), ("wide", 1), ("v1", 1), ("main", 2), ("HEAD", 2), ("HEAD~1", 1), ("tepid-mona", 3), ("twice", 3)],
        *[(f"workspace:{OTHER}", 14), (f"wide:{OTHER}", 11), (f"tepid-mona:{OTHER}", 13)],
    ],
)
def test_a_revision_or_experiment_is_fetched_whole(kept: Path, find: Find, tmp_path: Path, name: str, epoch: int) -> None:
    found = find(name)
    assert (found.name, found.run.epoch) == (name, epoch)
    assert tree(found.folder / "predictions") == {f"sub/{n}.png": f"{epoch} {n}".encode() for n in range(2)}
    assert found.folder == {"workspace": kept / EVALUATION, f"workspace:{OTHER}": kept / OTHER}.get(name, tmp_path / "scratch")


def test_a_commit_is_found_by_its_beginning(kept: Path, find: Find) -> None:
    assert find(git(kept, "rev-parse", "--short=8", "v1")).run.epoch == 1


def test_a_folder_is_an_evaluation_or_holds_one_and_comes_before_a_revision(kept: Path, find: Find, tmp_path: Path) -> None:
    write(tmp_path / "here", 9)
    write(tmp_path / "project" / EVALUATION, 8)
    for name, epoch in ((str(tmp_path / "here"), 9), (str(tmp_path / "project"), 8)):
        found = find(name)
        shutil.rmtree(tmp_path / "scratch")
        assert (found.name, found.run.epoch) == (name, epoch)
    write(kept / "wide", 7)
    assert find("wide").run.epoch == 7
    shutil.rmtree(kept / "wide")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "tepid-mono",
            "tepid-mono: no folder with evaluation.json, no revision and no experiment; did you mean 'tepid-mona'? (there are: ",
        ),
        ("wdie", "did you mean 'wide'? (there are: before, double, main, tepid-mona, twice, v1, wide, workspace)"),
        (
            "data",
            "data: no folder with evaluation.json, no revision and no experiment; the folder data holds no evaluation.json; there are:",
        ),
        ("before", "before: this revision keeps no artifacts/evaluate/evaluation.json; evaluate it again"),
        ("double", "double: several experiments have this name; give the revision that `dvc exp show` prints"),
    ],
)
def test_a_name_of_nothing_is_one_line(kept: Path, find: Find, name: str, said: str) -> None:
    (kept / "data").mkdir(exist_ok=True)
    with pytest.raises(DataError) as error:
        find(name)
    assert str(error.value).startswith(name)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost", ["all", "listing", "one"])
def test_what_is_not_in_the_cache_is_said(kept: Path, tmp_path: Path, lost: str) -> None:
    copy, scratch = tmp_path / "copy", tmp_path / "scratch"
    shutil.copytree(kept, copy)
    scratch.mkdir()
    files = [path for path in (copy / ".dvc/cache").rglob("*") if path.is_file()]
    chosen = {"all": files, "listing": [p for p in files if p.suffix == ".dir"], "one": [p for p in files if p.read_bytes() == b"2 1"]}[
        lost
    ]
    assert chosen
    for path in chosen:
        path.unlink()
    shutil.rmtree(copy / ".dvc/tmp", ignore_errors=True)
    with pytest.raises(DataError, match=r"^main: its artifacts/evaluate is not in DVC's cache \(.*\); fetch it with `dvc fetch`") as error:
        find_run("main", copy, scratch)
    assert "\n" not in str(error.value)


def test_outside_of_dvc_and_git_folders_alone_are_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^main: no folder with evaluation.json, and .* is no DVC project"):
        find_run("main", tmp_path, tmp_path)
    from dvc.repo import Repo

    Repo.init(str(tmp_path), no_scm=True).close()
    with pytest.raises(DataError, match=r"^main: no folder with evaluation.json, and .* is not kept in git"):
        find_run("main", tmp_path, tmp_path)


def test_a_project_may_lie_in_a_subfolder_of_its_repository(tmp_path: Path) -> None:
    from dvc.repo import Repo

    project = tmp_path / "repository/deep/project"
    project.mkdir(parents=True)
    git(tmp_path / "repository", "init", "-q", "-b", "main")
    with Repo.init(str(project), subdir=True) as repo:
        write(project / EVALUATION, 5)
        repo.add([str(project / EVALUATION / name) for name in ("evaluation.json", "predictions")])
        git(project, "add", "-A")
        git(project, "commit", "-qm", "epoch 5")
    write(project / EVALUATION, 6)
    (scratch := tmp_path / "scratch").mkdir()
    assert find_run("main", project, scratch).run.epoch == 5
    assert (scratch / "predictions/sub/1.png").read_text() == "5 1"
