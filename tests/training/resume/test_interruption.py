"""A training that is cut off goes on, and ends as if it had never been; the same commit gives the same bytes anywhere."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from project import Project, Running

pytestmark = pytest.mark.slow
TRAINED = ("artifacts/train/best.ckpt", "artifacts/train/last.ckpt", "artifacts/train/history.csv")
RESULTS = (*TRAINED, "artifacts/evaluate/metrics.json", "artifacts/evaluate/per_image.csv", "artifacts/evaluate/tables/confusion.csv")
AHEAD = ("train", "evaluate")
EPOCHS = 5


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone, prepared and with samples drawn, whose training is yet to come and takes longer."""
    project = Project.ran(tmp_path_factory, tmp_path_factory.mktemp("start"))
    project.edit("conf/experiment/smoke.yaml", "max_epochs: 2", f"max_epochs: {EPOCHS}")
    project.edit("conf/experiment/smoke.yaml", "trainer:", "loss:\n  label_smoothing: 0.05\ntrainer:")
    project.edit("conf/config.yaml", "model: unet_small", "model: unet")  # so long that a signal comes before the end
    project.dvc("repro", "augment")
    for file in TRAINED:
        (project.folder / file).unlink()
    lock = project.folder / "dvc.lock"
    done = yaml.safe_load(lock.read_text())
    lock.write_text(yaml.safe_dump(done | {"stages": {name: stage for name, stage in done["stages"].items() if name not in AHEAD}}))
    project.commit("longer")
    return project


@pytest.fixture(scope="module")
def unbroken(start: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose pipeline ran to its end at once."""
    project = start.copy(tmp_path_factory.mktemp("unbroken"))
    project.dvc("repro")
    return project


@pytest.fixture
def other(start: Project, tmp_path: Path) -> Project:
    """Another clone, not trained."""
    return start.copy(tmp_path / "a clone with spaces")


def recorded(project: Project) -> list[str]:
    """The stages that DVC holds for done."""
    return list(yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"])


@pytest.fixture
def started(other: Project) -> Iterator[list[Running]]:
    """What a test started; nothing of it outlives the test."""
    running: list[Running] = []
    yield running
    for one in running:
        one.kill_all()


def test_killed_at_once_and_resumed_equals_unbroken(unbroken: Project, other: Project, started: list[Running]) -> None:
    run = Running(other, sys.executable, "-m", "dvc", "repro")
    started.append(run)
    run.wait_for(f"epoch 2/{EPOCHS}")
    time.sleep(0.2)  # somewhere in the third epoch
    run.kill_all()
    assert not any((other.folder / f).exists() for f in TRAINED)
    resumed = other.dvc("repro")
    assert "resuming an interrupted run" in resumed.stdout
    assert f"epoch 1/{EPOCHS}" not in resumed.stdout
    assert other.bytes_of(*RESULTS) == unbroken.bytes_of(*RESULTS)
    assert not list((other.folder / ".scratch/train").glob("*")), "the scratch folder is removed on success"


def test_sigterm_under_dvc_fails_the_stage(other: Project, started: list[Running]) -> None:
    run = Running(other, sys.executable, "-m", "dvc", "repro")
    started.append(run)
    run.wait_for(f"epoch 2/{EPOCHS}")  # the first checkpoint is written after the line of the first epoch
    found = subprocess.run(["pgrep", "-g", str(run.process.pid), "-f", "seg train"], capture_output=True, text=True, check=True)
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGTERM)
    assert run.process.wait(timeout=60) != 0
    assert "train" not in recorded(other)
    again = Running(other, sys.executable, "-m", "dvc", "repro")
    started.append(again)
    again.wait_for("resuming an interrupted run")


def test_a_fine_tuning_killed_and_moved_equals_an_unbroken_one(unbroken: Project, other: Project, started: list[Running]) -> None:
    """Stages of the encoder learn from later epochs on, and the project's folder has another name when the training goes on."""
    (other.folder / "weights").mkdir()
    (other.folder / "weights/start.ckpt").write_bytes((unbroken.folder / "artifacts/train/best.ckpt").read_bytes())
    finetune = ["finetune=gradual", "finetune.frozen_stages=1", "finetune.lr_factor=0.5"]
    within = "runtime.save_minutes=0.001"  # so that it goes on within an epoch, also on a quick machine
    other.seg("configure", "model.weights=weights/start.ckpt", "model.normalization=checkpoint", within, *finetune)
    train = (str(other.python), "-m", "seg", "train", "-cn", "pipeline")
    other.run(*train)
    expected = other.bytes_of(*TRAINED)
    rates = [row["lr_stage3"] for row in csv.DictReader(expected[TRAINED[2]].decode().splitlines())]
    assert [rate != "0.0" for rate in rates] == [False, False, False, True, True]
    for file in TRAINED:
        (other.folder / file).unlink()
    run = Running(other, *train)
    started.append(run)
    run.wait_for(f"epoch 4/{EPOCHS}")
    saved, seen, until = 0, 0.0, time.monotonic() + 30
    while saved < 3 and time.monotonic() < until:  # the end of epoch 4, perhaps, and then steps of epoch 5
        latest = max((path.stat().st_mtime for path in (other.folder / ".scratch/train").glob("*/last.ckpt")), default=0.0)
        saved, seen = saved + (latest != seen), latest
        time.sleep(0.005)
    run.kill_all()
    assert not any((other.folder / f).exists() for f in TRAINED)
    other.folder = other.folder.rename(other.folder.with_name("elsewhere"))
    resumed = other.run(*train)
    assert "resuming an interrupted run" in resumed.stdout
    assert "after step 0" not in resumed.stdout
    assert f"epoch 3/{EPOCHS}" not in resumed.stdout
    assert other.bytes_of(*TRAINED) == expected
