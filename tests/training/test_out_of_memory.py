"""`seg train` on a device that is too small for its settings: the same result as with smaller micro-batches from the start."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT, MakeConfig

from seg.training.accumulation import Accumulation

pytestmark = pytest.mark.slow

Train = Callable[..., str]
STEP = "trainer.effective_batch_size=8"


@pytest.fixture(scope="module")
def augmented(prepared: Path, make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from seg.stages import augment

    out = tmp_path_factory.mktemp("augmented")
    augment.run(make_config(f"paths.prepare={prepared}", "augment.preview.images=1", "augment.preview.draws=1"), out)
    return out


@pytest.fixture
def train(prepared: Path, augmented: Path, tmp_path: Path) -> Train:
    """(folder of the outputs, network's arguments, overrides) -> what `seg train` prints, in a process of its own."""

    def run(out: str, network: str, *overrides: str, code: int = 0) -> str:
        common = [
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "trainer.max_epochs=3",
            "runtime.progress=lines",
            "model.stride=1",
        ]
        command = [f"paths.prepare={prepared}", f"paths.augment={augmented}", f"hydra.run.dir={tmp_path / out}", *common, *overrides]
        limited = [
            "~model.network",
            f"+model.network={{_target_: limited.Limited, {network}}}",
            "targets.allow=[seg,torch,limited,albumentations]",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "seg", "train", *command, *limited],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "SEG_SCRATCH": str(tmp_path / "scratch"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    return run


def assert_alike(one: Path, other: Path) -> None:
    """The same weights, bit by bit, and figures. (The checkpoints' settings differ.)"""
    for name in ("best.ckpt", "last.ckpt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, other))
        assert all(torch.equal(t, b["state_dict"][n]) for n, t in a["state_dict"].items())
        assert (a["epoch"], a["figures"]) == (b["epoch"], b["figures"])
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()


def test_a_training_that_runs_out_of_memory_goes_on_and_auto_finds_what_fits(train: Train, tmp_path: Path) -> None:
    """In training and in validation; and a search gives as much without a failure."""
    smaller = train("smaller", "at_most: 1000", "trainer.batch_size=4", STEP)
    assert "out of memory" not in smaller
    halved = train("halved", "at_most: 4, evaluation: 1", "trainer.batch_size=8")
    assert halved.count("out of memory") == 2
    assert "out of memory in step 1, which is repeated: 4 images at once from now on, not 8 (CUDA out of memory)" in halved
    assert f"trainer.batch_size=4 with {STEP} starts so" in halved
    assert "out of memory in validation: 1 images at once" in halved
    assert_alike(tmp_path / "smaller", tmp_path / "halved")
    found = train("found", "at_most: 5", "trainer.batch_size=auto", STEP)
    assert "trainer.batch_size=auto: 4 images at once on cpu" in found or "trainer.batch_size=auto: 5 images at once on cpu" in found
    assert "out of memory" not in found
    assert_alike(tmp_path / "smaller", tmp_path / "found")


def test_ranks_repeat_a_step_together(train: Train, tmp_path: Path) -> None:
    """Where one of two is short of memory."""
    ddp = ["trainer=ddp", "trainer.accelerator=cpu"]
    train("smaller", "at_most: 1000", *ddp, "trainer.batch_size=2", STEP)
    halved = train("halved", "at_most: 3, rank: 1", *ddp, "trainer.batch_size=4")
    assert halved.count("out of memory") == 1
    assert f"(in another process); trainer.batch_size=2 with {STEP} starts so" in halved
    assert_alike(tmp_path / "smaller", tmp_path / "halved")


def test_two_ranks_of_half_the_images_are_one_of_all(train: Train, tmp_path: Path) -> None:
    """The same images a step and, without batch norm and dropout, the same gradients."""


def test_too_little_for_one_image_is_one_line(train: Train) -> None:
    said = train("none", "at_most: 0", "trainer=ddp", "trainer.accelerator=cpu", code=1)
    assert "error: out of memory in training with a single image at once" in said


def test_a_resumed_run_keeps_what_was_halved(
    prepared: Path,
    augmented: Path,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cut off in its second epoch, it goes on with 4 images at once, found and halved before, and equals one that was not."""
    from seg.stages.train import run

    network = {"_target_": "limited.Limited", "at_most": 4}
    paths = [f"paths.prepare={prepared}", f"paths.augment={augmented}"]
    device = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=3", "model.stride=1", "runtime.progress=lines"]
    config = make_config(*paths, *device, "targets.allow=[seg,torch,limited,albumentations]", network=network)
    monkeypatch.setenv("SEG_SCRATCH", str(tmp_path / "scratch"))
    run(config, tmp_path / "unbroken")
    assert capsys.readouterr().out.count("out of memory") == 1
    gradients, steps = Accumulation.gradients, iter(range(100))

    def cut(self: Accumulation, *given: object) -> object:
        if next(steps) == 1:
            raise RuntimeError("cut off")
        return gradients(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Accumulation, "gradients", cut)
        with pytest.raises(RuntimeError, match="cut off"):
            run(config, tmp_path / "resumed")
    assert capsys.readouterr().out.count("out of memory") == 1
    run(config, tmp_path / "resumed")
    resumed = capsys.readouterr().out
    assert "resuming an interrupted run" in resumed
    assert "out of memory" not in resumed
    assert_alike(tmp_path / "unbroken", tmp_path / "resumed")
