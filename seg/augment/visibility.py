"""What becomes of instances that augmentation has cut, covered or made tiny: they are ignored, and those that are gone vanish."""

from dataclasses import dataclass, replace

import numba
import numpy as np

from seg.data.sample import IGNORE, Sample


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample that augmentation drew, before anything is taken from its list of instances.

    sample: some of its instances may have no pixel. areas: (N,) int64 of its instances, in pixels. visible: (N,) float64,
    which share of each stored instance is seen, whatever it was enlarged or reduced to.
    """

    sample: Sample
    areas: np.ndarray
    visible: np.ndarray


def ignore_cut(drawn: Drawn, min_visible: float, min_area: int) -> Drawn:
    """Instances of less than `min_visible` of their share or `min_area` pixels become crowds, those without a pixel vanish.

    Ids become 1..N again, in the same order. Where a new crowd lies on top, the class map becomes 255.
    """
    sample, left = drawn.sample, drawn.areas > 0
    lost = left & ~sample.crowd & ((drawn.visible < min_visible) | (drawn.areas < min_area))
    if left.all() and not lost.any():
        return drawn
    numbers = np.concatenate([[0], np.cumsum(left) * left]).astype(np.int32)
    semantic, instances = sample.semantic, np.empty_like(sample.instances)
    _renumber(sample.instances.reshape(-1), numbers, instances.reshape(-1))
    if lost.any():
        semantic = semantic.copy()
        _ignore(sample.instances.reshape(-1, instances.shape[2]), np.concatenate([[False], lost]), semantic.reshape(-1))
    kept = replace(sample, semantic=semantic, instances=instances, categories=sample.categories[left], crowd=(sample.crowd | lost)[left])
    return Drawn(kept, drawn.areas[left], drawn.visible[left])


@numba.njit(nogil=True, cache=True)
def _renumber(stored: np.ndarray, numbers: np.ndarray, instances: np.ndarray) -> None:
    for i in range(len(stored)):
        instances[i] = numbers[np.uint32(stored[i])]


@numba.njit(nogil=True, cache=True)
def _ignore(instances: np.ndarray, lost: np.ndarray, semantic: np.ndarray) -> None:
    num_pixels, num_layers = instances.shape
    for i in range(num_pixels):
        top = instances[i, 0]
        for layer in range(1, num_layers):
            top = max(top, instances[i, layer])
        if lost[np.uint32(top)]:
            semantic[i] = IGNORE
