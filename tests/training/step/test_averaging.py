"""Averaged weights: against recursions and means by hand, torch's update_bn, and a training that was cut off."""

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from scripts import lines_of
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from seg.training.step.averaging import Average, MovingAverage, TailAverage
from seg.training.step.limits import Limits

STEPS, EPOCHS = 4, 4
LIMITS = Limits(8, lambda *_: 8)
State = dict[str, Tensor]


class Images(list):
    """A batch that a device is asked to take."""

    def to(self, *_: Any, **__: Any) -> "Images":
        return self

    def split(self, most: int) -> list["Images"]:
        return [self]


class Model(nn.Module):
    """A network with a norm that learns, a frozen one, and buffers that are no statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
        self.register_buffer("index", torch.tensor([7, 1, 5]))
        self.register_buffer("scale", torch.tensor([0.1, 3.3, 7.7]))

    def losses(self, batch: Images) -> dict[str, Tensor]:
        return {"main": self.network(batch[0]).square().mean() + self.network[0].weight.sum()}


class Learner(pl.LightningModule):
    """Keeps the weights after each step, and those that each validation sees."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = Model()
        self.after: list[State] = []
        self.validated: list[State] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def on_train_epoch_start(self) -> None:
        torch.manual_seed(self.current_epoch)
        self.model.train()
        self.model.network[4].eval()

    def training_step(self, batch: Images, _: int) -> Tensor:
        return self.model.losses(batch)["main"]

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        super().optimizer_step(*arguments, **named)
        self.after.append(copy.deepcopy(self.model.state_dict()))

    def validation_step(self, batch: Images, _: int) -> None:
        self.validated.append(copy.deepcopy(self.model.state_dict()))

    def on_validation_epoch_end(self) -> None:
        self.log("score", float(self.current_epoch != 1))


def batches() -> list[Images]:
    generator = torch.Generator().manual_seed(3)
    return [Images([torch.randn(2, 3, 5, 5, generator=generator) + number]) for number in range(STEPS)]


def fit(folder: Path, average: Average, epochs: int = EPOCHS, **trainer: Any) -> Learner:
    """Train to an epoch, of a schedule of EPOCHS; from last.ckpt if there is one."""
    learner, last = Learner(), folder / "last.ckpt"
    keep = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    made = pl.Trainer(accelerator="cpu", max_epochs=EPOCHS, callbacks=[keep, average], **options, **trainer)
    if epochs < EPOCHS:
        learner.on_train_epoch_end = lambda: setattr(made, "should_stop", made.current_epoch + 1 == epochs)  # type: ignore[method-assign]
    own: dict[str, Any] = {"batch_size": None, "generator": torch.Generator()}
    loaders = [torch.utils.data.DataLoader(part, **own) for part in (batches(), batches()[:1])]  # type: ignore[arg-type]
    made.fit(learner, *loaders, ckpt_path=last if last.exists() else None, weights_only=True)
    return learner


def same(one: State, other: State, **tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], msg=lambda text, name=name: f"{name}: {text}", **(tolerance or {"rtol": 0, "atol": 0})
        )


def kept(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return content


def weights(content: dict[str, Any], key: str = "state_dict") -> State:
    return {name.removeprefix("model."): value for name, value in content[key].items()}


@pytest.mark.parametrize("start", [0.0, 0.6])
def test_a_moving_average_is_its_recursion(start: float, tmp_path: Path) -> None:
    learner = fit(tmp_path, MovingAverage(0.5, start))
    first, seen = int(start * STEPS * EPOCHS), []
    average: dict[str, Any] = {}
    for step, current in enumerate(learner.after):
        n = step - first
        if n == 0:
            average = {name: value.double() for name, value in current.items()}
        for name, value in current.items() if n > 0 else ():
            d = min(0.5, (1 + n) / (10 + n))
            average[name] = d * average[name] + (1 - d) * value.double() if value.is_floating_point() else value.double()
        if (step + 1) % STEPS == 0:
            seen.append(dict(average) if n >= 0 else {name: value.double() for name, value in current.items()})
    for found, expected in zip(learner.validated, seen, strict=True):
        same({name: value.double() for name, value in found.items()}, dict(expected), rtol=1e-5, atol=1e-6)
    same(learner.validated[-1], weights(kept(tmp_path)))
    same(learner.after[-1], weights(kept(tmp_path), "current_model_state"))
    fresh = Model().state_dict()
    for name in ("index", "scale", "network.4.running_var", "network.4.running_mean"):
        assert torch.equal(learner.validated[-1][name], fresh[name]), f"{name}: what does not learn keeps its bytes"


class SavesWithin(MovingAverage):
    """Writes a checkpoint while the average stands in the network's place."""

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "within.ckpt")


def test_a_checkpoint_from_within_a_validation_keeps_the_two_apart(tmp_path: Path) -> None:
    learner = fit(tmp_path, SavesWithin(0.5, 0.0), default_root_dir=tmp_path)
    content: dict[str, Any] = torch.load(tmp_path / "within.ckpt", weights_only=True)
    same(learner.validated[-1], weights(content))
    same(learner.after[-1], weights(content, "current_model_state"))


def test_stochastic_weight_averaging_is_the_mean_of_the_epochs_with_statistics_of_its_own(tmp_path: Path) -> None:
    learner = fit(tmp_path, TailAverage(0.5, 0, LIMITS))
    ends = learner.after[STEPS - 1 :: STEPS]
    same(learner.validated[0], ends[0])
    expected = Learner().model
    names = [name for name, _ in expected.named_parameters()]
    mean = {name: torch.stack([end[name].double() for end in ends[2:]]).mean(dim=0).float() for name in names}
    same({name: learner.validated[-1][name] for name in names}, mean, rtol=1e-6, atol=1e-7)
    expected.load_state_dict(learner.validated[-1])
    update_bn((batch[0] for batch in batches()), expected.network[:2])
    for name in ("running_mean", "running_var"):
        found, own = (getattr(expected.network[1], name), learner.after[-1][f"network.1.{name}"])
        torch.testing.assert_close(learner.validated[-1][f"network.1.{name}"], found)
        assert not torch.allclose(found, own, rtol=0.05), "the test would not tell"
    same(learner.validated[-1], weights(kept(tmp_path)))
    same(learner.after[-1], weights(kept(tmp_path), "current_model_state"))


@pytest.mark.parametrize("make", [lambda: MovingAverage(0.7, 0.3), lambda: TailAverage(0.25, 0, LIMITS)], ids=["ema", "swa"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_goes_on_gives_both_sets_of_weights_of_an_unbroken_one(make: Any, epochs: int, tmp_path: Path) -> None:
    fit(tmp_path / "unbroken", make())
    fit(tmp_path / "broken", make(), epochs)
    assert kept(tmp_path / "broken")["epoch"] == epochs - 1
    fit(tmp_path / "broken", make())
    one, other = (kept(tmp_path / name) for name in ("unbroken", "broken"))
    for key in ("state_dict", "current_model_state", "averaging_state"):
        same(one[key], other[key])


def test_averages_of_statistics_draw_nothing_from_the_training(tmp_path: Path) -> None:
    plain = fit(tmp_path / "late", TailAverage(0.99, 0, LIMITS))
    early = fit(tmp_path / "early", TailAverage(0.0, 0, LIMITS))
    same(plain.after[-1], early.after[-1])


def test_settings_choose_the_average(make_config: Any) -> None:
    from seg.training.step.averaging import averaging_of

    assert averaging_of(make_config().trainer, 0, LIMITS) == []
    moving, tail = (averaging_of(make_config(f"trainer.average={name}").trainer, 0, LIMITS)[0] for name in ("ema", "swa"))
    assert isinstance(moving, MovingAverage)
    assert (moving.decay, moving.start) == (0.999, 0.0)
    assert isinstance(tail, TailAverage)
    assert tail.start == 0.75


RANKS = """
import hashlib, os, sys
from pathlib import Path
import torch
import test_averaging as t
from seg.training.step.averaging import TailAverage

rank = int(os.environ.get("LOCAL_RANK", 0))
alone = t.batches
t.batches = lambda: [t.Images([batch[0] * (1 + rank)]) for batch in alone()]  # each rank sees other images
learner = t.fit(Path(sys.argv[1]), TailAverage(0.25, 0, t.LIMITS), devices=2, strategy="ddp")
for place, state in (("average", learner.validated[-1]), ("statistics", learner.validated[-1])):
    chosen = [value for name, value in sorted(state.items()) if ("running" in name) == (place == "statistics")]
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for value in chosen)).hexdigest()
    sys.stdout.write(f"sum {rank} {place} {digest}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_ranks_have_the_same_average(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, RANKS, str(tmp_path / "kept"))
    sums = {tuple(line.split()[1:3]): line.split()[3] for line in lines if line.startswith("sum ")}
    assert len(sums) == 4
    assert sums["0", "average"] == sums["1", "average"]
    assert sums["0", "statistics"] == sums["1", "statistics"]
