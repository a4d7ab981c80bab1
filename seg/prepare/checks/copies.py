"""Checks for the same picture, or nearly the same, in two splits or twice in one."""

from collections.abc import Iterator, Sequence

import numpy as np

from seg.prepare.checks.facts import Examined
from seg.raw.findings import Finding, Severity
from seg.storing.duplicates import Pair, near_pairs

APART = "remove one, or keep both in one split with data.split.group"


def same_pictures(images: Sequence[Examined]) -> Iterator[Finding]:
    """The same picture, by its pixels: an error across splits, and a warning within one."""
    seen: dict[str, Examined] = {}
    for image in images:
        before = seen.setdefault(image.stored.entry.sha256, image)
        if before is image:
            continue
        if before.split != image.split:
            what = f"is the same picture as {before.name}, so figures would be too good"
            yield _of(image, before, "same-picture", what, APART, "error")
        else:
            differs = image.stored.labels_sha256 != before.stored.labels_sha256
            what = f"is the same picture as {before.name}, {'but has other labels' if differs else 'with the same labels'}"
            yield _of(image, before, "duplicate-image", what, "keep one, with the right labels" if differs else "keep one", "warning")


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
        yield _of(second, first, "near-duplicate", what, APART, "warning")


def _of(image: Examined, other: Examined, kind: str, what: str, fix: str, severity: Severity) -> Finding:
    pair = (other.split, other.stored.entry.image_id)
    return Finding(kind, image.path, what, fix, severity, image.stored.entry.image_id, split=image.split, other=pair)
