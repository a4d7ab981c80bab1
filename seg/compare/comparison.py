"""How far apart two evaluations of the same images are, and how surely: a paired bootstrap, see `seg.evaluation.bootstrap`.

Each draw of the images gives a figure of each run, and their difference. What is hard or easy in an image moves both runs alike and
cancels, so the interval of the difference is narrower than the two runs' own intervals make believe.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from seg.evaluation.bootstrap import DEFINED, Limits, Moved, limits_of, moved
from seg.evaluation.settings import Bootstrap
from seg.metrics.base import ImageScore, Metrics


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure of one run, and where it would lie with other images; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A run's figure less the first run's, and where that would lie with other images; NaN where undefined.

    above: the share of the draws in which the run's figure is above the first's.
    """

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


def paired(runs: Sequence[Metrics], image_ids: Sequence[str], bootstrap: Bootstrap) -> Paired:
    """Compare runs that saw the same images with the first of them, on the very same draws of the images.

    Intervals are NaN where fewer than 95 % of the draws are defined, or where there are none.
    """
    figures, count = [run.figures() for run in runs], len(image_ids)
    drawn = [moved(partial(run.resampled, image_ids), count, bootstrap.resamples, bootstrap.seed) for run in runs]
    limits = [limits_of(one, count, bootstrap.seed, bootstrap.level) for one in drawn]
    intervals = [
        {name: Interval(value, *own.get(name, NO_LIMITS)) for name, value in values.items()}
        for values, own in zip(figures, limits, strict=True)
    ]
    differences = []
    for values, one in zip(figures[1:], drawn[1:], strict=True):
        apart = {name: one[name].less(drawn[0][name]) for name in one if name in drawn[0]}
        within = limits_of(apart, count, bootstrap.seed, bootstrap.level, differences=True)
        differences.append(
            {
                name: Difference(first, values[name], values[name] - first, *within.get(name, NO_LIMITS), _above(apart.get(name)))
                for name, first in figures[0].items()
                if name in values
            }
        )
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
