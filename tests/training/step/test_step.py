"""A step in micro-batches gives the gradients of the whole; one that runs out of memory leaves nothing behind."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import MakeConfig
from lightning.pytorch.plugins import MixedPrecision
from limited import MESSAGE, Limited
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from seg.core.errors import ConfigError
from seg.data.sample import Sample, no_instances
from seg.loading.batch import Batch, collate
from seg.metrics.semantic import SemanticMetrics
from seg.models.semantic import SemanticModel
from seg.training.loading.datamodule import SegmentationData
from seg.training.module import SegmentationModule, build_module, make_limits, make_model
from seg.training.resume.history import EpochMeans
from seg.training.step import step
from seg.training.step.limits import Limits, images_per_device
from seg.training.trainer import build_trainer

CLASSES = ["ground", "house", "tree"]
LR = 0.3


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.models.hardware.gc.collect", int)  # slow beside all that tests import


def batches(*sizes: int) -> list[Batch]:
    """Batches of images of noise, and of labels that follow from them."""
    rng = np.random.default_rng(0)
    images = [[rng.integers(256, size=(12, 10, 3), dtype=np.uint8) for _ in range(size)] for size in sizes]
    return [
        collate([Sample(f"{number}-{i}", image, image[..., 0] % 3, *no_instances(12, 10)) for i, image in enumerate(members)])
        for number, members in enumerate(images)
    ]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels.long())


def plain(classes: int = 3) -> nn.Module:
    """Nothing in it knows the other images of a batch."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, classes, 3, padding=1))


def model_of(network: Callable[[], nn.Module]) -> SemanticModel:
    torch.manual_seed(0)
    return SemanticModel(network(), cross_entropy, CLASSES, [120.0] * 3, [60.0] * 3, 1, 1.0, 0.0)


def decayed(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)


class Epochs:
    """The plan of finetune=none."""

    def __init__(self, model: nn.Module) -> None:
        self.groups = [SimpleNamespace(parameters=list(model.parameters()))]

    def start_epoch(self, *_: object) -> None: ...


def train(
    model: SemanticModel, given: Sequence[Batch], at_once: int, clip: float | None = None, optimizer: Any = None, **settings: Any
) -> tuple[SegmentationModule, pl.Trainer]:
    """Two epochs of SGD with momentum."""
    make = optimizer or (lambda groups: torch.optim.SGD(groups[0].parameters, LR, momentum=0.9))
    limits = Limits(at_once, lambda *_: 0)
    metrics = partial(SemanticMetrics, class_names=CLASSES)
    module = SegmentationModule(model, Epochs(model), make, decayed, metrics, 0, limits, clip)  # type: ignore[arg-type]
    settings = {"limit_val_batches": 0} | settings
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, callbacks=[EpochMeans(), limits], num_sanity_val_steps=0, **quiet, **settings)
    trainer.fit(module, DataLoader(given, batch_size=None), DataLoader(given, batch_size=None))  # type: ignore[arg-type]
    return module, trainer


def by_hand(model: SemanticModel, given: Sequence[Batch], clip: float | None, scaler: torch.amp.GradScaler | None = None) -> SemanticModel:
    """The same in plain torch, every batch as a whole."""
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9)
    schedule = decayed(optimizer, 2 * len(given))
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    for batch in 2 * list(given):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=scaler.is_enabled()):
            loss = cross_entropy(model.network((batch.images.float() - 120) / 60), batch.semantic)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def assert_close(a: nn.Module, b: nn.Module, **tolerance: float) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize(("at_once", "clip"), [(1, None), (3, 0.2), (5, None), (100, 0.2)])
def test_micro_batches_give_the_gradient_of_the_whole(at_once: int, clip: float | None) -> None:
    """Of 8 images and of 5, so that micro-batches are uneven; against plain torch."""
    given = batches(8, 5)
    expected = by_hand(model_of(plain), given, clip)
    module, trainer = train(model_of(plain), given, at_once, clip)
    assert_close(module.model, expected, rtol=1e-5, atol=1e-6)
    assert not same(module.model, model_of(plain))
    assert trainer.global_step == 4


@pytest.mark.parametrize("at_once", [2, 8])
def test_half_precision_is_scaled_as_torch_does_it(at_once: int) -> None:
    """The first scale overflows, so that a step is left out; later ones are clipped after the scale is taken off."""
    given = batches(8, 8)

    def scaler() -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=2.0**32, backoff_factor=2.0**-16, growth_interval=2)

    expected = scaler()
    reference = by_hand(model_of(plain), given, 0.2, expected)
    own = MixedPrecision("16-mixed", "cpu", scaler())
    module, _ = train(model_of(plain), given, at_once, 0.2, plugins=[own])
    assert own.scaler is not None
    assert own.scaler.get_scale() == expected.get_scale() < 2.0**18
    assert not same(module.model, model_of(plain))
    assert_close(module.model, reference, rtol=2e-3, atol=2e-4)


def test_a_fused_optimizer_cannot_be_clipped_under_a_scaler() -> None:
    fused = partial(lambda groups: torch.optim.SGD(groups[0].parameters, LR, fused=True))
    with pytest.raises(ConfigError, match=r"optimizer\.fused=true with trainer\.precision=16-mixed"):
        train(model_of(plain), batches(2), 2, 0.2, fused, plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))])


def test_the_loss_of_a_step_is_the_mean_over_its_images() -> None:
    given = batches(7)
    model = model_of(plain)
    expected = cross_entropy(model.network((given[0].images.float() - 120) / 60), given[0].semantic).item()
    _, trainer = train(model, given, 3, optimizer=lambda groups: torch.optim.SGD(groups[0].parameters, 0.0))
    assert trainer.callback_metrics["train_loss"].item() == pytest.approx(expected, rel=1e-6)


def test_a_batch_is_split_evenly_and_in_order() -> None:
    (batch,) = batches(8)
    assert [[len(p) for p in batch.split(n)] for n in (1, 3, 5, 7, 8, 9)] == [[1] * 8, [2, 3, 3], [4, 4], [4, 4], [8], [8]]
    parts = batch.split(3)
    assert [name for part in parts for name in part.image_ids] == batch.image_ids
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.semantic for part in parts]), batch.semantic)


class InBackward(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        if len(gradient) > 4:
            raise torch.OutOfMemoryError(MESSAGE)
        return gradient


class FailsInBackward(Limited):
    def forward(self, x: Tensor) -> Tensor:
        return InBackward.apply(super().forward(x))  # type: ignore[no-any-return]


class FailsOnce(Limited):
    """In the fourth forward pass of the training: the second micro-batch of the second step, with the first's gradients there."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == 4 and self.training:
            super().forward(x)
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return super().forward(x)


@pytest.mark.parametrize("network", [partial(Limited, 3, 3, 4), partial(FailsInBackward, 3, 3, 100)], ids=["forward", "backward"])
def test_a_repeated_step_is_as_if_it_had_been_so_from_the_start(
    network: Callable[[], nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights, batch norms' statistics and dropout's random numbers."""
    given = batches(8, 8)
    expected, _ = train(model_of(partial(Limited, 3, 3, 4)), given, 4)
    assert capsys.readouterr().out == ""
    module, trainer = train(model_of(network), given, 8)
    assert same(module.model, expected.model)
    assert (trainer.global_step, module.limits.training) == (4, 4)
    assert capsys.readouterr().out == (
        "out of memory in step 1, which is repeated: 4 images at once from now on, not 8 (CUDA out of memory); "
        "trainer.batch_size=4 with trainer.effective_batch_size=8 starts so\n"
    )


def test_a_failure_between_micro_batches_drops_the_gradients_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    given = batches(8, 8)
    module, _ = train(model_of(partial(FailsOnce, 3, 3, 100, dropout=0.0)), given, 4)
    assert "out of memory in step 2, which is repeated: 2 images at once from now on, not 4 (CUDA error" in capsys.readouterr().out

    expected = model_of(partial(Limited, 3, 3, 100, dropout=0.0))
    optimizer = torch.optim.SGD(expected.parameters(), LR, momentum=0.9)
    schedule = decayed(optimizer, 4)
    for number, batch in enumerate(given * 2):
        optimizer.zero_grad()
        for part in batch.split(2 if number else 4):
            (expected.losses(part)["main"] * len(part) / 8).backward()
        optimizer.step()
        schedule.step()
    assert same(module.model, expected)


def test_other_errors_end_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(step, "named_losses", broken)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(model_of(plain), batches(4), 4)


def test_a_batch_norm_that_needs_more_images_than_fit_is_said() -> None:
    pooled = partial(lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), Limited(3, 3, 1), nn.Upsample((12, 10))))
    with pytest.raises(ConfigError, match=r"^1 image at once: batch normalisation cannot learn from one value a channel, and more do not"):
        train(model_of(pooled), batches(4), 4)


def test_memory_that_ends_in_the_optimizer_is_not_of_the_images() -> None:
    class Hungry(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            closure()
            raise torch.OutOfMemoryError(MESSAGE)

    with pytest.raises(ConfigError, match=r"^out of memory in the optimizer, whatever the number of images"):
        train(model_of(plain), batches(4), 4, optimizer=lambda groups: Hungry(groups[0].parameters, LR))


def test_validation_goes_on_in_halves(capsys: pytest.CaptureFixture[str]) -> None:
    given = batches(7)
    network = partial(Limited, 3, 3, 100, 3)
    module, trainer = train(model_of(network), given, 7, limit_val_batches=1)
    assert module.limits.evaluation == 3
    assert "out of memory in validation: 3 images at once from now on, not 7" in capsys.readouterr().out
    whole = SemanticMetrics(CLASSES)
    free = model_of(partial(Limited, 3, 3, 100))
    free.load_state_dict(module.model.state_dict())
    whole.update(given[0], free.eval().predict(given[0].images))
    assert trainer.callback_metrics["val_miou"].item() == pytest.approx(whole.figures()["miou"])


@pytest.fixture
def whole_training(prepared: Path, make_config: MakeConfig, tmp_path: Path) -> Callable[[], None]:
    """Trains an epoch with the DataModule, the module and the trainer of `seg train`: steps of ten images, two at once."""
    settings = ["trainer.batch_size=2", "trainer.effective_batch_size=10", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    cfg = make_config(*settings, "trainer.precision=32-true", network={"_target_": "torch.nn.Conv2d", "kernel_size": 1})
    data = SegmentationData(prepared, None, None, images_per_device(cfg.trainer, 1), 2, 0, 0, with_instances=False)

    def train() -> None:
        limits = make_limits(cfg, data)
        trainer = build_trainer(cfg, [EpochMeans(), limits], tmp_path, torch.device("cpu"), "32-true")
        trainer.fit(build_module(cfg, data, make_model(cfg, data), limits), data)

    return train


def test_the_device_never_has_more_images_than_fit_at_once(monkeypatch: pytest.MonkeyPatch, whole_training: Callable[[], None]) -> None:
    copied: list[int] = []
    real = Batch.to
    monkeypatch.setattr(Batch, "to", lambda self, *a, **k: copied.append(len(self)) or real(self, *a, **k))
    whole_training()
    assert max(copied) == 2
    assert sum(copied) > 6


def test_a_copy_that_runs_out_of_memory_is_repeated_as_a_step_is(
    monkeypatch: pytest.MonkeyPatch, whole_training: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def copy(batch: Batch, *_: Any, **__: Any) -> Batch:
        if len(batch) > 1:
            raise torch.OutOfMemoryError(MESSAGE)
        return batch

    monkeypatch.setattr(Batch, "to", copy)
    whole_training()
    said = capsys.readouterr().out
    assert said.startswith("out of memory in step 1, which is repeated: 1 images at once from now on, not 2 (CUDA out of memory); ")
