"""What a training split looks like: counts of each image, and the statistics in dataset.json that are made of their sums."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np

from seg.data.labelmaps import add_up
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo, Sample

PERCENTILES = {"p0.5": 0.5, "p50": 50.0, "p99.5": 99.5}  # of intensities
SIZE_PERCENTILES = {"min": 0.0, "p5": 5.0, "p25": 25.0, "p50": 50.0, "p75": 75.0, "p95": 95.0, "max": 100.0}  # of instances


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels of one image, or of several: class_pixels (256,) int64 by class index; histogram and foreground (C, 256) int64 by value.
    Foreground are the pixels of all classes but `background`."""

    class_pixels: np.ndarray
    histogram: np.ndarray
    foreground: np.ndarray

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.class_pixels + other.class_pixels, self.histogram + other.histogram, self.foreground + other.foreground)


def count(sample: Sample, background: int | None) -> Counts:
    """The counts of one sample. background: the class index of pixels that are no foreground, or None."""
    image, (height, width), channels = np.ascontiguousarray(sample.image), sample.size, sample.image.shape[2]
    semantic = np.ascontiguousarray(sample.semantic)
    class_pixels = np.zeros(256, np.int64)
    is_foreground = np.ones(256, np.uint32)
    is_foreground[[IGNORE] if background is None else [IGNORE, background]] = 0
    values = np.zeros((2, 2, channels, 256), np.uint32)  # two tables: equal values in a row would wait for each other in one
    rows = max(1, (1 << 30) // (width * channels))  # 32-bit counts and places
    total = np.zeros((2, channels, 256), np.int64)
    for top in range(0, height, rows):
        values[:] = 0
        part = semantic[top : top + rows].reshape(-1)
        add_up(part[:, None], class_pixels)
        _count_values(image[top : top + rows].reshape(-1), part, is_foreground, channels, values.reshape(-1))
        total += values.sum(axis=0, dtype=np.int64)
    return Counts(class_pixels, total.sum(axis=0), total[1])


def background_index(classes: Sequence[ClassInfo]) -> int | None:
    """The place of the class `background`, or None."""
    return next((i for i, c in enumerate(classes) if c.name == BACKGROUND), None)


def mean_and_std(histogram: np.ndarray) -> tuple[list[float], list[float]]:
    """A channel's mean and standard deviation over all pixels, from counts (C, 256); 0..255. Zeros where nothing was counted."""
    levels = np.arange(256)
    total = np.maximum(histogram.sum(axis=1), 1)
    mean = histogram @ levels / total
    std = np.sqrt(np.maximum(histogram @ levels**2 / total - mean**2, 0))
    return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]


def percentile(counts: np.ndarray, q: float) -> float:
    """The q-th percentile (0..100) of the values 0, 1, 2, ... that `counts` (N,) counts: numpy.percentile's, linear, of them all."""
    below = np.cumsum(counts)
    place = q / 100 * (below[-1] - 1)
    low, high = (int(np.searchsorted(below, np.floor(p), side="right")) for p in (place, min(place + 1, below[-1] - 1)))
    return low + (high - low) * float(place - np.floor(place))


@dataclass(slots=True)
class Gathered:
    """What the images of a split amount to; `add` takes one after another, so that none has to be kept."""

    counts: Counts | None = None
    class_images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    class_image_pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # labelled ones, of those images
    sizes: list[tuple[int, int]] = field(default_factory=list)
    spacings: list[tuple[float, float]] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)  # an image
    boxes: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)  # by class: area, height, width

    def add(self, counts: Counts, size: tuple[int, int], spacing: tuple[float, float] | None, annotations: list[dict[str, Any]]) -> None:
        """One image. size: height, width. annotations: as in COCO."""
        self.counts = counts if self.counts is None else self.counts + counts
        self.class_images += counts.class_pixels > 0
        self.class_image_pixels += (counts.class_pixels > 0) * counts.class_pixels[:IGNORE].sum()
        self.sizes.append(size)
        if spacing:
            self.spacings.append(spacing)
        counted = [a for a in annotations if not a["iscrowd"] and a["area"]]
        self.instances.append(len(counted))
        for a in counted:
            self.boxes.setdefault(a["category_id"], []).append((a["area"], a["bbox"][3], a["bbox"][2]))


def summarise(gathered: Gathered, classes: Sequence[ClassInfo]) -> dict[str, Any]:
    """The statistics of a split; docs/data.md says what each key means."""
    counts = gathered.counts
    assert counts is not None
    sizes, sides, pixels = np.array(gathered.sizes), np.array(gathered.spacings), counts.class_pixels[: len(classes)]
    mean, std = mean_and_std(counts.foreground)
    counted = counts.foreground[0].any()
    return {
        "height": _spread(sizes[:, 0]),
        "width": _spread(sizes[:, 1]),
        "spacing": {"num_images": len(sides), "height": _spread(sides[:, 0]), "width": _spread(sides[:, 1])} if len(sides) else None,
        "foreground": {
            "pixels": int(counts.foreground[0].sum()),
            "mean": mean if counted else None,
            "std": std if counted else None,
            **{name: [round(percentile(c, q), 4) for c in counts.foreground] if counted else None for name, q in PERCENTILES.items()},
        },
        "class_shares": [round(float(n), 6) for n in pixels / max(1, int(pixels.sum()))],
        "class_images": gathered.class_images[: len(classes)].tolist(),
        "instances_per_image": _spread(gathered.instances) | {"mean": round(float(np.mean(gathered.instances)), 4)},
        "instances": {classes[index].name: _sizes(np.array(gathered.boxes[index])) for index in sorted(gathered.boxes)},
    }


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {"min": _plain(np.min(values)), "median": _plain(np.median(values)), "max": _plain(np.max(values))}


def _sizes(boxes: np.ndarray) -> dict[str, Any]:
    """boxes: (N, 3) area, height, width."""
    columns = zip(("area", "height", "width"), boxes.T, strict=True)
    found = {name: {key: _plain(np.percentile(values, q)) for key, q in SIZE_PERCENTILES.items()} for name, values in columns}
    return {"count": len(boxes), **found}


def _plain(value: Any) -> float:
    """Whole numbers as such, others with six digits after the point."""
    return int(value) if float(value).is_integer() else round(float(value), 6)


@numba.njit(nogil=True, cache=True)
def _count_values(values: np.ndarray, labels: np.ndarray, is_foreground: np.ndarray, channels: int, counts: np.ndarray) -> None:
    """counts: flat (2, 2, channels, 256); the even and the odd pixels, each not in the foreground and in it. Unsigned 32-bit places spare
    the look whether one is negative, and three channels have no loop: twice as fast."""
    one, level, place = np.uint32(1), np.uint32(256), np.uint32(0)
    step = np.uint32(channels * 256)
    for i in range(len(labels)):
        at = is_foreground[labels[i]] * step + (np.uint32(i) & one) * (step + step)
        if channels == 3:
            counts[at + values[place]] += one
            counts[at + level + values[place + one]] += one
            counts[at + level + level + values[place + one + one]] += one
            place += np.uint32(3)
        else:
            for _ in range(channels):
                counts[at + values[place]] += one
                at += level
                place += one
