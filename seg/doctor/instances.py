"""Checks of the instances of an image, and of their sizes in the whole data set."""

from collections.abc import Iterator, Sequence

from seg.doctor.facts import Examined, box_of
from seg.findings import Finding
from seg.sample import ClassInfo

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
                annotation = image.stored.annotations[apart.instance]
                name = classes[annotation["category_id"]].name
                what = f"a {name} is in pieces: {apart.share:.0%} of it lies {apart.gap:.0f} pixels from the rest"
                yield _of(image, "far-pieces", what, "give each object an id of its own", box_of(annotation))


def overlapping(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """The same instance twice, and instances of two classes that overlap much."""
    for image in images:
        for overlap in image.facts.overlaps:
            first, second = (image.stored.annotations[i] for i in (overlap.first, overlap.second))
            names = [classes[a["category_id"]].name for a in (first, second)]
            if names[0] == names[1] and overlap.iou >= SAME:
                what = f"a {names[0]} is labelled twice: two instances with an IoU of {overlap.iou:.2f}"
                yield _of(image, "duplicate-instance", what, "remove one of the two", box_of(first))
            elif names[0] != names[1] and overlap.iou >= OVERLAPPING:
                what = f"a {names[0]} and a {names[1]} are nearly the same region (IoU {overlap.iou:.2f})"
                yield _of(image, "two-classes", what, "keep the class that is right", box_of(first))


def tiny(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Classes many of whose instances are tiny: a finding a class, which shows the smallest."""
    for index, info in enumerate(classes):
        found = [
            (a["area"], image, a) for image in images for a in image.stored.annotations if a["category_id"] == index and not a["iscrowd"]
        ]
        if not found or sum(area < 8 * 8 for area, *_ in found) < TINY_SHARE * len(found):
            continue
        shares = ", ".join(f"{sum(area < side * side for area, *_ in found) / len(found):.0%} below {side} x {side}" for side in SIDES)
        area, image, annotation = min(found, key=lambda entry: entry[0])
        what = f"holds a {info.name} of {area} pixels; of {len(found)} instances of this class {shares} pixels"
        fix = "keep model.scale=1, and rescale the images themselves if figures on small instances are low"
        yield _of(image, "tiny-instances", what, fix, box_of(annotation))


def _of(image: Examined, kind: str, what: str, fix: str, box: tuple[int, int, int, int]) -> Finding:
    return Finding(kind, image.path, what, fix, "warning", image.stored.entry.image_id, box, image.split)
