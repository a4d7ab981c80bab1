"""What the drawing of a sample leaves to the device: transforms, and the numbers that they drew.

| kind | values |
|---|---|
| warp | see `warp_values`; the only one that moves labels, and the first of a sample |
| table | what becomes of each of the 256 levels |
| hsv | shifts of hue (of 180), saturation and value (of 255) |
| noise | mean and standard deviation in levels, whether each channel has noise of its own, and a seed |
| blur | a kernel of odd length, which is applied along rows and columns |
| holes | a level, and the left, top, right and bottom of each hole that has it |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WARP = "warp"


@dataclass(frozen=True, slots=True)
class Deferred:
    """A transform that is still to be applied. place: in the order of its policy. values: (n,), by its kind."""

    place: int
    kind: str
    values: np.ndarray


def warp_values(inverse: np.ndarray, size: tuple[int, int], fill: Sequence[float] | None) -> np.ndarray:
    """Where a pixel of the image of `size` (height, width) lies before the warp, by a matrix (3, 3) that takes (x, y, 1) there; and what
    lies beyond that image, by channel: None for its outermost pixels.
    """
    return np.array([*inverse[:2].ravel(), *size, *(fill if fill is not None else ())], np.float64)
