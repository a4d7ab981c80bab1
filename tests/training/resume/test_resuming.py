"""A training that ends at an exact moment goes on there, and gives the bytes of one that did not."""

import os
import pickle
import signal
import subprocess
from pathlib import Path
from typing import Any

import killed
import numpy as np
import preloaded
import pytest
import torch
from conftest import ROOT, MakeConfig
from killed import Moment

from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.sources.shapes import Shapes
from seg.stages import augment
from seg.training.module import step_seed
from seg.training.resume.checkpoints import ResumePoint

STEPS, EPOCHS = 4, 3
NETWORK = {"_target_": "seg.models.unet.UNet", "depth": 1, "width": 2, "padding": "same", "batch_norm": True, "dropout": 0.5}
SETTINGS = ["loss=ce_dice", "trainer.accelerator=cpu", "trainer.precision=32-true", f"trainer.max_epochs={EPOCHS}"]
FILES = ("best.ckpt", "last.ckpt", "history.csv")
EVERY_STEP = "runtime.save_minutes=0"
AT_EPOCHS = "runtime.save_minutes=null"


@pytest.fixture(scope="module")
def configure(prepared: Path, tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Any:
    """(*overrides) -> the configuration of a training of 3 epochs with 4 steps, dropout and a loss of two terms."""
    augmented = tmp_path_factory.mktemp("augmented")
    paths = [f"paths.prepare={prepared}", f"paths.augment={augmented}", "runtime.workers=0", "runtime.progress=lines"]

    def make(*overrides: str) -> Config:
        return make_config(*SETTINGS, *paths, "trainer.batch_size=2", *overrides, network=NETWORK)

    augment.run(make(), augmented)
    return make


@pytest.fixture(scope="module")
def unbroken(configure: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of a training that ran at once, and kept nothing within its epochs."""
    return outputs_of(configure(AT_EPOCHS), tmp_path_factory.mktemp("unbroken"))


def outputs_of(config: Config, folder: Path) -> dict[str, bytes]:
    assert killed.train(config, folder) == 0, said(folder)
    assert list((folder / "scratch/train").iterdir()) == [], "the scratch folder is removed on success"
    return files_of(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(FILES)
    return {name: (folder / "out" / name).read_bytes() for name in FILES}


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text()


def kept(folder: Path) -> dict[str, bytes]:
    """The checkpoints in the scratch folder."""
    return {path.name: path.read_bytes() for path in (folder / "scratch/train").glob("*/*.ckpt")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "goes_on"),
    [
        ("step", 7, "epoch 2, after step 2"),
        ("validation step", 1, "epoch 1, after step 4"),
        ("validation's end", 3, "epoch 3, after step 4"),
        ("file being written", 3, "epoch 1, after step 2"),
        ("file being put in place", 3, "epoch 1, after step 2"),
        ("outputs", 1, "epoch 4, after step 0"),
        ("outputs being put in place", 2, "epoch 4, after step 0"),
        ("outputs written", 1, "epoch 4, after step 0"),
    ],
)
def test_killed_and_resumed(unbroken: dict[str, bytes], configure: Any, tmp_path: Path, name: str, count: int, goes_on: str) -> None:
    assert killed.train(configure(EVERY_STEP), tmp_path, Moment(name, count)) == -signal.SIGKILL
    assert outputs_of(configure(EVERY_STEP), tmp_path) == unbroken
    assert goes_on in said(tmp_path)


@pytest.mark.slow
def test_killed_at_the_end_of_an_epoch_without_validation(configure: Any, tmp_path: Path) -> None:
    """All its steps are done, and its figures are not yet kept."""
    config = configure(EVERY_STEP, "trainer.validate_every=2")
    assert killed.train(config, tmp_path / "killed", Moment("file being written", STEPS + 1)) == -signal.SIGKILL
    assert outputs_of(config, tmp_path / "killed") == outputs_of(config, tmp_path / "unbroken")
    assert f"epoch 1, after step {STEPS}" in said(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "goes_on"), [(3, "epoch 2, after step 2"), (7, "epoch 1, after step 5")])
def test_killed_where_passes_run_on_over_the_ends_of_epochs(configure: Any, tmp_path: Path, steps: int, goes_on: str) -> None:
    """An epoch ends before a pass of 4 steps does, or goes on into the next."""
    config = configure(EVERY_STEP, f"trainer.epoch_steps={steps}", "trainer.max_epochs=2")
    assert killed.train(config, tmp_path / "killed", Moment("step", 6)) == -signal.SIGKILL
    assert outputs_of(config, tmp_path / "killed") == outputs_of(config, tmp_path / "unbroken")
    assert goes_on in said(tmp_path / "killed")


@pytest.mark.slow
def test_killed_again_with_loading_processes(unbroken: dict[str, bytes], configure: Any, tmp_path: Path) -> None:
    """They draw batches before Lightning names the epoch."""
    config = configure(EVERY_STEP, "runtime.workers=2")
    assert killed.train(config, tmp_path, Moment("step", 3)) == -signal.SIGKILL
    assert killed.train(config, tmp_path, Moment("step", 6)) == -signal.SIGKILL
    assert outputs_of(config, tmp_path) == unbroken
    assert "epoch 2, after step 3" in said(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number", "code", "epoch", "step"),
    [("step", signal.SIGTERM, 143, 2, 2), ("step", signal.SIGINT, 130, 2, 2), ("validation step", signal.SIGTERM, 143, 2, 4)],
)
def test_a_signal_loses_nothing(
    unbroken: dict[str, bytes], configure: Any, tmp_path: Path, name: str, number: int, code: int, epoch: int, step: int
) -> None:
    moment = Moment(name, 6 if name == "step" else 2, number)
    assert killed.train(configure(AT_EPOCHS), tmp_path, moment) == code
    assert f"stopped in epoch {epoch}, after step {step} of {STEPS}; the same command goes on from there" in said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    assert not (tmp_path / "out").exists()
    assert outputs_of(configure(AT_EPOCHS), tmp_path) == unbroken
    assert f"epoch {epoch}, after step {step}" in said(tmp_path)


@pytest.mark.slow
def test_a_training_that_lost_patience_stays_stopped(configure: Any, tmp_path: Path) -> None:
    """It is killed after the last epoch, before it writes its outputs."""
    config = configure("trainer.patience=1", "trainer.max_epochs=8", "optimizer.lr=1e-9")
    wanted = outputs_of(config, tmp_path / "unbroken")
    rows = wanted["history.csv"].count(b"\n") - 1
    assert rows < 8
    assert killed.train(config, tmp_path / "killed", Moment("outputs", 1)) == -signal.SIGKILL
    assert outputs_of(config, tmp_path / "killed") == wanted


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(unbroken: dict[str, bytes], configure: Any, tmp_path: Path) -> None:
    assert killed.train(configure(EVERY_STEP), tmp_path, Moment("step", 7)) == -signal.SIGKILL
    before = kept(tmp_path)
    assert set(before) == {"best.ckpt", "last.ckpt"}
    assert killed.train(configure(EVERY_STEP), tmp_path, largest_file=9000) == 1
    expect_one_line(tmp_path, "last.ckpt: cannot be written (File too large): it needs 0.0 MB, and its disk has ")
    assert f"free space, or move {tmp_path}/scratch to another disk and set SEG_SCRATCH" in said(tmp_path)
    assert kept(tmp_path) == before
    assert not list((tmp_path / "scratch").rglob("*.partial"))
    assert outputs_of(configure(EVERY_STEP), tmp_path) == unbroken


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_of_the_outputs(unbroken: dict[str, bytes], configure: Any, tmp_path: Path) -> None:
    assert killed.train(configure(AT_EPOCHS), tmp_path, Moment("outputs", 1)) == -signal.SIGKILL
    assert killed.train(configure(AT_EPOCHS), tmp_path, largest_file=9000) == 1
    expect_one_line(tmp_path, f"{tmp_path}/out/best.ckpt: cannot be written (File too large)")
    assert list((tmp_path / "out").iterdir()) == []
    assert outputs_of(configure(AT_EPOCHS), tmp_path) == unbroken


def expect_one_line(folder: Path, text: str) -> None:
    errors = [line for line in said(folder).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert text in errors[0]
    assert said(folder).endswith(f"{errors[0]}\n")
    assert "Traceback" not in said(folder)


RANKS = """
import os, pickle, sys
from pathlib import Path
import killed
if __name__ == "__main__":
    config, moment = pickle.loads(Path(sys.argv[1]).read_bytes())
    killed.train_here(config, Path(sys.argv[1]).parent, None if os.environ.get("LOCAL_RANK") else moment)
"""


@pytest.mark.slow
def test_two_ranks_go_on_within_an_epoch(configure: Any, make_config: MakeConfig, tmp_path: Path) -> None:
    """Each has loss sums and dropout of its own; one alone gets the signal."""
    data = make_config("task=semantic").data
    classes = [ClassInfo(c.name, tuple(c.color)) for c in data.classes]  # type: ignore[arg-type]
    prepare(Shapes(20, 32, 0, classes), "shapes", classes, Assignment.of(data), None, tmp_path / "prepared", 1, "none")
    paths = [f"paths.prepare={tmp_path / 'prepared'}", f"paths.augment={tmp_path / 'augmented'}"]
    config = configure(*paths, "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=2", "trainer.batch_size=1", EVERY_STEP)
    augment.run(config, tmp_path / "augmented")
    (tmp_path / "ranks.py").write_text(RANKS)

    def run(folder: Path, moment: Moment | None = None) -> subprocess.CompletedProcess[str]:
        folder.mkdir(exist_ok=True)
        (folder / "run.pkl").write_bytes(pickle.dumps((config, moment)))
        env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        command = [str(preloaded.python()), str(tmp_path / "ranks.py"), str(folder / "run.pkl")]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)

    done = run(tmp_path / "unbroken")
    assert done.returncode == 0, done.stderr
    ended = run(tmp_path / "ended", Moment("step", 10, signal.SIGTERM))
    assert ended.returncode == 143, ended.stderr
    resumed = run(tmp_path / "ended")
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 2, after step 3" in resumed.stdout
    assert files_of(tmp_path / "ended") == files_of(tmp_path / "unbroken")


def test_an_epoch_that_was_begun_on_other_devices_is_refused() -> None:
    ResumePoint(2, 5, 2).check(Path("scratch"), 2)
    ResumePoint(2, 0, None).check(Path("scratch"), 3)
    with pytest.raises(ConfigError, match=r"trainer\.devices: scratch holds .* on 2 devices, and now there are 3; go on with 2, or remove"):
        ResumePoint(2, 5, 2).check(Path("scratch"), 3)


def test_every_step_of_every_rank_has_a_seed_of_its_own() -> None:
    seeds = {step_seed(*key) for key in np.ndindex(3, 4, 5, 2)}
    assert len(seeds) == 3 * 4 * 5 * 2
    for seed in seeds:
        torch.Generator().manual_seed(seed)
