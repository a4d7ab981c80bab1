"""Checks of single images and their labels."""

from collections.abc import Iterator, Sequence

import numpy as np

from seg.data.sample import BACKGROUND, IGNORE, ClassInfo
from seg.prepare.checks.facts import Examined
from seg.raw.findings import Finding

FAR_SIZE = 4.0
"""Times the median of the longer sides from which on an image is far smaller or larger than the rest: beyond two octaves no usual
augmentation of scale makes up for it, and batches are padded to a multiple of what most images need."""


def empty_labels(images: Sequence[Examined], classes: Sequence[ClassInfo], with_instances: bool) -> Iterator[Finding]:
    """Images without an instance, or all of whose pixels are background."""
    background = classes[0].name == BACKGROUND
    for image in images:
        if with_instances:
            crowds = len(image.facts.crowd)
            if image.facts.crowd.all():
                regions = f", only {crowds} crowd or ignored regions" if crowds else ""
                yield _of(image, "empty-label", f"holds no instance{regions}", "right if nothing is there; else label it")
        elif background and image.facts.class_pixels[0] and not image.facts.class_pixels[1:].any():
            yield _of(image, "empty-label", f"every pixel is {BACKGROUND}", "right if nothing else is there; else label it")


def all_ignored(images: Sequence[Examined], with_instances: bool) -> Iterator[Finding]:
    """Images that count nowhere. Where pixels of no instance are ignored, an image without instances is an empty label."""
    for image in images:
        pixels = image.facts.class_pixels
        if pixels[IGNORE] == pixels.sum() and not with_instances:
            yield _of(image, "all-ignored", "every pixel is ignored, so it counts nowhere", "look at data.source.ignore, or label it")


def far_sizes(images: Sequence[Examined]) -> Iterator[Finding]:
    """Images far smaller or larger than the rest."""
    sides = [max(image.stored.entry.height, image.stored.entry.width) for image in images]
    middle = float(np.median(sides)) if sides else 0.0
    for image, side in zip(images, sides, strict=True):
        if not middle / FAR_SIZE <= side <= middle * FAR_SIZE:
            entry = image.stored.entry
            than = "smaller" if side < middle else "larger"
            what = f"is {entry.width}x{entry.height} pixels, far {than} than the rest, whose longer side has {middle:g} (median)"
            yield _of(image, "size-outlier", what, "see whether it belongs to the data set; rescale it, or cut it to tiles")


def mixed_color(images: Sequence[Examined]) -> Iterator[Finding]:
    """Gray images among colour ones, or the reverse: one finding, which shows the first of the fewer."""
    gray = [image for image in images if image.facts.gray]
    if not gray or len(gray) == len(images):
        return
    colored = [image for image in images if not image.facts.gray]
    few, kind = (gray, "gray") if len(gray) <= len(colored) else (colored, "colour")
    other = "colour" if kind == "gray" else "gray"
    what = f"is a {kind} image, as {len(few)} of {len(images)} are; the others are {other}"
    yield _of(
        few[0], "mixed-color", what, "stratify the splits by a column that tells the kind (data.split.stratify), or set data.channels=1"
    )


def case_collisions(images: Sequence[Examined]) -> Iterator[Finding]:
    """Files that only case tells apart, which some file systems hold for one."""
    seen: dict[str, Examined] = {}
    for image in images:
        before = seen.setdefault(image.path.lower(), image)
        if before.path != image.path:  # else two pieces of one file
            name = before.stored.entry.image_id
            what = f"differs from {name} in case alone, so on macOS and Windows one would replace the other"
            yield _of(image, "case-collision", what, "rename one of them")


def _of(image: Examined, kind: str, what: str, fix: str) -> Finding:
    return Finding(kind, image.path, what, fix, "warning", image.stored.entry.image_id, split=image.split)
