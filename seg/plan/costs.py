"""What a training step of a configuration costs on this machine: measured by some steps on real images."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from seg.augment.policy import compile_policy
from seg.augment.settings import Augment, CopyPaste
from seg.core.errors import ConfigError
from seg.data.sample import Sample
from seg.data.store import DatasetInfo
from seg.loading.batch import Batch, collate
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.hardware import autocast, set_float32_matmul
from seg.models.settings import NetworkSettings
from seg.plan.rules.length import Cost
from seg.runtime.threads import Threads, threads_of
from seg.settings.section import Params
from seg.tiles.tiled import window_tiling
from seg.training.step.batch_size import meter_of
from seg.training.step.step import named_losses, to_device

FEWEST, MOST, SECONDS = 3, 20, 1.0
"""Runs that are timed: as many as these seconds hold, within bounds. The quickest counts, as other programs only make a run longer."""
BUSY = 1.5
"""Times as long as alone, from which on a step is said to be slowed by other programs."""


def measure(params: Params, info: DatasetInfo, samples: Sequence[Sample], precision: str, device: torch.device, devices: int = 1) -> Cost:
    """The cost of a step with these settings, whose values are all set.

    samples: of the training split; they are repeated until a batch is full, and cut as training cuts them. devices: that share a step."""
    cfg = NetworkSettings.of(params)
    torch.manual_seed(0)
    model = build_model(cfg, info, pretrained=False).to(device)
    trainer = params["trainer"]
    set_float32_matmul(trainer["float32_matmul"], device)
    if trainer["channels_last"]:
        model = model.to(memory_format=torch.channels_last)
    images = max(1, trainer["effective_batch_size"] // devices) if trainer["effective_batch_size"] else trainer["batch_size"]
    batch = to_device(collate(_drawn(params, samples, images)), device)
    height, width = samples[0].size
    window = params["model"]["window"] or max(height, width)
    image = samples[0].image[:window, :window]
    threads = threads_of(params["runtime"]["threads"], say=lambda _: None) if device.type == "cpu" else None
    share = info.statistics["height"]["median"] * info.statistics["width"]["median"] / (image.shape[0] * image.shape[1])
    step, slowed, forward, memory = _times(model, batch, precision, device, image, threads)
    overlap = window_tiling(window).overlap if window < max(height, width) else 0.0
    return Cost(step, forward * share / (1 - overlap) ** 2, memory, slowed if slowed > BUSY else 1.0)


def _times(
    model: SegmentationModel, batch: Batch, precision: str, device: torch.device, image: np.ndarray, threads: Threads | None
) -> tuple[float, float, float, float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True)

    def step() -> None:
        with autocast(precision, device):
            loss = named_losses(model, batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    peak = meter_of(device, 1).peak(step)
    while threads and threads.choosing:  # as training will
        with threads.timed(1.0):
            step()
    own, lasted = _quickest(step, device)
    model.eval()
    images = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device)

    def forward() -> None:
        with torch.inference_mode(), autocast(precision, device):
            model.predict(images)

    forward()
    return own, lasted / own, _quickest(forward, device)[0], peak


def _quickest(work: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """See `_seconds`."""
    taken: list[tuple[float, float]] = []
    while len(taken) < FEWEST or (sum(lasted for _, lasted in taken) < SECONDS and len(taken) < MOST):
        taken.append(_seconds(work, device))
    return min(own for own, _ in taken), min(lasted for _, lasted in taken)


def _seconds(work: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """How long the work takes alone, and how long it lasted. On a CPU the thread that calls has a part in all of it, so the seconds that
    this thread has a core for are those of the work alone: a plan is for the training's hours, and not for a busy moment."""
    started, own = time.perf_counter(), time.thread_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    lasted = time.perf_counter() - started
    return (time.thread_time() - own if device.type == "cpu" else lasted), lasted


def _drawn(params: Params, samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many samples, cropped as the policy crops."""
    augment: dict[str, Any] = {**params["augment"], "transforms": []}
    try:
        policy = compile_policy(Augment.model_validate(augment).model_copy(update={"copy_paste": CopyPaste(p=0.0, max_instances=None)}), [])
    except ValueError as error:
        raise ConfigError(f"augment: {error}") from None
    return [policy(sample, seed) for seed, sample in enumerate(islice(cycle(samples), count))]
