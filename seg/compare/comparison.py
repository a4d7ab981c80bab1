"""How far apart two evaluations of the same images are, and how surely: a paired bootstrap, see `seg.metrics.bootstrap`.

Each draw of the images gives a figure of each run, and their difference. What is hard or easy in an image moves both runs alike and
cancels, so the interval of the difference is narrower than the two runs' own intervals make believe."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seg.data.sample import ClassInfo
from seg.evaluation.settings import Bootstrap
from seg.metrics.base import ImageScore, Metrics
from seg.metrics.bootstrap import DEFINED, Limits, Moved, by_images, limits_of, moved
from seg.report.page_data import InTurn, Outlines


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure of one run, and where it would lie with other images; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A run's figure less the first run's, and where that would lie with other images; NaN where undefined.

    above: the share of the draws in which the run's figure is above the first's."""

    first: float
    value: float
    difference: float
    low: float
    high: float
    above: float

    @property
    def decided(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Paired:
    """intervals: of each run, {figure: its interval}. differences: of each run but the first, {figure: its difference}."""

    intervals: list[dict[str, Interval]]
    differences: list[dict[str, Difference]]


def paired(runs: Sequence[Metrics], tiles: Mapping[str, Sequence[str]], bootstrap: Bootstrap) -> Paired:
    """Compare runs that saw the same images with the first of them, on the very same draws of the images. tiles: as `by_images` has them.

    Intervals are NaN where fewer than 95 % of the draws are defined, or where there are none."""
    figures, count = [run.figures() for run in runs], len(tiles)
    drawn = [moved(by_images(run.resampled, tiles), count, bootstrap.resamples, bootstrap.seed) for run in runs]
    limits = [limits_of(one, count, bootstrap.seed, bootstrap.level) for one in drawn]
    intervals = [{n: Interval(v, *own.get(n, NO_LIMITS)) for n, v in values.items()} for values, own in zip(figures, limits, strict=True)]
    differences = []
    for values, one in zip(figures[1:], drawn[1:], strict=True):
        apart = {name: one[name].less(drawn[0][name]) for name in one if name in drawn[0]}
        within = limits_of(apart, count, bootstrap.seed, bootstrap.level, differences=True)
        both = [(name, first, values[name]) for name, first in figures[0].items() if name in values]
        differences.append({n: Difference(a, b, b - a, *within.get(n, NO_LIMITS), _above(apart.get(n))) for n, a, b in both})
    return Paired(intervals, differences)


NO_LIMITS: Limits = (math.nan, math.nan)


def _above(apart: Moved | None) -> float:
    """The share of the draws in which a difference is above 0; NaN where it is seldom defined."""
    known = apart.draws[np.isfinite(apart.draws)] if apart else np.zeros(0)
    return float((known > 0).mean()) if apart and len(known) and len(known) >= DEFINED * len(apart.draws) else math.nan


@dataclass(frozen=True, slots=True)
class ImageScores:
    """One image's score in each run; NaN where it has none."""

    image_id: str
    scores: tuple[float, ...]

    def difference(self, other: int) -> float:
        """The score of a run, by its place, less the first run's."""
        return self.scores[other] - self.scores[0]

    @property
    def largest(self) -> float:
        """The difference to the first run that is farthest from 0; NaN where none is defined."""
        apart = [d for d in map(self.difference, range(1, len(self.scores))) if math.isfinite(d)]
        return max(apart, key=abs, default=math.nan)


def scores_by_image(runs: Sequence[Mapping[str, ImageScore]]) -> list[ImageScores]:
    """The scores of each image, by image_id; runs: {image_id: its score} of each."""
    return [ImageScores(image_id, tuple(run[image_id].score for run in runs)) for image_id in sorted(runs[0])]


def extremes(images: Sequence[ImageScores], other: int, most: int) -> tuple[list[ImageScores], list[ImageScores]]:
    """The images in which a run is above the first, farthest first, and those in which it is below; `most` of each at most."""
    known = [image for image in images if math.isfinite(image.difference(other))]
    ordered = sorted(known, key=lambda image: (-abs(image.difference(other)), image.image_id))
    gains, losses = ([image for image in ordered if sign * image.difference(other) > 0] for sign in (1, -1))
    return gains[:most], losses[:most]


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image on which a run differs from the first.

    other: the place of that run. image: (H, W, C) uint8. truth, and predicted by each run: all (H, W) uint8 class maps, 255 = ignore,
    or all `Outlines`. apart: where the two runs disagree, as `seg.compare.gallery.compare_maps` has it, or the `Outlines` of
    the instances over which they do. kinds: of disagreements, in words, with a count or a share of the image."""

    scores: ImageScores
    other: int
    image: np.ndarray
    truth: np.ndarray | Outlines
    predicted: Sequence[np.ndarray | Outlines]
    apart: np.ndarray | Outlines
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that the page shows; what is empty is left out.

    runs: their names, the first being that with which the others are compared. monitor: the figure that the training watched. level,
    resamples: of the intervals. epochs: of each run's checkpoint. settings: those that differ, by dotted keys, with each run's value.
    per_class: of each run, {class: its figures}, NaN where undefined. score_name: of the images' scores. gallery: asked for one entry
    after another, once each. said: which images are left out, and why."""

    runs: Sequence[str]
    split: str
    classes: Sequence[ClassInfo]
    monitor: str
    paired: Paired
    level: float
    resamples: int
    epochs: Sequence[int]
    settings: Mapping[str, Sequence[Any]]
    per_class: Sequence[Mapping[str, Mapping[str, float]]]
    score_name: str
    images: Sequence[ImageScores]
    gallery: Sequence[ComparedImage] | InTurn[ComparedImage] = ()
    said: str = ""

    @property
    def title(self) -> str:
        return f"{', '.join(self.runs[1:])} compared with {self.runs[0]}"

    @property
    def others(self) -> list[tuple[int, str]]:
        """Place and name of each run but the first."""
        return list(enumerate(self.runs))[1:]


def signed(value: float) -> str:
    """A difference for people, with its sign; text of its own for none."""
    if math.isnan(value):
        return "undefined"
    return "0" if value == 0 else f"{value:+.2e}" if abs(value) < 1e-4 else f"{value:+.4f}"


def sentence(run: str, first: str, figure: str, difference: Difference) -> str:
    """What the difference of a figure says, and whether the images decide it."""
    if math.isnan(difference.difference):
        return f"{run}: {figure} is undefined in one of the two"
    words = "higher than" if difference.difference > 0 else "lower than" if difference.difference < 0 else "the same as"
    by = f" by {abs(difference.difference):.4f}" if difference.difference else ""
    told = f"{run}: {figure} is {words} that of {first}{by}"
    if math.isnan(difference.low):
        return f"{told}; without an interval"
    if difference.decided:
        return f"{told}; the interval of the difference excludes 0"
    return f"{told}; the interval of the difference includes 0: these images do not tell the two apart"
