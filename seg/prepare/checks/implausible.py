"""Checks for labels and images that were taken for something else: nothing is wrong with the files, but the data set makes no sense."""

from collections.abc import Iterator, Sequence

import numpy as np

from seg.data.sample import BACKGROUND, IGNORE, ClassInfo
from seg.prepare.checks.facts import Examined
from seg.raw.record import Finding

MOST = 0.5  # share of the images that must be so: a few may well be
FOREGROUND = 0.9  # share of all labelled pixels that are not background from which on the two may have been taken for each other
SHADES = 30  # classes whose colours are grays from which on they are rather values of a picture
# ignored pixels in compact areas within one class: their share of all pixels, and of the ignored ones, from which on they look like a
# class that is ignored by mistake
BLOBS = (0.005, 0.5)
ENOUGH = 4  # images below which classes that look like numbers are chance


def few_values(images: Sequence[Examined]) -> Iterator[Finding]:
    """Images of one or two values: rather masks."""
    found = [image for image in images if image.facts.values <= 2]
    if images and len(found) > MOST * len(images):
        what = f"has two values at most, as {len(found)} of {len(images)} images have: are these masks, not pictures?"
        yield found[0].finding("mask-as-image", what, "set data.source.images to the folder of the pictures")


def shades_of_gray(classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """More classes than anyone names, whose colours are grays."""
    grays = [c for c in classes if len(set(c.color)) == 1]
    if len(grays) > SHADES:
        what = f"{len(grays)} classes have shades of gray for colours, such as {grays[0].name} and {grays[-1].name}: are these soft edges?"
        fix = "read black and white masks with data.source.threshold=128 and two classes, and numbers of objects with data=id_maps"
        yield Finding("gray-classes", "data.classes", what, fix)


def much_foreground(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Nearly all pixels of another class than background."""
    if classes[0].name != BACKGROUND or not images:
        return
    pixels = np.sum([image.facts.class_pixels for image in images], axis=0)[:IGNORE]
    share = 1 - pixels[0] / max(1, pixels.sum())
    if share > FOREGROUND:
        what = f"{share:.0%} of the labelled pixels are not {BACKGROUND}: were the two taken for each other, or is this the field of view?"
        yield Finding("much-foreground", "data.classes", what, "look at the labels; exchange the classes' labels, or set data.source.masks")


def blobs_of_ignored(images: Sequence[Examined]) -> Iterator[Finding]:
    """Ignored pixels as compact areas within one class: what is void lies at borders and edges."""
    found = [image for image in images if image.facts.blobs]
    if not images or len(found) <= MOST * len(images):
        return
    blobs, ignored, total = (
        sum(int(n) for n in counts)
        for counts in (
            [image.facts.blobs for image in images],
            [image.facts.class_pixels[IGNORE] for image in images],
            [image.facts.class_pixels.sum() for image in images],
        )
    )
    if blobs > BLOBS[0] * total and blobs > BLOBS[1] * ignored:
        what = (
            f"ignores areas within one class, as {len(found)} of {len(images)} images do ({blobs / total:.1%} of pixels): is this a class, "
            "not a border or a gap?"
        )
        largest = max(found, key=lambda image: image.facts.blobs)
        yield largest.finding("ignored-blobs", what, "take the value out of data.source.ignore, and list it under `labels` of a class")


def ids_as_classes(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Every class one connected area in each image, and images with one class, or more from the first on: numbers of objects."""
    shown = [image for image in images if image.facts.present]
    several = [image for image in shown if image.facts.present >= 2 and image.facts.pieces]
    if len(shown) < ENOUGH or not several or len(classes) < 3:
        return
    single = sum(image.facts.pieces == image.facts.present for image in several)
    in_turn = sum(_is_in_turn(image) for image in shown)
    if single == len(several) and in_turn == len(shown) and len({image.facts.present for image in shown}) > 1:
        what = (
            f"the classes of each of {len(shown)} images are the first ones of the list, each a single area: are these numbers of objects, "
            "not classes?"
        )
        yield Finding("ids-as-classes", "data.classes", what, "if so, read them as instances with data=id_maps and task=instance")


def _is_in_turn(image: Examined) -> bool:
    """Whether the classes present are 1, 2, ... without a gap."""
    there = np.flatnonzero(image.facts.class_pixels[1:IGNORE])
    return bool(len(there)) and int(there[-1]) == len(there) - 1
