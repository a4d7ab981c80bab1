"""Whether a change of what is done to predictions makes a figure better, surely."""

from collections.abc import Callable

import numpy as np

from seg.metrics.bootstrap import Moved, limits_of, moved
from seg.models.postprocess import Compared

RESAMPLES, SEED = 1000, 0

Figure = Callable[[np.ndarray], np.ndarray]
"""weights (R, N), how often each of R data sets holds each of N images -> (R,) the figure of each."""


def compared(what: str, name: str, before: Figure, after: Figure, num_images: int, level: float, larger: bool = True) -> Compared:
    """Compare draw by draw; taken where the whole interval, of this level, is an improvement. larger: whether a larger figure is one."""
    ends = [_moved(name, figure, num_images) for figure in (before, after)]
    difference = ends[1].less(ends[0])
    low, high = limits_of({name: difference}, num_images, SEED, level, differences=True)[name]
    taken = low > 0 if larger else high < 0
    return Compared(what, name, ends[0].value, ends[1].value, low, high, bool(taken))


def _moved(name: str, figure: Figure, num_images: int) -> Moved:
    return moved(lambda weights: {name: figure(weights)}, num_images, RESAMPLES, SEED)[name]
