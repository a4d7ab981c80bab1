"""Images and label images that lie in folders of their own, or in one, and share their names but for the endings."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from seg.recognise.files import LABEL_WORD
from seg.recognise.listing import Family, Listing, common_end, families, is_division, split_of

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
MOST_FOLDERS = 40  # with most images, that are compared with each other
MOST_ENDINGS = 12  # of names in one folder, the commonest, that are compared with each other

Holding = dict[PurePosixPath, list[PurePosixPath]]
"""The image files below each folder, at any depth."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two families of folders, or one, whose files have the same names, but for the endings.

    share, count: of the images that have a label image. files: the label images. pictures: the images of the first folder.
    """

    images: Family
    masks: Family
    image_suffix: str
    mask_suffix: str
    share: float
    count: int
    files: tuple[PurePosixPath, ...]
    pictures: tuple[PurePosixPath, ...]

    @property
    def together(self) -> bool:
        """Whether images and label images lie in the same folders."""
        return self.images.pattern == self.masks.pattern


def pairs(listing: Listing) -> list[Pair]:
    """All pairs, the best first: those of most images, with a split, with no image left over, not of labels with labels."""

    def order(pair: Pair) -> tuple[object, ...]:
        by_split, labels = "{split}" in pair.images.pattern, bool(LABEL_WORD.search(pair.images.pattern))
        return -pair.count, not by_split, -pair.share, labels, len(pair.masks.pattern)

    return sorted(_pairs(listing), key=order)


def _pairs(listing: Listing) -> Iterator[Pair]:
    pictures = listing.pictures()
    holding: Holding = {}
    for folder, files in pictures.items():
        for place in (folder, *folder.parents):
            holding.setdefault(place, []).extend(files)
    most = sorted(holding, key=lambda f: (-len(holding[f]), len(f.parts)))[:MOST_FOLDERS]
    for first in families(most):
        for second in families(most):
            shared = first.folders.keys() & second.folders.keys()
            images, masks = first.within(shared), second.within(shared)
            fitting = ("" in shared or is_division(shared)) and not _nested(images, masks) and not _apart(images, masks)
            if fitting and (pair := _pair(images, masks, holding)):
                yield pair
        if pair := _together(first, pictures):
            yield pair


def _nested(first: Family, second: Family) -> bool:
    return any(a.is_relative_to(b) or b.is_relative_to(a) for a in first.folders.values() for b in second.folders.values())


def _apart(first: Family, second: Family) -> bool:
    """Whether the names of two folders say different splits."""
    one, other = (split_of(family.pattern)[0] for family in (first, second))
    return one is not None and other is not None and one != other


def _pair(first: Family, second: Family, holding: Holding) -> Pair | None:
    images = list(_stems(first, holding))
    drawn = {name: f for name, f in _stems(second, holding).items() if _drawn(f)}
    if not drawn:
        return None
    image_suffix, mask_suffix = _endings(images, list(drawn))
    matched = [name for name in (i.removesuffix(image_suffix) + mask_suffix for i in images if i.endswith(image_suffix)) if name in drawn]
    share = len(matched) / len(images)
    if share < 0.5:
        return None
    masks, pictures = tuple(drawn[name] for name in matched), tuple(holding[next(iter(first.folders.values()))])
    return Pair(first, second, image_suffix, mask_suffix, share, len(matched), masks, pictures)


def _together(family: Family, pictures: Holding) -> Pair | None:
    """Images and label images in one folder, as scene.jpg and scene_mask.png, or scene_image.png and scene_mask.png."""
    if not all(folder in pictures for folder in family.folders.values()):
        return None
    files = _stems(family, pictures)
    ends: dict[str, set[str]] = defaultdict(set)
    for name in files:
        ends[""].add(name)
        for cut in re.finditer(r"(?<=.)[-_.]", name):
            ends[name[cut.start() :]].add(name[: cut.start()])
    usual = sorted(ends, key=lambda end: -len(ends[end]))[:MOST_ENDINGS]
    found = [(one, other) for one in usual for other in usual if other and one != other and LABEL_WORD.search(other)]
    matched = {ending: sorted(name for name in ends[ending[0]] & ends[ending[1]] if _drawn(files[name + ending[1]])) for ending in found}
    if not matched:
        return None
    (image_end, mask_end), names = max(matched.items(), key=lambda item: len(item[1]))
    images = [name for name in files if name.endswith(image_end) and not name.endswith(mask_end)]
    if not names or len(names) * 2 < len(images):
        return None
    masks, drawn = tuple(files[name + mask_end] for name in names), tuple(files[name] for name in images)
    return Pair(family, family, image_end, mask_end, len(names) / len(images), len(names), masks, drawn)


def _drawn(file: PurePosixPath) -> bool:
    return file.suffix.lower() in LOSSLESS


def _stems(family: Family, holding: Holding) -> dict[str, PurePosixPath]:
    """The files of a family by split and name, without suffix."""
    places = family.folders.items()
    return {f"{split}/{f.relative_to(place).with_suffix('').as_posix()}": f for split, place in places for f in holding[place]}


def _endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str]:
    """What ends the names of images and of masks beside the part that they share."""
    there = set(images)
    if sum(name in there for name in masks) * 2 >= len(images):
        return "", ""
    ends = Counter(name[cut:] for name in masks for cut in range(len(name) - 1, 0, -1) if name[:cut] in there)
    if ends and ends.most_common(1)[0][1] * 2 >= len(images):
        return "", ends.most_common(1)[0][0]
    one, other = common_end(images), common_end(masks)
    cuts = [match.start() for match in re.finditer(r"[-_. ]", one) if other.startswith(one[: match.end()])]
    start = max(cuts, default=0)  # of names that all share a number before their endings
    return _word(one[start:]), _word(other[start:])


def _word(end: str) -> str:
    """The end from its first separator on, so that no digit of a number is taken for an ending."""
    match = re.search(r"[-_. ].*", end)
    return match.group(0) if match else ""
