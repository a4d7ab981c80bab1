"""The layers of an image on which two runs differ: truth, each run's prediction, and where the two disagree."""

from collections.abc import Mapping, Sequence

import numpy as np

from seg.compare.disagreement import BOTH_WRONG, FIRST_RIGHT, OTHER_RIGHT
from seg.compare.page_data import FOUND_BY_FIRST, FOUND_BY_OTHER, MADE_UP_BY_FIRST, MADE_UP_BY_OTHER, ComparedImage
from seg.data.sample import IGNORE, ClassInfo, Color
from seg.report.layers import (
    IGNORED_WHITE,
    Size,
    class_layer,
    enlarged,
    fitted,
    laid_over,
    outline_layer,
    outline_paint,
    outlined,
    palette_png,
    sized,
)
from seg.report.page_data import Outlines

PIXELS: Mapping[int, Color] = {FIRST_RIGHT: (0, 114, 178), OTHER_RIGHT: (230, 159, 0), BOTH_WRONG: (204, 121, 167)}
"""The colours of pixels on which two runs disagree (Okabe and Ito 2008): what is the first's is blue, the other's yellow."""

INSTANCES: Mapping[str, Color] = {
    FOUND_BY_FIRST: (0, 114, 178),
    FOUND_BY_OTHER: (230, 159, 0),
    MADE_UP_BY_FIRST: (86, 180, 233),
    MADE_UP_BY_OTHER: (240, 228, 66),
}
"""Likewise of instances; the paler colours are of what is not there."""


def compared_layers(entry: ComparedImage, classes: Sequence[ClassInfo], most: int) -> list[bytes]:
    """The image as JPEG, then truth, each run's prediction and the disagreement as PNG; all in `most` bytes where that is possible."""

    def maps(size: Size) -> list[bytes]:
        size = enlarged(size) if isinstance(entry.truth, Outlines) else size
        return [*(_labels(labels, classes, size) for labels in (entry.truth, *entry.predicted)), _apart(entry.apart, size)]

    return fitted(entry.image, most, maps)


def _labels(labels: np.ndarray | Outlines, classes: Sequence[ClassInfo], size: Size) -> bytes:
    return outline_layer(labels, classes, size) if isinstance(labels, Outlines) else class_layer(labels, classes, size)


def _apart(apart: np.ndarray | Outlines, size: Size) -> bytes:
    if isinstance(apart, np.ndarray):
        return palette_png(sized(apart, size), {kind: (*color, 255) for kind, color in PIXELS.items()} | {IGNORE: IGNORED_WHITE})
    verdicts = list(INSTANCES)
    codes = np.zeros((size[1], size[0]), np.int32)
    for place, verdict in enumerate(verdicts):
        own = np.array([v == verdict for v in apart.verdicts], bool)
        codes = laid_over(codes, outlined(apart, np.full(len(own), place), own, size))
    return palette_png(codes, outline_paint(list(INSTANCES.values())))
