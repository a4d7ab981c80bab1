"""The wheel, installed into an environment of its own far from the checkout: a new project, its pipeline, and a model in use."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import preloaded
import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow

TINY = (
    "experiment=shapes",
    "data.source.num_images=24",
    "data.source.size=48",
    "trainer.max_epochs=1",
    "trainer.batch_size=4",
    "augment=none",
)

USE = """
import sys, numpy as np, seg
assert "/site-packages/seg/" in seg.__file__, seg.__file__
found = seg.load(sys.argv[1]).predict(np.zeros((48, 48, 3), np.uint8))
assert found.semantic.shape == (48, 48), found
import hydra.core.global_hydra as hydra
assert not hydra.GlobalHydra.instance().is_initialized()
from seg.cli import main
sys.argv = ["seg", "predict", *sys.argv[1:], "--out", "found"]
main()
"""
"""A model in a program of one's own, then as the command has it."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """Runs commands of an environment that holds the wheel, and sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    subprocess.run(["git", "clone", "-q", ROOT, source], check=True)
    venv.create(folder / "env", with_pip=False)
    packages = next((folder / "env").glob("lib*/python*/site-packages"))
    # a plain line adds the folder and reads no .pth file in it, such as that of an editable install
    libraries = next(p for p in sys.path if p.endswith("site-packages"))
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", "--no-deps", "--no-build-isolation", "--target", packages, source], check=True)
    return Run(folder, packages)


class Run:
    def __init__(self, folder: Path, packages: Path) -> None:
        self.folder, self.packages = folder, packages
        hidden = ("PYTHONPATH", "SEG_SCRATCH", "VIRTUAL_ENV")
        self.env = {k: v for k, v in os.environ.items() if k not in hidden} | {"OMP_NUM_THREADS": "1"}
        self.env |= {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def __call__(self, *words: str, cwd: Path) -> str:
        """By the environment's own interpreter."""
        return self._said(self.folder / "env/bin/python", words, cwd, {})

    def dvc(self, *words: str, cwd: Path) -> str:
        """With the libraries imported beforehand, and `seg` of the environment: see preloaded.py."""
        path = f"{preloaded.python().parent}{os.pathsep}{os.environ['PATH']}"
        return self._said(preloaded.python(), ("-m", "dvc", *words), cwd, {"PATH": path, "PYTHONPATH": str(self.packages)})

    def _said(self, python: Path, words: tuple[str, ...], cwd: Path, more: dict[str, str]) -> str:
        done = subprocess.run([python, *words], cwd=cwd, env=self.env | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def test_a_project_of_the_installed_package(run: Run) -> None:
    home = run.folder / "home"
    home.mkdir()
    assert "a new project" in run("-m", "seg", "new", "cells", cwd=home)
    project = home / "cells"
    settings = [word for override in TINY for word in ("-S", override)]
    run.dvc("exp", "run", "-q", *settings, cwd=project)
    assert (project / "artifacts/evaluate/report.html").is_file()
    again = run.dvc("repro", cwd=project)
    assert again.count("Running stage") == 1, "configure, which looks at the installed package"
    model = project / "artifacts/train/best.ckpt"
    (run.folder / "elsewhere").mkdir()
    run("-c", USE, str(model), str(project / "data/prepared/test/images"), cwd=run.folder / "elsewhere")
    assert list((run.folder / "elsewhere/found/classes").iterdir())


def test_an_upgrade_runs_what_it_changed_again(run: Run) -> None:
    project = run.folder / "home/cells"
    module = run.packages / "seg/stages/evaluate.py"
    module.write_text(module.read_text() + "\n")
    again = run.dvc("repro", cwd=project)
    assert "the code of evaluate, review is another, so these stages run again" in again
    assert again.count("Running stage") == 2, again
