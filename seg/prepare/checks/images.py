"""Checks of single images and their labels, of pictures that are there twice, of instances, and for what was taken for something else."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from seg.data.sample import BACKGROUND, IGNORE, ClassInfo
from seg.prepare.checks.facts import Examined
from seg.raw.record import Finding, Severity
from seg.storing.duplicates import Pair, near_pairs

# times the median of the longer sides from which on an image is far smaller or larger than the rest: beyond two octaves no usual
# augmentation of scale makes up for it, and batches are padded to a multiple of what most images need
FAR_SIZE = 4.0
APART = "remove one, or keep both in one split with data.split.group"
MIN_PIECE = 0.05  # share of an instance's area from which on its second piece counts: less is a stray pixel of the brush
# times the largest piece's own diagonal that the second one lies away. What hides the middle of an object seldom is larger than the part
# that is seen; two objects under one id lie anywhere.
MIN_GAP = 1.0
SAME = 0.9  # IoU of two instances of one class from which on they are one that was labelled twice: two hands agree to about this
# IoU of two instances of different classes from which on they look like one object with two classes. A rider and a horse share less; a
# cup seen through a glass may share as much.
OVERLAPPING = 0.75
# pixels of a square's side. Networks halve the image's sides 2 to 5 times: what is smaller than the stride of a feature map is a fraction
# of one of its cells.
SIDES = (4, 8, 16)
TINY_SHARE = 0.25  # share of a class's instances below 8 x 8 pixels from which on it is worth a word: then figures hang on them
MOST = 0.5  # share of the images that must be so: a few may well be
FOREGROUND = 0.9  # share of all labelled pixels that are not background from which on the two may have been taken for each other
SHADES = 30  # classes whose colours are grays from which on they are rather values of a picture
# ignored pixels in compact areas within one class: their share of all pixels, and of the ignored ones, from which on they look like a
# class that is ignored by mistake
BLOBS = (0.005, 0.5)
ENOUGH = 4  # images below which classes that look like numbers are chance


def empty_labels(images: Sequence[Examined], classes: Sequence[ClassInfo], with_instances: bool) -> Iterator[Finding]:
    """Images without an instance, or all of whose pixels are background."""
    background = classes[0].name == BACKGROUND
    for image in images:
        crowd, pixels = image.facts.crowd, image.facts.class_pixels
        if with_instances and crowd.all():
            regions = f", only {len(crowd)} crowd or ignored regions" if len(crowd) else ""
            yield image.finding("empty-label", f"holds no instance{regions}", "right if nothing is there; else label it")
        elif not with_instances and background and pixels[0] and not pixels[1:].any():
            yield image.finding("empty-label", f"every pixel is {BACKGROUND}", "right if nothing else is there; else label it")


def all_ignored(images: Sequence[Examined], with_instances: bool) -> Iterator[Finding]:
    """Images that count nowhere. Where pixels of no instance are ignored, an image without instances is an empty label."""
    for image in images:
        pixels = image.facts.class_pixels
        if pixels[IGNORE] == pixels.sum() and not with_instances:
            yield image.finding("all-ignored", "every pixel is ignored, so it counts nowhere", "look at data.source.ignore, or label it")


def far_sizes(images: Sequence[Examined]) -> Iterator[Finding]:
    sides = [max(image.stored.entry.height, image.stored.entry.width) for image in images]
    middle = float(np.median(sides)) if sides else 0.0
    for image, side in zip(images, sides, strict=True):
        if not middle / FAR_SIZE <= side <= middle * FAR_SIZE:
            entry = image.stored.entry
            than = "smaller" if side < middle else "larger"
            what = f"is {entry.width}x{entry.height} pixels, far {than} than the rest, whose longer side has {middle:g} (median)"
            yield image.finding("size-outlier", what, "see whether it belongs to the data set; rescale it, or cut it to tiles")


def mixed_color(images: Sequence[Examined]) -> Iterator[Finding]:
    """Gray images among colour ones, or the reverse: one finding, which shows the first of the fewer."""
    gray = [image for image in images if image.facts.gray]
    if not gray or len(gray) == len(images):
        return
    colored = [image for image in images if not image.facts.gray]
    few, kind = (gray, "gray") if len(gray) <= len(colored) else (colored, "colour")
    other = "colour" if kind == "gray" else "gray"
    what = f"is a {kind} image, as {len(few)} of {len(images)} are; the others are {other}"
    fix = "stratify the splits by a column that tells the kind (data.split.stratify), or set data.channels=1"
    yield few[0].finding("mixed-color", what, fix)


def case_collisions(images: Sequence[Examined]) -> Iterator[Finding]:
    """Files that only case tells apart, which some file systems hold for one."""
    seen: dict[str, Examined] = {}
    for image in images:
        before = seen.setdefault(image.path.lower(), image)
        if before.path != image.path:  # else two pieces of one file
            name = before.stored.entry.image_id
            what = f"differs from {name} in case alone, so on macOS and Windows one would replace the other"
            yield image.finding("case-collision", what, "rename one of them")


def same_pictures(images: Sequence[Examined]) -> Iterator[Finding]:
    """The same picture, by its pixels: an error across splits, and a warning within one."""
    seen: dict[str, Examined] = {}
    for image in images:
        before = seen.setdefault(image.stored.entry.sha256, image)
        if before is image:
            continue
        if before.split != image.split:
            what = f"is the same picture as {before.name}, so figures would be too good"
            yield _pair(image, before, "same-picture", what, APART, "error")
        else:
            differs = image.stored.labels_sha256 != before.stored.labels_sha256
            what = f"is the same picture as {before.name}, {'but has other labels' if differs else 'with the same labels'}"
            yield _pair(image, before, "duplicate-image", what, "keep one, with the right labels" if differs else "keep one")


def find_near(images: Sequence[Examined]) -> tuple[list[Pair], list[Pair]]:
    """Nearly equal images in different splits, and in one, by their places."""
    splits, contents = sorted({image.split for image in images}), {image.stored.entry.sha256: i for i, image in enumerate(images)}
    return near_pairs(
        [int(image.stored.entry.phash, 16) for image in images],
        np.array([image.stored.thumbnail for image in images]),
        [splits.index(image.split) for image in images],
        [contents[image.stored.entry.sha256] for image in images],
    )


def near_duplicates(images: Sequence[Examined], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Pairs across splits as findings, those that are most alike first."""
    for pair in sorted(pairs, key=lambda p: -p.correlation):
        first, second = images[pair.first], images[pair.second]
        what = f"is nearly the same picture as {first.name} (correlation {pair.correlation:.3f}), so figures may be too good"
        yield _pair(second, first, "near-duplicate", what, APART)


def _pair(image: Examined, other: Examined, kind: str, what: str, fix: str, severity: Severity = "warning") -> Finding:
    return replace(image.finding(kind, what, fix, severity), other=(other.split, other.stored.entry.image_id))


def in_pieces(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    for image in images:
        for apart in image.facts.apart:
            if apart.share >= MIN_PIECE and apart.gap > MIN_GAP * apart.length:
                name = classes[image.facts.categories[apart.instance]].name
                what = f"a {name} is in pieces: {apart.share:.0%} of it lies {apart.gap:.0f} pixels from the rest"
                yield image.finding("far-pieces", what, "give each object an id of its own", box=image.facts.box(apart.instance))


def overlapping(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """The same instance twice, and instances of two classes that overlap much."""
    for image in images:
        for overlap in image.facts.overlaps:
            names = [classes[image.facts.categories[i]].name for i in (overlap.first, overlap.second)]
            box = image.facts.box(overlap.first)
            if names[0] == names[1] and overlap.iou >= SAME:
                what = f"a {names[0]} is labelled twice: two instances with an IoU of {overlap.iou:.2f}"
                yield image.finding("duplicate-instance", what, "remove one of the two", box=box)
            elif names[0] != names[1] and overlap.iou >= OVERLAPPING:
                what = f"a {names[0]} and a {names[1]} are nearly the same region (IoU {overlap.iou:.2f})"
                yield image.finding("two-classes", what, "keep the class that is right", box=box)


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
        yield image.finding("tiny-instances", what, fix, box=image.facts.box(instance))


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
    pixels = np.sum([image.facts.class_pixels for image in images], axis=0)
    blobs, ignored, total = sum(image.facts.blobs for image in images), int(pixels[IGNORE]), int(pixels.sum())
    if blobs > BLOBS[0] * total and blobs > BLOBS[1] * ignored:
        several = f"as {len(found)} of {len(images)} images do ({blobs / total:.1%} of pixels)"
        what = f"ignores areas within one class, {several}: is this a class, not a border or a gap?"
        largest = max(found, key=lambda image: image.facts.blobs)
        yield largest.finding("ignored-blobs", what, "take the value out of data.source.ignore, and list it under `labels` of a class")


def ids_as_classes(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Every class one connected area in each image, and images with one class, or more from the first on: numbers of objects."""
    shown = [image for image in images if image.facts.present]
    several = [image for image in shown if image.facts.present >= 2 and image.facts.pieces]
    if len(shown) < ENOUGH or not several or len(classes) < 3:
        return
    single = all(image.facts.pieces == image.facts.present for image in several)
    in_turn = all(image.facts.class_pixels[1 : image.facts.present + 1].all() for image in shown)  # 1, 2, ... without a gap
    if single and in_turn and len({image.facts.present for image in shown}) > 1:
        first = f"the classes of each of {len(shown)} images are the first ones of the list, each a single area"
        what = f"{first}: are these numbers of objects, not classes?"
        yield Finding("ids-as-classes", "data.classes", what, "if so, read them as instances with data=id_maps and task=instance")
