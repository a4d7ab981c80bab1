"""The search for the most images at once: what it finds, how far it dares to go, and that it leaves no trace."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from conftest import MakeConfig
from lightning.pytorch.plugins import MixedPrecision, Precision
from limited import Limited
from torch import nn

from seg.augment.policy import compile_policy
from seg.core.errors import ConfigError
from seg.models.semantic import SemanticModel
from seg.training.loading.datamodule import SegmentationData
from seg.training.step import batch_size
from seg.training.step.batch_size import CpuMeter, TrialSteps, extrapolated, find_batch_size, growths, largest, largest_sample

GIB = 2**30


@pytest.mark.parametrize("least", [1, 2])
def test_the_largest_that_fits_is_found_in_few_trials(least: int) -> None:
    for most in range(least, 40):
        for limit in range(45):
            asked: list[int] = []
            found = largest(lambda n, limit=limit, asked=asked: asked.append(n) or n <= limit, least, most)  # type: ignore[func-returns-value]
            assert found == (min(limit, most) if limit >= least else 0)
            assert len(asked) == len(set(asked)) <= 2 * np.log2(most) + 2
            assert all(least <= n <= most for n in asked)


@pytest.mark.parametrize("fixed", [0, 100, 400])
@pytest.mark.parametrize("least", [1, 2])
def test_trials_stay_below_the_limit_and_more_is_extrapolated(fixed: int, least: int) -> None:
    """Memory that grows with the images, beside a part that does not: the very number that fits, never a trial that would not."""
    for each in (7, 50, 333):
        for limit in (500, 1000, 5000):
            for most in (least, 3, 64):
                tried: dict[int, float] = {}

                def peak(n: int, each: int = each, tried: dict[int, float] = tried) -> float:
                    return tried.setdefault(n, fixed + each * n)

                found = extrapolated(growths(peak, limit, least, most), limit, most)
                assert all(size <= limit for n, size in tried.items() if n > least)
                assert fixed + each * found <= limit or found == 0
                exact = min(most, (limit - fixed) // each)
                if len(tried) > 1:
                    assert found == exact
                else:
                    assert found <= max(0, exact)


def test_the_costliest_image_counts_and_a_failed_trial_is_a_bound() -> None:
    assert extrapolated({1: 10.0, 2: 12.0, 4: 32.0}, 100.0, 64) == 4 + 6
    assert extrapolated({1: 10.0, 2: 20.0, 4: float("inf")}, 100.0, 64) == 3
    assert extrapolated({1: float("inf")}, 100.0, 64) == 0


def model_of(network: nn.Module) -> SemanticModel:
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits.float(), labels.long(), ignore_index=255)

    return SemanticModel(network, loss, ["a"] * 6, [120.0] * 3, [60.0] * 3, 1, 1.0, 0.0)


def trainer_of(model: nn.Module, precision: Precision | None = None) -> Any:
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(
        strategy=strategy, optimizers=[optimizer], num_devices=1, is_global_zero=True, precision_plugin=precision or Precision()
    )


def data_of(prepared: Path, policy: Any = None) -> SegmentationData:
    return SegmentationData(prepared, None, policy, 8, 8, 0, 0, False)


class Endless:
    """A device on which memory errors alone tell the limit."""

    limit = float(GIB)

    def __init__(self, *_: object) -> None: ...

    def peak(self, step: Any) -> float:
        step()
        return 0.0


@pytest.fixture
def by_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search as on a GPU: doubling and bisecting until memory errors come."""
    monkeypatch.setattr(batch_size, "meter_of", Endless)
    monkeypatch.setattr(batch_size, "SHARED", ())
    monkeypatch.setattr("seg.models.hardware.gc.collect", int)  # slow beside all that tests import


@pytest.mark.usefixtures("by_errors")
@pytest.mark.parametrize(("at_most", "step", "found"), [(5, 16, 5), (100, 6, 6), (1, 4, 1)])
def test_the_limit_of_a_device_is_found(prepared: Path, at_most: int, step: int, found: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of(Limited(3, 6, at_most))
    assert find_batch_size(trainer_of(model), model, data_of(prepared), step) == found
    said = f"trainer.batch_size=auto: {found} images at once on cpu, of the {step} that each device has in a step\n"
    assert capsys.readouterr().out == said


@pytest.mark.usefixtures("by_errors")
def test_nothing_moves_in_the_search(prepared: Path) -> None:
    """Weights, statistics, random numbers, optimizer: though trials under autocast take steps, and one fails."""
    model = model_of(Limited(3, 6, 5))
    trainer = trainer_of(model, MixedPrecision("bf16-mixed", "cpu"))
    before, random = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    optimizer = copy.deepcopy(trainer.optimizers[0].state_dict())
    assert find_batch_size(trainer, model, data_of(prepared), 16) == 5
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert trainer.optimizers[0].state_dict() == optimizer
    assert all(p.grad is None for p in model.parameters())


def test_a_trial_holds_the_optimizers_state(prepared: Path) -> None:
    model = model_of(Limited(3, 6, 5))
    trainer = trainer_of(model)
    with TrialSteps(trainer, model, trainer.optimizers[0], largest_sample(data_of(prepared))) as trial:
        assert trial.least(Endless()) == 1
        assert len(trainer.optimizers[0].state) == len(list(model.parameters()))


@pytest.mark.usefixtures("by_errors")
def test_too_little_memory_is_said(prepared: Path) -> None:
    model = model_of(Limited(3, 6, 0))
    with pytest.raises(ConfigError, match=r"^trainer\.batch_size=auto: 1 image\(s\) of this size do not fit into the memory of cpu; use"):
        find_batch_size(trainer_of(model), model, data_of(prepared), 4)
    pooled = model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), Limited(3, 6, 1), nn.Upsample((48, 48))))
    with pytest.raises(ConfigError, match=r"auto: 2 image\(s\) of this size do not fit"):
        find_batch_size(trainer_of(pooled), pooled, data_of(prepared), 4)


@pytest.mark.usefixtures("by_errors")
def test_no_part_of_a_step_is_too_small_for_batch_norm(prepared: Path) -> None:
    pooled = model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), Limited(3, 6, 2), nn.Upsample((48, 48))))
    assert find_batch_size(trainer_of(pooled), pooled, data_of(prepared), 4) == 2
    with pytest.raises(ConfigError, match=r"2 images fit on cpu at once, and batch normalisation needs 2 in each part of a step of 5"):
        find_batch_size(trainer_of(pooled), pooled, data_of(prepared), 5)


def test_the_image_that_is_tried_is_as_large_as_augmentation_draws_it(prepared: Path, make_config: MakeConfig) -> None:
    config = make_config()
    crop = type(config.model.network)(_target_="albumentations.RandomCrop", height=32, width=24, p=1.0)
    policy = compile_policy(config.augment.model_copy(update={"transforms": [crop]}), config.targets.allow)
    assert largest_sample(data_of(prepared)).size == (48, 48)
    assert largest_sample(data_of(prepared, policy)).size == (32, 24)


def test_growth_on_a_cpu_is_seen_though_it_lasts_a_moment() -> None:
    def step() -> None:
        torch.ones(200 * 2**20, dtype=torch.uint8)

    meter = CpuMeter(1)
    assert 150 * 2**20 < meter.peak(step) < 400 * 2**20
    assert 0 < meter.limit < psutil.virtual_memory().total
