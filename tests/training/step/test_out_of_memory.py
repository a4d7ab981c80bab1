"""`seg train` on a device that is too small for its settings: the same result as with smaller micro-batches from the start."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import preloaded
import pytest
import torch
from conftest import ROOT, MakeConfig

from seg.data.sample import ClassInfo
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.sources.shapes import Shapes
from seg.stages import augment
from seg.stages.train import run
from seg.training.step.step import Step

pytestmark = pytest.mark.slow

Train = Callable[..., str]
STEP = "trainer.effective_batch_size=8"
ALLOW = "targets.allow=[seg,torch,limited,albumentations]"
COMMON = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=3", "runtime.progress=lines", "model.stride=1", ALLOW)
LINE = "out of memory in step 1, which is repeated: {} images at once from now on, not {} ({}); trainer.batch_size={} with " + STEP


@pytest.fixture(scope="module")
def paths(make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that name prepared data, two images of validation among them, and an augmentation policy."""
    prepared, augmented = (tmp_path_factory.mktemp("data") / name for name in ("prepared", "augmented"))
    config = make_config(f"paths.prepare={prepared}", "augment.preview.images=1", "augment.preview.draws=1")
    classes = [ClassInfo(c.name, tuple(c.color)) for c in config.data.classes]  # type: ignore[arg-type]
    prepare(Shapes(24, 48, 0, classes), "shapes", classes, Assignment.of(config.data), None, prepared, 1, "none")
    augment.run(config, augmented)
    return [f"paths.prepare={prepared}", f"paths.augment={augmented}"]


@pytest.fixture
def train(
    paths: list[str], make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Train:
    """(folder of the outputs, arguments of the network, overrides) -> what the stage prints."""
    monkeypatch.setenv("SEG_SCRATCH", str(tmp_path / "scratch"))

    def start(out: str, network: dict[str, float], *overrides: str) -> str:
        run(make_config(*paths, *COMMON, *overrides, network={"_target_": "limited.Limited", **network}), tmp_path / out)
        return capsys.readouterr().out

    return start


@pytest.fixture
def command(paths: list[str], tmp_path: Path) -> Train:
    """The same as `seg train` in a process of its own; it has to end with `code`, and gives stdout and stderr."""

    def start(out: str, network: str, *overrides: str, code: int = 0) -> str:
        limited = ["~model.network", f"+model.network={{_target_: limited.Limited, {network}}}"]
        done = subprocess.run(
            [str(preloaded.python()), "-m", "seg", "train", *overrides, *paths, *COMMON, *limited, f"hydra.run.dir={tmp_path / out}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "SEG_SCRATCH": str(tmp_path / "scratch"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    return start


def assert_alike(one: Path, other: Path) -> None:
    """The same weights, bit by bit, and figures. (The checkpoints' settings differ.)"""
    for name in ("best.ckpt", "last.ckpt"):
        a, b = (torch.load(folder / name, weights_only=True) for folder in (one, other))
        assert all(torch.equal(t, b["state_dict"][n]) for n, t in a["state_dict"].items())
        assert (a["epoch"], a["figures"]) == (b["epoch"], b["figures"])
    assert (one / "history.csv").read_text() == (other / "history.csv").read_text()


def test_auto_finds_what_fits(train: Train, tmp_path: Path) -> None:
    """On a CPU, the most below the first trial that fails: of 4."""
    found = train("found", {"at_most": 3}, "trainer.batch_size=auto", STEP)
    assert "trainer.batch_size=auto: 3 images at once on cpu, of the 8" in found
    assert "out of memory" not in found
    train("smaller", {"at_most": 3}, "trainer.batch_size=3", STEP)
    assert_alike(tmp_path / "smaller", tmp_path / "found")


def test_ranks_repeat_a_step_together(command: Train, tmp_path: Path) -> None:
    """Where one of two is short of memory."""
    ddp = ["trainer=ddp", "trainer.accelerator=cpu"]
    command("smaller", "at_most: 1000", *ddp, "trainer.batch_size=2", STEP)
    halved = command("halved", "at_most: 3, rank: 1", *ddp, "trainer.batch_size=4")
    assert halved.count("repeated") == 1
    assert LINE.format(2, 4, "in another rank", 2) in halved
    assert_alike(tmp_path / "smaller", tmp_path / "halved")


def test_too_little_for_one_image_is_said_by_a_process_and_ends_all(command: Train) -> None:
    said = command("none", "at_most: 0, rank: 1", "trainer=ddp", "trainer.accelerator=cpu", code=1)
    assert "error: out of memory in training with a single image at once" in said


def test_a_resumed_run_keeps_what_was_found_and_halved(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in its second epoch, it goes on with as many images at once as before, and equals one that was not."""
    auto, network = ["trainer.batch_size=auto", STEP], {"at_most": 3, "evaluation": 1, "dropout": 0}
    unbroken = train("unbroken", network, *auto)
    assert "trainer.batch_size=auto: " in unbroken
    assert "out of memory in validation" in unbroken
    gradients, steps = Step.gradients, iter(range(100))

    def cut(self: Step, *given: object) -> object:
        if next(steps) == 3:
            raise RuntimeError("cut off")
        return gradients(self, *given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Step, "gradients", cut)
        with pytest.raises(RuntimeError, match="cut off"):
            train("resumed", network, *auto)
    resumed = train("resumed", network, *auto)
    rest = resumed.partition("resuming an interrupted run")[2]
    assert rest
    assert "auto" not in rest
    assert "out of memory" not in rest
    assert_alike(tmp_path / "unbroken", tmp_path / "resumed")


def test_instances_train_in_micro_batches(
    paths: list[str], make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uneven ones. The augmentation of the semantic task serves."""
    monkeypatch.setenv("SEG_SCRATCH", str(tmp_path / "scratch"))
    small = ["task=instance", "model.network.encoder_name=tu-test_resnet", "trainer.max_epochs=1"]
    device = ["trainer.accelerator=cpu", "trainer.precision=32-true", "runtime.progress=none"]
    run(make_config(*paths, *small, *device, "trainer.batch_size=2", "trainer.effective_batch_size=5"), tmp_path / "out")
    assert (tmp_path / "out/best.ckpt").exists()
