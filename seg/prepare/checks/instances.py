"""Checks of the instances of an image, and of their sizes in the whole data set."""

from collections.abc import Iterator, Sequence

import numpy as np

from seg.data.sample import ClassInfo
from seg.prepare.checks.facts import Examined
from seg.raw.findings import Finding

MIN_PIECE = 0.05
"""Share of an instance's area from which on its second piece counts: less is a stray pixel of the brush."""

MIN_GAP = 1.0
"""Times the largest piece's own diagonal that the second one lies away. What hides the middle of an object seldom is larger than the
part that is seen; two objects under one id lie anywhere."""

SAME = 0.9
"""IoU of two instances of one class from which on they are one that was labelled twice: two hands agree to about this."""

OVERLAPPING = 0.75
"""IoU of two instances of different classes from which on they look like one object with two classes. A rider and a horse share
less; a cup seen through a glass may share as much."""

SIDES = (4, 8, 16)
"""Pixels of a square's side. Networks halve the image's sides 2 to 5 times: what is smaller than the stride of a feature map is a
fraction of one of its cells."""

TINY_SHARE = 0.25
"""Share of a class's instances below 8 x 8 pixels from which on it is worth a word: then figures hang on them."""


def in_pieces(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """One instance in several far pieces."""
    for image in images:
        for apart in image.facts.apart:
            if apart.share >= MIN_PIECE and apart.gap > MIN_GAP * apart.length:
                name = classes[image.facts.categories[apart.instance]].name
                what = f"a {name} is in pieces: {apart.share:.0%} of it lies {apart.gap:.0f} pixels from the rest"
                yield _of(image, "far-pieces", what, "give each object an id of its own", image.facts.box(apart.instance))


def overlapping(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """The same instance twice, and instances of two classes that overlap much."""
    for image in images:
        for overlap in image.facts.overlaps:
            names = [classes[image.facts.categories[i]].name for i in (overlap.first, overlap.second)]
            box = image.facts.box(overlap.first)
            if names[0] == names[1] and overlap.iou >= SAME:
                what = f"a {names[0]} is labelled twice: two instances with an IoU of {overlap.iou:.2f}"
                yield _of(image, "duplicate-instance", what, "remove one of the two", box)
            elif names[0] != names[1] and overlap.iou >= OVERLAPPING:
                what = f"a {names[0]} and a {names[1]} are nearly the same region (IoU {overlap.iou:.2f})"
                yield _of(image, "two-classes", what, "keep the class that is right", box)


def tiny(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Classes many of whose instances are tiny: a finding a class, which shows the smallest."""
    images = [image for image in images if len(image.facts.areas)]
    for index, info in enumerate(classes):
        chosen = [np.flatnonzero((image.facts.categories == index) & ~image.facts.crowd) for image in images]
        areas = np.concatenate([image.facts.areas[which] for image, which in zip(images, chosen, strict=True)] or [np.zeros(0)])
        if not len(areas) or (areas < 8 * 8).mean() < TINY_SHARE:
            continue
        shares = ", ".join(f"{(areas < side * side).mean():.0%} below {side} x {side}" for side in SIDES)
        smallest = int(areas.argmin())
        owner = np.repeat(np.arange(len(images)), [len(which) for which in chosen])[smallest]
        image, instance = images[owner], int(np.concatenate(chosen)[smallest])
        what = f"holds a {info.name} of {areas[smallest]} pixels; of {len(areas)} instances of this class {shares} pixels"
        fix = "keep model.scale=1, and rescale the images themselves if figures on small instances are low"
        yield _of(image, "tiny-instances", what, fix, image.facts.box(instance))


def _of(image: Examined, kind: str, what: str, fix: str, box: tuple[int, int, int, int]) -> Finding:
    return Finding(kind, image.path, what, fix, "warning", image.stored.entry.image_id, box, image.split)
