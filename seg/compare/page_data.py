"""All that the page of a comparison shows, as plain data: who fills it computes, the page only draws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seg.compare.comparison import Difference, ImageScores, Paired
from seg.data.sample import ClassInfo
from seg.report.page_data import InTurn, Outlines

FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER = (
    "found by first",
    "found by other",
    "made up by first",
    "made up by other",
)
"""The verdicts on instances over which two runs disagree."""


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image on which a run differs from the first.

    other: the place of that run. image: (H, W, C) uint8. truth, and predicted by each run: all (H, W) uint8 class maps, 255 = ignore,
    or all `Outlines`. apart: where the two runs disagree, as `seg.compare.disagreement.compare_maps` has it, or the `Outlines` of
    the instances over which they do. kinds: of disagreements, in words, with a count or a share of the image.
    """

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
    after another, once each.
    """

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
    if value == 0:
        return "0"
    return f"{value:+.2e}" if abs(value) < 1e-4 else f"{value:+.4f}"


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
