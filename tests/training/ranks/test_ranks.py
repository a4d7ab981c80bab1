"""Two processes on the CPU train one model: the figures are one process's, and all end with the first that ends."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import Project, Running

pytestmark = pytest.mark.slow
TRAINED = ("artifacts/train/best.ckpt", "artifacts/train/last.ckpt", "artifacts/train/history.csv")
TRAIN = (sys.executable, "-m", "seg", "train", "-cn", "pipeline")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose next stage is a training on two ranks, which validate five and four images."""
    project = Project.clone(tmp_path_factory.mktemp("ranks"))
    project.edit("conf/experiment/smoke.yaml", "num_images: 40", "num_images: 60")
    project.edit("conf/experiment/smoke.yaml", "max_epochs: 2", "max_epochs: 4")
    project.seg("configure", "trainer=ddp", "trainer.accelerator=cpu", "trainer.batch_size=4")
    project.commit("ranks")
    project.dvc("repro", "augment")
    return project


@pytest.fixture(scope="module")
def unbroken(prepared: Project) -> dict[str, bytes]:
    """What a training leaves that ran to its end at once, under DVC; printed.txt is what it said."""
    (prepared.folder / "printed.txt").write_text(prepared.dvc("repro", "train").stdout)
    assert sorted(p.name for p in (prepared.folder / "artifacts/train").iterdir()) == sorted(Path(file).name for file in TRAINED)
    made = prepared.bytes_of(*TRAINED)
    for file in TRAINED:
        (prepared.folder / file).unlink()
    return made


class Ranks(Running):
    """A training on two ranks."""

    def __init__(self, project: Project, *command: str) -> None:
        super().__init__(project, *(command or TRAIN))

    def further(self) -> list[int]:
        """The process ids of the ranks but 0."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def end(self) -> float:
        """Seconds until no process is left."""
        start = time.monotonic()
        assert self.process.stdout is not None
        self.text += self.process.stdout.read()  # until all have closed it
        self.process.wait(timeout=60)
        return time.monotonic() - start


@pytest.fixture
def start(prepared: Project) -> Iterator[Callable[..., Ranks]]:
    """(*command) -> a training that has started; nothing of it outlives the test."""
    started: list[Ranks] = []

    def begin(*command: str) -> Ranks:
        started.append(Ranks(prepared, *command))
        return started[-1]

    yield begin
    for ranks in started:
        ranks.kill_all()


def test_two_processes_train_and_only_one_writes(prepared: Project, unbroken: dict[str, bytes]) -> None:
    assert (prepared.folder / "printed.txt").read_text().count("epoch 1/4") == 1
    assert [row["epoch"] for row in csv.DictReader(unbroken[TRAINED[2]].decode().splitlines())] == list("1234")
    assert not list((prepared.folder / ".scratch/train").glob("*"))


def test_whoever_is_killed_all_end_at_once_and_the_next_goes_on(
    prepared: Project, unbroken: dict[str, bytes], start: Callable[..., Ranks]
) -> None:
    first = start()
    first.wait_for("epoch 1/4")
    first.wait_for("epoch 2/4")  # the checkpoint of epoch 1 is written
    os.kill(first.further()[0], signal.SIGKILL)
    assert first.end() < 10
    assert first.process.returncode == 1
    assert "error: rank 1 of 2 was killed by SIGKILL (by the system, if memory ran out), and all others were ended" in first.text
    assert "Traceback" not in first.text

    second = start()
    second.wait_for("resuming an interrupted run")
    second.wait_for("epoch 3/4")
    os.kill(second.process.pid, signal.SIGKILL)
    assert second.end() < 10
    assert second.text.count("error: rank 0 has died, and all others were ended") == 1
    assert "Traceback" not in second.text

    prepared.seg(*TRAIN[3:])
    assert prepared.bytes_of(*TRAINED) == unbroken


def test_figures_of_two_ranks_are_those_of_one_process(prepared: Project, unbroken: dict[str, bytes]) -> None:
    """The last epoch's, of 5 and 4 images; with batch norms, whose statistics differ between the ranks after a step."""
    for file, content in unbroken.items():
        (prepared.folder / file).write_bytes(content)
    out = prepared.folder / "outputs/evaluated"
    prepared.seg("evaluate", "evaluate.split=val", "evaluate.checkpoint=last", "paths.train=artifacts/train", f"hydra.run.dir={out}")
    figures = json.loads((out / "metrics.json").read_text())["val"]
    last = list(csv.DictReader(unbroken[TRAINED[2]].decode().splitlines()))[-1]
    shared = {name: value for name, value in last.items() if name.startswith("val_") and value}
    assert len(shared) > 3
    assert {name: round(figures[name.removeprefix("val_")], 6) for name in shared} == {n: float(v) for n, v in shared.items()}


def test_an_error_of_one_rank_is_one_line(prepared: Project, start: Callable[..., Ranks]) -> None:
    """A file that only one of the ranks reads first is missing."""
    images = sorted((prepared.folder / "data/prepared/val/images").iterdir())
    hidden = images[1].rename(prepared.folder / "hidden")  # rank 1's first of validation
    try:
        ranks = start(str(prepared.python), *TRAIN[1:])
        ranks.wait_for("6 classes")
        assert ranks.end() < 60
    finally:
        hidden.rename(images[1])
    assert ranks.process.returncode == 1
    assert ranks.text.count("error: ") == 1, ranks.text
    assert images[1].name in ranks.text
    assert "Traceback" not in ranks.text


def test_two_ranks_learn_what_one_process_with_their_images_learns(prepared: Project) -> None:
    """Without batch norm, augmentation and ignored pixels: the mean of the ranks' gradients is that of all images."""
    text = (prepared.folder / "conf/model/unet_small.yaml").read_text()
    keep = [line for line in text.splitlines() if not line.startswith(("network", " ", "#", "name"))]
    network = "name: plain\nnetwork: {_target_: torch.nn.Conv2d, kernel_size: 5, padding: 2}\n"
    (prepared.folder / "conf/model/plain.yaml").write_text("\n".join(keep) + "\n" + network)
    losses = []
    for options in (["trainer=ddp", "trainer.batch_size=4"], ["trainer=auto", "trainer.batch_size=8"]):
        out = prepared.folder / "outputs" / options[0].partition("=")[2]
        more = ["trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "model=plain", f"hydra.run.dir={out}"]
        prepared.seg("train", *options, *more, "loss.class_weights=none")
        losses.append([float(row["train_loss"]) for row in csv.DictReader((out / "history.csv").read_text().splitlines())])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][1] < 0.99 * losses[0][0]


def test_sharded_ranks_that_were_ended_go_on_to_the_same_bytes(prepared: Project, start: Callable[..., Ranks]) -> None:
    """By a signal that all of them get. And one process evaluates what they trained."""
    given = ["trainer=fsdp", "trainer.accelerator=cpu", "trainer.batch_size=4", "trainer.max_epochs=3"]

    prepared.seg("train", *given, "hydra.run.dir=outputs/unbroken")
    broken = start(*TRAIN[:4], *given, "hydra.run.dir=outputs/broken")
    broken.wait_for("epoch 2/3")
    os.killpg(broken.process.pid, signal.SIGTERM)  # which writes a checkpoint of a step within the epoch
    assert broken.end() < 10
    assert broken.process.returncode == 143
    assert broken.text.count("SIGTERM: the training stops after this step") == 1
    assert "resuming an interrupted run" in prepared.seg("train", *given, "hydra.run.dir=outputs/resumed").stdout
    made = [
        prepared.bytes_of(*(f"outputs/{name}/{file}" for file in ("best.ckpt", "last.ckpt", "history.csv")))
        for name in ("unbroken", "resumed")
    ]
    assert list(made[0].values()) == list(made[1].values())
    last = list(csv.DictReader((prepared.folder / "outputs/resumed/history.csv").read_text().splitlines()))[-1]
    options = ["evaluate.split=val", "evaluate.checkpoint=last", "paths.train=outputs/resumed", "hydra.run.dir=outputs/evaluated"]
    prepared.seg("evaluate", *options)
    figures = json.loads((prepared.folder / "outputs/evaluated/metrics.json").read_text())["val"]
    assert round(figures["miou"], 6) == float(last["val_miou"])
