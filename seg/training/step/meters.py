"""How much memory a device has for a training, and how much of it a step takes."""

import ctypes
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
import torch

from seg.core.machine import available_memory

GPU_MARGIN = 0.1  # share of the memory that stays free: fragments, and images of instances that are fuller than the one that was tried

CPU_MARGIN = 0.25  # the same of main memory, which other programs want too, and which is extrapolated into


@dataclass(frozen=True, slots=True)
class Meter:
    """limit: bytes that a step may take. peak: takes the step -> the bytes that were in use at its fullest."""

    limit: float
    peak: Callable[[Callable[[], None]], float]


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
        trim()  # what was freed and kept would be used again, and growth go unseen
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


def trim() -> None:
    """Have glibc give back the memory that it keeps (see `seg.core.environment.keep_freed_memory`)."""
    if sys.platform.startswith("linux"):
        give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if give_back:
            give_back(0)
