"""What COCO's average precision and recall (https://cocodataset.org/#detection-eval) are of: images with their true and predicted
instances as run lengths, ranges of area, and thresholds. `seg.metrics.average_precision` computes them.
"""

from dataclasses import dataclass

import numpy as np

from seg.data.rle import Rle
from seg.metrics.matching import areas_of

AREAS = ("all", "small", "medium", "large")  # COCO's ranges of area, in its order: up to 32 x 32 pixels is small, from 96 x 96 large

IOUS = {"0.50:0.95": slice(None), "0.50": slice(0, 1), "0.75": slice(5, 6)}
"""Which of COCO's ten IoU thresholds, 0.50, 0.55 .. 0.95, are averaged."""

FIGURES = {
    "ap": ("precision", "0.50:0.95", "all"),
    "ap50": ("precision", "0.50", "all"),
    "ap75": ("precision", "0.75", "all"),
    "ap_small": ("precision", "0.50:0.95", "small"),
    "ap_medium": ("precision", "0.50:0.95", "medium"),
    "ap_large": ("precision", "0.50:0.95", "large"),
    "ar": ("recall", "0.50:0.95", "all"),
}
"""Of each figure: which curve it averages, at which of IOUS, over which of AREAS."""


@dataclass(frozen=True, slots=True)
class ImageInstances:
    """One image's true and predicted instances, in as little memory as their run lengths take.

    size: (height, width). categories: (N,) int32, crowd: (N,) bool and counts: N texts of COCO's RLE, all of the truth.
    predicted_categories: (M,) int32, scores: (M,) float32, boxes: (M, 4) float32 xyxy half-open pixels, predicted_counts: M texts.
    areas: (N,) pixels of the true instances, where these are of other shapes than their texts: those of boxes are filled boxes.
    void: the text of the pixels that are of no segment, where there are segments.
    """

    image_id: str
    size: tuple[int, int]
    categories: np.ndarray
    crowd: np.ndarray
    counts: list[str]
    predicted_categories: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    predicted_counts: list[str]
    areas: np.ndarray | None = None
    void: str | None = None

    def true_areas(self, rows: np.ndarray) -> np.ndarray:
        """(G,) pixels of the true instances at `rows` (G,)."""
        return areas_of([self.rle(self.counts[i]) for i in rows]) if self.areas is None else self.areas[rows]

    def truth(self, category: int, crowd: bool) -> list[Rle]:
        """The true masks of a category: its instances, or its crowds."""
        return [self.rle(self.counts[i]) for i in np.flatnonzero((self.categories == category) & (self.crowd == crowd))]

    def predicted(self, category: int, least: float) -> list[Rle]:
        """The predicted masks of a category whose score is `least` or more, both as float32."""
        kept = (self.predicted_categories == category) & (self.scores >= np.float32(least))
        return [self.rle(self.predicted_counts[i]) for i in np.flatnonzero(kept)]

    def rle(self, counts: str) -> Rle:
        return {"size": list(self.size), "counts": counts}
