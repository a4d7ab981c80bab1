"""What becomes of instances that augmentation has cut, covered or made tiny: they are ignored, and those that are gone vanish.

And Simple Copy-Paste (Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177): instances of one image laid upon another."""

from dataclasses import dataclass, replace

import cv2
import numba
import numpy as np

from seg.data.labelmaps import areas_of
from seg.data.sample import IGNORE, Sample

_BLUR = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample that augmentation drew, before anything is taken from its list of instances. sample: some of its instances may have no
    pixel. areas: (N,) int64 of its instances, in pixels. visible: (N,) float64, which share of each stored instance is seen, whatever it
    was enlarged or reduced to; below 0 of one that a crop left out."""

    sample: Sample
    areas: np.ndarray
    visible: np.ndarray


def ignore_cut(drawn: Drawn, min_visible: float, min_area: int) -> Drawn:
    """Instances of less than `min_visible` of their share or `min_area` pixels become crowds, those without a pixel vanish. Ids become 1..N
    again, in the same order. Where a new crowd lies on top, the class map becomes 255."""
    sample, left = drawn.sample, drawn.areas > 0
    lost = left & ~sample.crowd & ((drawn.visible < min_visible) | (drawn.areas < min_area))
    if left.all() and not lost.any():
        return drawn
    numbers = np.concatenate([[0], np.cumsum(left) * left]).astype(np.int32)
    semantic, instances = sample.semantic, np.take(numbers, sample.instances)
    if lost.any():
        semantic = semantic.copy()
        _ignore(sample.instances.reshape(-1, instances.shape[2]), np.concatenate([[False], lost]), semantic.reshape(-1))
    kept = replace(sample, semantic=semantic, instances=instances, categories=sample.categories[left], crowd=(sample.crowd | lost)[left])
    return Drawn(kept, drawn.areas[left], drawn.visible[left])


@numba.njit(nogil=True, cache=True)
def _ignore(instances: np.ndarray, lost: np.ndarray, semantic: np.ndarray) -> None:
    num_pixels, num_layers = instances.shape
    for i in range(num_pixels):
        top = instances[i, 0]
        for layer in range(1, num_layers):
            top = max(top, instances[i, layer])
        if lost[np.uint32(top)]:
            semantic[i] = IGNORE


def paste_some(target: Drawn, source: Drawn, rng: np.random.Generator, max_instances: int | None) -> Drawn:
    """The target under a random subset of the source's instances, each number of them being as likely; never crowds. Where the images
    differ in size, the source is cropped or padded to the target's, at a random place. Without anything to paste the target comes back."""
    candidates = np.flatnonzero(~source.sample.crowd)
    if not len(candidates):
        return target
    number = rng.integers(1, min(len(candidates), max_instances or len(candidates)) + 1)
    chosen = np.sort(rng.choice(candidates, number, replace=False))
    (height, width), (h, w) = target.sample.size, source.sample.size
    top, left = (int(rng.integers(min(0, free), max(0, free) + 1)) for free in (height - h, width - w))
    sample = paste(target.sample, source.sample, chosen + 1, top, left)
    areas = areas_of(sample.instances, len(sample.categories))
    before = np.concatenate([target.areas, source.areas[chosen]])
    visible = np.concatenate([target.visible, source.visible[chosen]]) * areas / np.maximum(before, 1)
    return Drawn(sample, areas, visible)


def paste(target: Sample, source: Sample, ids: np.ndarray, top: int, left: int) -> Sample:
    """The target, with the instances `ids` (K,) of the source on top, whose first pixel lies at (left, top) of the target.

    A pixel is pasted where the topmost instance of the source is one of `ids`: what lies beneath another object would show
    that one's pixels. The target's instances keep their ids and lose the pixels that are covered, perhaps all; the pasted
    ones follow as N + 1..N + K, in the order of `ids`, and give the class map its classes. As in the paper the edges are
    blended by a Gaussian: here by the smallest there is (3x3 pixels), so that thin objects stay opaque, and without a
    setting, as the paper finds no difference even to hard edges."""
    (height, width), (h, w) = target.size, source.size
    here = slice(max(0, top), min(height, top + h)), slice(max(0, left), min(width, left + w))
    there = slice(here[0].start - top, here[0].stop - top), slice(here[1].start - left, here[1].stop - left)
    count = len(target.categories)
    numbers = np.zeros(len(source.categories) + 1, np.int32)
    numbers[ids] = np.arange(count + 1, count + 1 + len(ids))
    shown = source.instances[there]
    on_top = numbers[shown.max(axis=2, initial=0)]
    covered = on_top > 0
    pasted = np.where(covered[..., None], numbers[shown], 0)
    pasted = pasted[..., pasted.any(axis=(0, 1))]

    num_layers = max(target.instances.shape[2], pasted.shape[2])
    instances = np.zeros((height, width, num_layers), np.int32)
    instances[..., : target.instances.shape[2]] = target.instances
    window = instances[here]
    window[covered] = 0
    window[..., : pasted.shape[2]] += pasted
    categories = np.concatenate([target.categories, source.categories[ids - 1]]).astype(np.int32)
    semantic = target.semantic.copy()
    semantic[here][covered] = categories[on_top[covered] - 1]
    alpha = cv2.filter2D(covered.astype(np.uint8), -1, _BLUR, borderType=cv2.BORDER_REPLICATE)  # in sixteenths
    image = target.image.copy()
    _blend(image[here], source.image[there], alpha)
    crowd = np.concatenate([target.crowd, np.zeros(len(ids), bool)])
    return replace(target, image=image, semantic=semantic, instances=instances, categories=categories, crowd=crowd)


@numba.njit(nogil=True, cache=True)
def _blend(image: np.ndarray, source: np.ndarray, alpha: np.ndarray) -> None:
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            a = np.int32(alpha[y, x])
            if a:
                for channel in range(channels):
                    image[y, x, channel] = (a * source[y, x, channel] + (16 - a) * image[y, x, channel] + 8) // 16
