"""How good a network is on labelled images, and how fast networks are on this machine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from seg.loading.dataset import PreparedData
from seg.metrics.base import metrics_of
from seg.metrics.bootstrap import intervals
from seg.settings.task import Task
from seg.tiles.network import Network
from seg.tiles.tiled import in_window

RESAMPLES, LEVEL = 1000, 0.95  # of the interval


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure that training monitors, and the interval that it would move in with other images (`seg.metrics.bootstrap`)."""

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f}"


def figure_of(network: Network, data: PreparedData, split: str, task: Task, allow: Sequence[str]) -> Figure:
    """Of all images of a split."""
    metrics = metrics_of(task, allow, data.info, score_threshold=network.facts.threshold(None))
    seen, image_ids = in_window(network, data.eval_batch_size), list[str]()
    for batch in data.split_dataloader(split, False):
        metrics.update(batch, seen.facts.finished(seen.predict(batch.images)))
        image_ids += batch.image_ids
    limits = intervals(lambda weights: metrics.resampled(image_ids, weights), len(image_ids), RESAMPLES, 0, LEVEL)
    return Figure(task.monitor, metrics.figures()[task.monitor], *limits.get(task.monitor, (float("nan"),) * 2))


def times_of(networks: Mapping[str, Network], images: Tensor, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds that each takes for a batch (B, C, H, W) uint8: in turns, so that what else the machine does meets all alike.

    rounds: at least two, and as many more as `seconds` have room for."""
    found: dict[str, list[float]] = {name: [] for name in networks}
    started, done = time.perf_counter(), 0
    while done < 3 or (done <= rounds and time.perf_counter() - started < seconds):
        for name, network in networks.items():
            before = time.perf_counter()
            with torch.inference_mode():
                network.predict(images)
            if done:  # the first round warms up
                found[name].append(time.perf_counter() - before)
        done += 1
    return found


def table_of(times: Mapping[str, Sequence[float]], notes: Mapping[str, str]) -> list[str]:
    """Lines: the name, the median in milliseconds, how many times as fast as the first, and the note of each."""
    width = max(map(len, notes))
    first = median(next(iter(times.values())))
    rows = []
    for name, note in notes.items():
        cells = f"{1000 * median(times[name]):8.1f} ms {first / median(times[name]):6.2f} x" if name in times else " " * 20
        rows.append(f"  {name:<{width}} {cells}  {note}")
    return [row.rstrip() for row in rows]
