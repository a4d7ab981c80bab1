"""Images and label images in folders of their own, paired by name: which are which, and what their values mean."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image

from seg.recognise.classes import color, entry, instance_classes, is_background, is_void, names_beside
from seg.recognise.guess import Guess
from seg.recognise.listing import Family, Listing, common_end, families
from seg.sample import BACKGROUND, IGNORE, Label

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
PROBED = 200  # label images that are opened, evenly chosen
FLAT = 0.8  # share of neighbouring pixels that are equal: more in a label image, less in a photograph
FEW = 5  # images that are opened
MAX_CLASSES = 64  # values or colours, above which label images are taken for id maps, or for none
VOID_COLORS = ((224, 224, 192),)  # of PASCAL VOC's borders
MOST_FOLDERS = 40  # with most images, that are compared with each other


@dataclass(frozen=True, slots=True)
class Look:
    """What a label image holds. kind: gray, palette or color. labels: pixels by value, or by colour. flat: share of equal neighbours.

    single: share of the values above 0 that are one connected piece each, as ids of instances are.
    """

    kind: str
    labels: dict[Label, int]
    flat: float
    single: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two families of folders whose files have the same names, but for the endings."""

    images: Family
    masks: Family
    image_suffix: str
    mask_suffix: str
    share: float
    count: int
    files: tuple[PurePosixPath, ...]
    pictures: tuple[PurePosixPath, ...]


def guesses(listing: Listing) -> list[Guess]:
    """A guess for each pair of folders whose second holds label images, the best first."""
    found = []
    for pair in sorted(_pairs(listing), key=lambda p: (-p.share, -p.count, len(p.masks.pattern))):
        looks = [look for look in (_look(listing.path(file)) for file in _some(pair.files)) if look]
        if not _are_labels(looks) or _are_labels([look for look in (_look(listing.path(file)) for file in pair.pictures[:FEW]) if look]):
            continue
        guess = _semantic(listing, looks) if not _are_ids(looks) else _ids(looks)
        guess.source = _source(pair) | guess.source
        guess.why.insert(
            0, f"{pair.count} images in {pair.images.pattern or '.'}/ have label images of their names in {pair.masks.pattern}/"
        )
        if pair.images.pattern.count("{split}"):
            guess.split = {"by": "folders", "ratios": None, "stratify": False, "folders": _split_names(pair)}
            guess.why.append("the folders' names say the split")
        if numbered := _numbered(pair.files):
            guess.doubts.append(f"{numbered}: slices or frames? split.by: blocks keeps neighbours in one split")
        if pair.share < 1:
            guess.source["skip_unlabelled"] = True
            guess.doubts.append(f"{1 - pair.share:.0%} of the images have no label image and are left out (source.skip_unlabelled)")
        found.append(guess)
    return found


def _numbered(files: Sequence[PurePosixPath]) -> str | None:
    """What to say where the files' names are numbers without gaps."""
    numbers = [re.search(r"(\d+)\D*$", file.stem) for file in files]
    found = sorted({int(match.group(1)) for match in numbers if match})
    if len(found) == len(files) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"the names are numbered {found[0]} to {found[-1]} without a gap"
    return None


def _are_labels(looks: Sequence[Look]) -> bool:
    return bool(looks) and float(np.median([look.flat for look in looks])) >= FLAT


def _source(pair: Pair) -> dict[str, Any]:
    return {
        "images": pair.images.pattern,
        "masks": pair.masks.pattern,
        "image_suffix": pair.image_suffix,
        "mask_suffix": pair.mask_suffix,
    }


def _split_names(pair: Pair) -> dict[str, str] | None:
    names = pair.images.names
    return None if all(split == name for split, name in names.items()) else names


def _pairs(listing: Listing) -> Iterator[Pair]:
    pictures = listing.pictures()
    holding: dict[PurePosixPath, list[PurePosixPath]] = {}
    for folder, files in pictures.items():
        for place in (folder, *folder.parents):
            holding.setdefault(place, []).extend(files)
    most = sorted(holding, key=lambda f: (-len(holding[f]), len(f.parts)))[:MOST_FOLDERS]
    known = families(most)
    for first in known:
        for second in known:
            if first.pattern != second.pattern and first.folders.keys() == second.folders.keys() and not _nested(first, second):
                pair = _pair(first, second, holding)
                if pair:
                    yield pair


def _nested(first: Family, second: Family) -> bool:
    return any(a.is_relative_to(b) or b.is_relative_to(a) for a in first.folders.values() for b in second.folders.values())


def _pair(first: Family, second: Family, holding: dict[PurePosixPath, list[PurePosixPath]]) -> Pair | None:
    images = [_stem(file, folder) for folder in first.folders.values() for file in holding[folder]]
    drawn = {_stem(f, folder): f for folder in second.folders.values() for f in holding[folder] if f.suffix.lower() in LOSSLESS}
    if not drawn:
        return None
    image_suffix, mask_suffix = _endings(images, list(drawn))
    matched = [name for name in (i.removesuffix(image_suffix) + mask_suffix for i in images if i.endswith(image_suffix)) if name in drawn]
    share = len(matched) / len(images)
    if share < 0.5:
        return None
    masks, pictures = tuple(drawn[name] for name in matched), tuple(holding[next(iter(first.folders.values()))])
    return Pair(first, second, image_suffix, mask_suffix, share, len(matched), masks, pictures)


def _stem(file: PurePosixPath, folder: PurePosixPath) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str]:
    """What ends the names of images and of masks beside the part that they share."""
    there = set(images)
    if sum(name in there for name in masks) * 2 >= len(images):
        return "", ""
    ends = Counter(name[cut:] for name in masks for cut in range(len(name) - 1, 0, -1) if name[:cut] in there)
    if ends and ends.most_common(1)[0][1] * 2 >= len(images):
        return "", ends.most_common(1)[0][0]
    return _word(common_end(images)), _word(common_end(masks))


def _word(end: str) -> str:
    """The end from its first separator on, so that no digit of a number is taken for an ending."""
    match = re.search(r"[-_. ].*", end)
    return match.group(0) if match else ""


def _some(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    step = max(1, len(files) // PROBED)
    return list(files[::step])


@lru_cache(maxsize=4096)
def _look(path: Path) -> Look | None:
    """What a label image holds; None where it cannot be opened, or is no label image."""
    try:
        with Image.open(path) as picture:
            palette = picture.mode == "P"
            pixels = np.asarray(picture.convert("RGB") if picture.mode in ("P", "RGBA", "LA", "CMYK") else picture)
    except (OSError, ValueError, SyntaxError):
        return None
    if pixels.dtype.kind == "f":
        return None
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if pixels.ndim == 3:
        gray = not palette and bool((pixels == pixels[..., :1]).all())
        codes = pixels[..., 0].astype(np.int64) if gray else (pixels.astype(np.int64) << np.array([16, 8, 0])).sum(axis=2)
        kind = "gray" if gray else "palette" if palette else "color"
    else:
        codes, kind = pixels.astype(np.int64), "gray"
    values, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    flat = float((codes[:, 1:] == codes[:, :-1]).mean()) if codes.shape[1] > 1 else 1.0
    labels: dict[Label, int] = {
        int(v) if kind == "gray" else (int(v) >> 16, int(v) >> 8 & 255, int(v) & 255): int(n) for v, n in zip(values, counts, strict=True)
    }
    return Look(kind, labels, flat, _single(inverse.reshape(codes.shape), values) if flat >= FLAT and kind == "gray" else 0.0)


def _single(places: np.ndarray, values: np.ndarray) -> float:
    """Of the values above 0, the share that is one connected piece."""
    above = [place for place, value in enumerate(values) if value > 0]
    pieces = [cv2.connectedComponents((places == place).astype(np.uint8), connectivity=8)[0] - 1 for place in above[:200]]
    return sum(number == 1 for number in pieces) / len(pieces) if pieces else 0.0


def _are_ids(looks: Sequence[Look]) -> bool:
    """Whether gray values number instances: each is one piece, they differ from image to image, and some images have many."""
    if any(look.kind != "gray" for look in looks):
        return False
    values = [{v for v in look.labels if v != 0} for look in looks]
    most, every = max(len(v) for v in values), set[Label]().union(*values)
    if len(every) > 255 or max((v for v in every if isinstance(v, int)), default=0) > 255:
        return True
    single = float(np.mean([look.single for look, v in zip(looks, values, strict=True) if v])) if any(values) else 0.0
    return most > 5 and single > 0.95 and len({len(v) for v in values}) > 1


def _ids(looks: Sequence[Look]) -> Guess:
    most = max(len(look.labels) - (0 in look.labels) for look in looks)
    why = [f"each value above 0 in a label image is one connected piece, up to {most} of them: the values number instances"]
    return Guess("id_maps", "instance", why, {"category": "object", "categories": None}, instance_classes(["object"]))


def _semantic(listing: Listing, looks: Sequence[Look]) -> Guess:
    pixels: Counter[Label] = Counter()
    for look in looks:
        pixels.update(look.labels)
    names = names_beside(listing)
    if all(look.kind == "gray" for look in looks):
        return _gray({value: count for value, count in pixels.items() if isinstance(value, int)}, names)
    return _colors({c: n for c, n in pixels.items() if isinstance(c, tuple)}, {look.kind for look in looks}, names)


def _gray(pixels: dict[int, int], named: tuple[str, list[str]] | None) -> Guess:
    values = sorted(pixels)
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    guess = Guess("folders", "semantic", [f"the label images are gray, with the values {shown}"], {"labels": "index"})
    ignore = [IGNORE] if values[-1] == IGNORE and len(values) > 2 else []
    plain = [value for value in values if value not in ignore]
    if named and plain[-1] < len(named[1]):
        guess.why.append(f"{named[0]} names the values, a line each")
        void = [value for value, name in enumerate(named[1]) if is_void(name)]
        classes = [(value, name) for value, name in enumerate(named[1]) if value not in void]
        gaps = [value for value, _ in classes] != list(range(len(classes)))
        guess.classes = [entry(BACKGROUND if is_background(n) else n, color(v), [v] if gaps else ()) for v, n in classes]
        ignore += void
    elif len(plain) == 2:
        low, high = plain
        labels = ([low], [high]) if (low, high) != (0, 1) else ((), ())
        guess.classes = [entry(BACKGROUND, (0, 0, 0), labels[0]), entry("foreground", (255, 255, 255), labels[1])]
        guess.doubts.append(f"{low} is taken for the background and {high} for what is looked for; turn them round if it is the other way")
    else:
        gaps = plain != list(range(len(plain)))
        guess.classes = [entry(f"class{v}", color(k + 1), [v] if gaps else ()) for k, v in enumerate(plain)]
        guess.doubts.append("no file names the classes: give each its name")
    guess.source["ignore"] = ignore
    if ignore:
        guess.doubts.append(f"the values {ignore} are ignored: neither learned from nor counted")
    return guess


def _colors(pixels: dict[tuple[int, int, int], int], kinds: set[str], named: tuple[str, list[str]] | None) -> Guess:
    what = "palette PNGs, read by colour" if kinds == {"palette"} else "colour images"
    guess = Guess("folders", "semantic", [f"the label images are {what}, with {len(pixels)} colours"], {"labels": "color"})
    ignore = [list(c) for c in VOID_COLORS if c in pixels]
    left = sorted((c for c in pixels if list(c) not in ignore), key=lambda c: (c != (0, 0, 0), -pixels[c]))
    if len(left) > MAX_CLASSES:
        total = sum(pixels.values())
        guess.doubts.append(
            f"{len(left)} colours are many: soft borders, or ids of instances? the {MAX_CLASSES} commonest are listed, "
            f"{sum(pixels[c] for c in left[:MAX_CLASSES]) / total:.1%} of the pixels"
        )
        left = left[:MAX_CLASSES]
    guess.classes = [entry(BACKGROUND if c == (0, 0, 0) else f"class{k}", c) for k, c in enumerate(left)]
    lines = [name for name in named[1] if not is_void(name)] if named else []
    order = {tuple(color(k)): name for k, name in enumerate(lines)}
    if named and all(c in order for c in left):
        guess.why.append(f"{named[0]} names the colours, in the order of PASCAL VOC's map")
        guess.classes = [entry(BACKGROUND if is_background(n) else n, color(k)) for k, n in enumerate(lines)]
    else:
        guess.doubts.append("no file names the colours: give each class its name")
    guess.source["ignore"] = ignore
    if ignore:
        guess.doubts.append(f"the colours {ignore} are ignored: neither learned from nor counted")
    return guess
