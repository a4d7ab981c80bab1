"""All that the page of an evaluation shows, as plain data: who fills it computes, the page only draws."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from seg.data.sample import ClassInfo
from seg.models.postprocess import NO_CHOICE, Choice

KINDS = ("worst", "median", "best", "random")  # why an image is in the gallery, by its own score

S = TypeVar("S")
T = TypeVar("T")


class InTurn(Generic[T]):
    """Things of which one at a time is in memory: each is made of its source when the loop comes to it."""

    def __init__(self, make: Callable[[S], T], sources: Sequence[S]) -> None:
        self._made, self._count = lambda: map(make, sources), len(sources)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return self._made()


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline figure with its interval, if there is one. NaN where undefined. text: what it is, for who does not know its name."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image's own figures. score: what orders images from worst to best; NaN for one that has none."""

    image_id: str
    score: float
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outlines:
    """Instances of one image.

    ids: (H, W, L) int32 layered id map. categories: (N,) int32 class index of id i + 1. crowd: (N,) bool.
    verdicts: what each was found to be, N words: `found`, or a kind of error. scores: (N,) float32, of predictions."""

    ids: np.ndarray
    categories: np.ndarray
    crowd: np.ndarray
    verdicts: Sequence[str]
    scores: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """An image with its truth and prediction.

    kind: one of KINDS. image: (H, W, C) uint8. truth, predicted: both (H, W) uint8 class maps, 255 = ignore, or both `Outlines`.
    errors: the kinds of errors in the image, in words, with what to say of each (a count or a share of the image)."""

    kind: str
    row: ImageRow
    image: np.ndarray
    truth: np.ndarray | Outlines
    predicted: np.ndarray | Outlines
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Misled:
    """A mistake, and what misled the model. text: the mistake. asked: the answer whose reasons the maps show. image: a JPEG file, with the
    mistake outlined. maps: the name of each method, what it shows, and a JPEG file."""

    image_id: str
    text: str
    asked: str
    image: bytes
    maps: Sequence[tuple[str, str, bytes]]


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Rows with the keys of the first as columns. text: what the table says; percent signs and units are its columns' affair."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that the page shows; what is empty or None is left out.

    intervals: what low and high of the headline figures are, in words. settings: of the run, by their dotted keys.
    planned: key, value and reason of each setting that the plan chose. choice: how the postprocessing was chosen.
    history: a row an epoch, as history.csv, NaN where blank; best_epoch: the one evaluated. per_class: {class: its figures}, NaN where
    undefined. confusion: (K, K) int64, true classes down, predicted ones across; confusion_unit: what it counts. score_name: of the rows'
    scores. calibration: rows of `seg.metrics.calibration.reliability_rows`; calibration_unit: what they count; calibration_error: the
    expected one, 0 to 1. gallery: asked for one entry after another, once each. preview: a PNG file. splits: as the prepared data keep them
    (`seg.report.data_set.Splits`). mistakes: of the worst images, what misled the model."""

    title: str
    split: str
    classes: Sequence[ClassInfo]
    headline: Sequence[Figure]
    score_name: str
    images: Sequence[ImageRow]
    intervals: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    planned: Sequence[tuple[str, str, str]] = ()
    choice: Choice = NO_CHOICE
    history: Sequence[Mapping[str, float]] = ()
    best_epoch: int | None = None
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: np.ndarray | None = None
    confusion_unit: str = "pixels"
    gallery: Sequence[GalleryEntry] | InTurn[GalleryEntry] = ()
    tables: Sequence[FigureTable] = ()
    calibration: Sequence[Mapping[str, Any]] = ()
    calibration_unit: str = "pixels"
    calibration_error: float = math.nan
    preview: bytes | None = None
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    mistakes: Sequence[Misled] = ()
