"""`trainer.batch_size=auto`: the most images that fit on a device at once, by trial steps of the real network before it trains."""

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import lightning.pytorch as pl
import psutil
import torch
from torch import Tensor

from seg.core.environment import available_memory
from seg.core.errors import ConfigError
from seg.data.sample import Sample
from seg.loading.batch import Batch, collate
from seg.models.base import SegmentationModel
from seg.models.dry_run import ONE_VALUE
from seg.models.hardware import empty_cache, is_out_of_memory, recover
from seg.training.loading.datamodule import DrawnDataset, SegmentationData
from seg.training.step.exchange import Agreement, own_statistics
from seg.training.step.limits import ADVICE
from seg.training.step.step import Snapshot, named_losses, to_device

SHARED = ("cpu",)  # devices whose memory is the machine's: a trial that fails would have driven it into swap
TRIALS = (1, 2, 4)  # images of the trials on a CPU, from which its memory for more is extrapolated
GPU_MARGIN = 0.1  # share of the memory that stays free: fragments, and images of instances that are fuller than the one that was tried
CPU_MARGIN = 0.25  # the same of main memory, which other programs want too, and which is extrapolated into


@dataclass(frozen=True, slots=True)
class Meter:
    """limit: bytes that a step may take. peak: takes the step -> the bytes that were in use at its fullest."""

    limit: float
    peak: Callable[[Callable[[], None]], float]


def find_batch_size(trainer: pl.Trainer, model: SegmentationModel, data: SegmentationData, most: int) -> int:
    """The largest number of images, at most `most`, that every device of the training takes at once; says what was found.

    Model, optimizer and random state are as before afterwards. ConfigError where one image, or as many as batch
    normalisation needs, do not fit."""
    device = trainer.strategy.root_device
    optimizer = trainer.optimizers[0]
    meter = meter_of(device, trainer.num_devices)
    # uncompiled: graphs of the trials' numbers of images would serve no step
    with torch.compiler.set_stance("force_eager"), TrialSteps(trainer, model, optimizer, largest_sample(data)) as trial:
        least = trial.least(meter)
        if device.type in SHARED:
            found = extrapolated(growths(lambda n: trial.peak(meter, n), meter.limit, least, most), meter.limit, most)
        else:
            found = largest(lambda n: trial.peak(meter, n) <= meter.limit, least, most)
    found = -Agreement().largest([-found])[0]
    if found < least:
        raise ConfigError(f"trainer.batch_size=auto: {least} image(s) of this size do not fit into the memory of {device}; {ADVICE}")
    if most // -(-most // found) < least:
        raise ConfigError(
            f"trainer.batch_size=auto: {found} images fit on {device} at once, and batch normalisation needs {least} in each part of a "
            f"step of {most}; set trainer.effective_batch_size to a multiple of {found} for each device"
        )
    if trainer.is_global_zero:
        print(f"trainer.batch_size=auto: {found} images at once on {device.type}, of the {most} that each device has in a step", flush=True)
    return found


def largest_sample(data: SegmentationData) -> Sample:
    """The largest image of the training split, of equal ones that with most instances, as augmentation draws it. Crops are equal."""
    dataset = DrawnDataset(data.training_folders, data.info.channels, data.policy, data.with_instances)

    def size(index: int) -> tuple[int, int]:
        folder, entry = dataset.rows[index]
        area = 0 if data.policy and data.policy.crop else entry.height * entry.width
        return area, len(dataset.annotations[folder].get(entry.file, ())) if dataset.annotations else 0

    return dataset[max(range(len(dataset)), key=size), data.seed]


def largest(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest number from `least` to `most` that fits, 0 if none does: doubled until one does not, then bisected."""
    good, bad, number = 0, most + 1, min(least, most)
    while number < bad:
        if fits(number):
            good, number = number, min(2 * number, most) if number < most else bad
        else:
            bad = number
    while good and bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def growths(peak: Callable[[int], float], limit: float, least: int, most: int) -> dict[int, float]:
    """{images: bytes} of the trials that are sure to stay below the limit: each is taken to need at most twice its predecessor's."""
    found: dict[int, float] = {}
    for number in (n * least for n in TRIALS if n * least <= most):
        if found and 2 * found[number // 2] > limit:
            break
        found[number] = peak(number)
    return found


def extrapolated(found: Mapping[int, float], limit: float, most: int) -> int:
    """The images that fit below the limit, if each further one takes as much as the costliest of those that were tried."""
    counts = [n for n in found if found[n] <= limit]
    if not counts:
        return 0
    too_many = min((n for n in found if found[n] > limit), default=most + 1)
    costs = [(found[b] - found[a]) / (b - a) for a, b in pairwise(counts)] or [found[counts[0]] / counts[0]]
    return min(most, too_many - 1, counts[-1] + int((limit - found[counts[-1]]) / max(*costs, 1.0)))


class TrialSteps:
    """Steps of copies of one image. Within the `with` the weights move; after it all is as it was.

    Ranks make other numbers of trials where their memory differs, so nothing in a trial may wait for another rank."""

    def __init__(self, trainer: pl.Trainer, model: SegmentationModel, optimizer: torch.optim.Optimizer, sample: Sample) -> None:
        self.trainer, self.model, self.optimizer, self.sample = trainer, model, optimizer, sample
        self.device = trainer.strategy.root_device
        self.before = Snapshot(model, self.device)

    def __enter__(self) -> "TrialSteps":
        if self.optimizer.state:
            raise ValueError("a trial belongs before the first step: the optimizer has a state already")
        self.before.take()
        self.share_statistics = own_statistics(self.model)
        self.weights = [p.detach().to("cpu", copy=True) for p in self.model.parameters()]
        return self

    def __exit__(self, *_: object) -> None:
        self.share_statistics()
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        with torch.no_grad():
            for parameter, weights in zip(self.model.parameters(), self.weights, strict=True):
                parameter.copy_(weights)
        self.before.restore()
        empty_cache(self.device)

    def least(self, meter: Meter) -> int:
        """1, or 2 where batch normalisation cannot learn from a single image. A step is taken, so that the optimizer has its state."""
        try:
            self.peak(meter, 1)
        except ValueError as error:
            if ONE_VALUE not in str(error):
                raise
            return 2
        return 1

    def peak(self, meter: Meter, images: int) -> float:
        """Bytes that a step with so many images took at most; infinitely many if memory ran out."""
        batch = collate([self.sample] * images)
        peak = math.inf
        try:
            peak = meter.peak(lambda: self._step(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self.optimizer.zero_grad()
        (empty_cache if math.isfinite(peak) else recover)(self.device)
        return peak

    def _step(self, batch: Batch) -> None:
        with self.trainer.precision_plugin.forward_context():
            loss: Tensor = named_losses(self.model, to_device(batch, self.device))["loss"]
        loss.backward()
        del loss
        self.optimizer.step()


def meter_of(device: torch.device, ranks: int) -> Meter:
    """ranks: of this training on this machine, which share a CPU's memory."""
    if device.type == "cpu":
        meter = CpuMeter(ranks)
        return Meter(meter.limit, meter.peak)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return Meter((1 - GPU_MARGIN) * (free + torch.cuda.memory_reserved(device)), partial(_peak_on_cuda, device))
    return Meter((1 - GPU_MARGIN) * torch.mps.recommended_max_memory(), _peak_on_mps)


def _peak_on_cuda(device: torch.device, step: Callable[[], None]) -> float:
    """What torch allocates on a GPU, against what other programs leave of it."""
    torch.cuda.reset_peak_memory_stats(device)
    step()
    torch.cuda.synchronize(device)
    return float(torch.cuda.max_memory_allocated(device))


def _peak_on_mps(step: Callable[[], None]) -> float:
    """What Metal holds for torch, against what it recommends at most. Freed memory stays in its cache, so the end tells the peak."""
    step()
    torch.mps.synchronize()
    return float(torch.mps.driver_allocated_memory())


class CpuMeter:
    """Growth of this process, against what is available without swapping, shared by `ranks`."""

    def __init__(self, ranks: int) -> None:
        if sys.platform.startswith("linux") and (give_back := getattr(ctypes.CDLL(None), "malloc_trim", None)):
            give_back(0)  # what glibc keeps (`seg.core.environment.keep_freed_memory`) would be used again, and growth go unseen
        self.process = psutil.Process()
        self.start: int = self.process.memory_info().rss
        self.limit = (1 - CPU_MARGIN) * available_memory() / ranks

    def peak(self, step: Callable[[], None]) -> float:
        done, highest = threading.Event(), [self.start]

        def watch() -> None:
            while not done.wait(0.002):
                highest.append(max(highest.pop(), self.process.memory_info().rss))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            step()
        finally:
            done.set()
            watcher.join()
        return float(max(highest[0], self.process.memory_info().rss) - self.start)
