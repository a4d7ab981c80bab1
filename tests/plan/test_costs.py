"""What a training step of a configuration costs on this machine."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import MakeConfig

from seg.core.errors import ConfigError
from seg.data.store import DatasetInfo, read_info
from seg.plan import costs
from seg.plan.costs import measure
from seg.plan.facts import Seen, look
from seg.plan.rules.length import Cost
from seg.settings.section import Params

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(prepared: Path) -> tuple[DatasetInfo, Seen]:
    info = read_info(prepared)
    return info, look(prepared, info, False)


@pytest.fixture
def params(make_config: MakeConfig) -> Params:
    return make_config().model_dump(mode="json", by_alias=True)


def cost(params: Params, data: tuple[DatasetInfo, Seen], *, width: int = 4, batch: int = 2, **trainer: Any) -> Cost:
    """Of a U-Net whose decoder has so many channels, on so many images."""
    layers = {
        "_target_": "segmentation_models_pytorch.Unet",
        "encoder_name": "resnet18",
        "encoder_depth": 3,
        "decoder_channels": [width] * 3,
    }
    model = params["model"] | {"network": layers, "stride": 8}
    return measure(
        params | {"model": model, "trainer": params["trainer"] | {"batch_size": batch} | trainer}, data[0], data[1].samples, "32-true", CPU
    )


def test_the_smaller_network_and_the_smaller_step_cost_less(
    params: Params, data: tuple[DatasetInfo, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the processor's time of one thread, which other programs do not change."""
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=time.process_time, thread_time=time.thread_time))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    small, wide, many = cost(params, data), cost(params, data, width=128), cost(params, data, batch=16)
    torch.set_num_threads(threads)
    assert 0 < small.step < wide.step
    assert 0 < small.forward < wide.forward
    assert small.step < many.step
    assert small.step > small.forward  # of one image, and without a backward pass
    assert small.memory >= 0


def test_a_step_of_micro_batches_has_all_its_images(
    params: Params, data: tuple[DatasetInfo, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(costs, "_times", lambda model, batch, *_: seen.append(len(batch)) or (1.0, 1.0, 2.0, 3.0))
    assert cost(params, data, batch=5) == Cost(1.0, 2.0, 3.0)
    cost(params, data, batch=5, effective_batch_size=20)  # more than there are samples
    assert seen == [5, 20]


def test_an_image_seen_in_tiles_costs_their_overlap(
    params: Params, data: tuple[DatasetInfo, Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timed on 32 x 32 of 48 x 48 pixels: 2.25 times that, each pixel in 16 / 9 tiles. Two devices share a step of 8 images."""
    seen = []
    monkeypatch.setattr(costs, "_times", lambda *given: seen.append((given[4].shape, len(given[1]))) or (1.0, 1.0, 2.0, 3.0))
    windowed = params | {"model": params["model"] | {"window": 32}, "trainer": params["trainer"] | {"effective_batch_size": 8}}
    found = measure(windowed, data[0], data[1].samples, "32-true", CPU, devices=2)
    assert found.forward == pytest.approx(2.0 * 2.25 * 16 / 9)
    assert seen == [((32, 32, 3), 4)]


def test_a_policy_that_cannot_be_built_is_one_line(params: Params, data: tuple[DatasetInfo, Seen]) -> None:
    with pytest.raises(ConfigError, match=r"^augment: "):
        cost(params | {"augment": params["augment"] | {"crop": {"size": "large", "foreground": 0.3}}}, data)


@pytest.mark.parametrize(
    ("taken", "runs", "found"),
    [
        ([5.0, 3.0, 4.0], 3, 3.0),  # long steps: three
        ([0.3, 0.9, 0.2, 0.1, 0.05], 3, 0.2),  # a second is over
        ([0.3, 0.3, 0.3, 0.2, 0.1], 4, 0.2),
        ([0.01] * 19 + [0.005, 0.001], 20, 0.005),  # short ones: twenty
    ],
    ids=str,
)
def test_the_quickest_of_some_runs_counts(taken: list[float], runs: int, found: float, monkeypatch: pytest.MonkeyPatch) -> None:
    left = list(taken)
    monkeypatch.setattr(costs, "_seconds", lambda work, device: (left[0], left.pop(0)))
    assert costs._quickest(lambda: None, CPU) == (found, found)
    assert len(taken) - len(left) == runs


def test_a_busy_moment_makes_no_other_plan(params: Params, data: tuple[DatasetInfo, Seen], monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a core is not work: a step that lasts longer by half a second takes as long as before, and is said to be slowed."""
    quiet, wait = cost(params, data).step, time.sleep
    losses = costs.named_losses
    monkeypatch.setattr(costs, "named_losses", lambda *given: wait(0.5) or losses(*given))
    found = cost(params, data)
    assert found.step < quiet + 0.25
    assert found.slowed > (0.5 + found.step) / found.step * 0.8
