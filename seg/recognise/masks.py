"""Images and label images, paired by name: what the label images' values or colours mean."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from seg.data.sample import BACKGROUND, IGNORE, Color, Label
from seg.recognise.classes import color, entry, instance_classes, is_background, is_void, names_beside
from seg.recognise.files import LABEL_WORD, by_folders
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing, split_of
from seg.recognise.looks import Look, are_ids, are_labels, are_richer, look
from seg.recognise.pairs import Pair, pairs

PROBED = 200  # label images that are opened, evenly chosen
FEW = 5  # images that are opened, and label images before all others are
MAX_VALUE = 200  # of a class, as COCO's ids have it, beside which 255 is void; with more in between the borders are soft
SOFT = 0.2  # share of pixels in soft borders, at most
MAX_CLASSES = 64  # values or colours that are listed, of more the commonest
VOID_COLORS = ((224, 224, 192),)  # of PASCAL VOC's borders


def guesses(listing: Listing) -> list[Guess]:
    """A guess for each folder of label images, or each family of such folders, with the images that fit it best."""
    known = pairs(listing)
    found: list[Guess] = []
    taken: set[PurePosixPath] = set()
    for pair in known:
        labels = pair.masks.folders.values()
        known_already = all(any(f.is_relative_to(t) or t.is_relative_to(f) for t in taken) for f in labels)
        if not known_already and (guess := _guess(listing, pair, known)):
            found.append(guess)
            taken.update(labels)
    return found


def _guess(listing: Listing, pair: Pair, known: Sequence[Pair]) -> Guess | None:
    if not are_labels(_looks(listing, pair.files[:FEW])):
        return None
    some = pair.files[:: max(1, len(pair.files) // PROBED)]
    looks, pictures = _looks(listing, some), _looks(listing, pair.pictures[:FEW])
    if not are_labels(looks) or (are_labels(pictures) and (LABEL_WORD.search(pair.images.pattern) or not are_richer(pictures, looks))):
        return None
    guess = _ids(looks) if are_ids(looks) else _semantic(listing, looks)
    guess.source = _source(pair) | guess.source
    where = "beside them" if pair.together else f"of their names in {pair.masks.pattern}/"
    guess.why.insert(0, f"{pair.count} images in {pair.images.pattern or '.'}/ have label images {where}")
    if len(some) < len(pair.files):
        guess.doubts.append(f"{len(some)} of {len(pair.files)} label images were opened: rare values may be missing in the classes")
    if "{split}" in pair.images.pattern:
        guess.split = by_folders(pair.images.names)
        guess.why.append("the folders' names say the split")
    guess.doubts += _doubts(pair, known)
    if pair.share < 1 or (pair.together and not pair.image_suffix):
        guess.source["skip_unlabelled"] = True
    return guess


def _looks(listing: Listing, files: Sequence[PurePosixPath]) -> list[Look]:
    return [found for found in (look(listing.path(file)) for file in files) if found]


def _source(pair: Pair) -> dict[str, Any]:
    return {
        "images": pair.images.pattern,
        "masks": pair.masks.pattern,
        "image_suffix": pair.image_suffix,
        "mask_suffix": pair.mask_suffix,
    }


def _doubts(pair: Pair, known: Sequence[Pair]) -> list[str]:
    """What may be wrong with a pair's split, and with images that it leaves out."""
    found = []
    if numbered := _numbered(pair.files):
        found.append(f"{numbered}: slices or frames? split.by: blocks keeps neighbours in one split")
    if "{split}" not in pair.images.pattern:
        pattern = split_of(pair.images.pattern)
        apart = [p.images.pattern for p in known if p is not pair and pattern[0] and split_of(p.images.pattern)[1] == pattern[1]]
        if others := sorted({place for place in apart if place != pair.images.pattern}):
            found.append(f"{', '.join(others)} too has labels, and is not read: a split by folders needs train, and val or test")
        inside = {split_of(part)[0] for f in pair.pictures for part in f.relative_to(pair.images.pattern).parts[:-1]} - {None}
        if len(inside) > 1:
            names = " and ".join(sorted(str(split) for split in inside))
            found.append(f"folders are called {names}, but images are split by ratios: a split by folders needs train, and val or test")
    if pair.share < 1:
        found.append(f"{1 - pair.share:.0%} of the images have no label image and are left out (source.skip_unlabelled)")
    return found


def _numbered(files: Sequence[PurePosixPath]) -> str | None:
    """What to say where the files' names are numbers without gaps."""
    numbers = [re.search(r"(\d+)\D*$", file.stem) for file in files]
    found = sorted({int(match.group(1)) for match in numbers if match})
    if len(found) == len(files) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"the names are numbered {found[0]} to {found[-1]} without a gap"
    return None


def _ids(looks: Sequence[Look]) -> Guess:
    most = max(len(one.labels) - (0 in one.labels) for one in looks)
    why = [f"each value above 0 in a label image is one connected piece, up to {most} of them: the values number instances"]
    return Guess("id_maps", "instance", why, {"category": "object", "categories": None}, instance_classes(["object"]))


def _semantic(listing: Listing, looks: Sequence[Look]) -> Guess:
    pixels: Counter[Label] = Counter()
    for one in looks:
        pixels.update(one.labels)
    names = names_beside(listing)
    if all(one.kind == "gray" for one in looks):
        return _gray({value: count for value, count in pixels.items() if isinstance(value, int)}, names)
    colors: Counter[Color] = Counter()
    for label, count in pixels.items():  # an image that happens to hold grays alone was taken for gray
        colors[label if isinstance(label, tuple) else (int(label),) * 3] += count
    return _colors(colors, {one.kind for one in looks} - {"gray"}, names)


def _gray(pixels: dict[int, int], named: tuple[str, list[str]] | None) -> Guess:
    values = sorted(pixels)
    shown = ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
    guess = Guess("folders", "semantic", [f"the label images are gray, with the values {shown}"], {"labels": "index"})
    ignore = [IGNORE] if values[-1] == IGNORE and len(values) > 2 and values[-2] <= MAX_VALUE else []
    plain = [value for value in values if value not in ignore]
    if named and plain[-1] < len(named[1]):
        guess.why.append(f"{named[0]} names the values, a line each")
        void = [value for value, name in enumerate(named[1]) if is_void(name)]
        classes = [(value, name) for value, name in enumerate(named[1]) if value not in void]
        gaps = [value for value, _ in classes] != list(range(len(classes)))
        guess.classes = [entry(BACKGROUND if is_background(n) else n, color(v), [v] if gaps else ()) for v, n in classes]
        ignore += void
    elif len(plain) == 2 or _soft(plain, pixels):
        low, high = plain[0], plain[-1]
        if len(plain) > 2:
            guess.source["others"] = "ignore"
            guess.doubts.append(f"{len(plain) - 2} values lie between 0 and 255, as soft borders have: they are ignored (source.others)")
        labels = ([low], [high]) if (low, high) != (0, 1) else ((), ())
        guess.classes = [entry(BACKGROUND, (0, 0, 0), labels[0]), entry("foreground", (255, 255, 255), labels[1])]
        guess.doubts.append(f"{low} is taken for the background and {high} for what is looked for; turn them round if it is the other way")
    else:
        if len(plain) > MAX_CLASSES:
            guess.doubts.append(_many("values", len(plain), pixels))
            plain = sorted(sorted(plain, key=lambda value: -pixels[value])[:MAX_CLASSES])
        gaps = plain != list(range(len(plain)))
        guess.classes = [entry(f"class{v}", color(k + 1), [v] if gaps else ()) for k, v in enumerate(plain)]
        guess.doubts.append("no file names the classes: give each its name")
    guess.source["ignore"] = ignore
    if ignore:
        guess.doubts.append(f"the values {ignore} are ignored: neither learned from nor counted")
    return guess


def _soft(values: Sequence[int], pixels: Mapping[int, int]) -> bool:
    """Whether a few pixels have values in between 0 and 255, as drawn borders that were smoothed or scaled have."""
    between = sum(pixels[value] for value in values[1:-1])
    return values[0] == 0 and values[-1] == IGNORE and between <= SOFT * sum(pixels[value] for value in values)


def _colors(pixels: dict[tuple[int, int, int], int], kinds: set[str], named: tuple[str, list[str]] | None) -> Guess:
    what = "palette PNGs, read by colour" if kinds == {"palette"} else "colour images"
    guess = Guess("folders", "semantic", [f"the label images are {what}, with {len(pixels)} colours"], {"labels": "color"})
    ignore = [list(c) for c in VOID_COLORS if c in pixels]
    left = sorted((c for c in pixels if list(c) not in ignore), key=lambda c: (c != (0, 0, 0), -pixels[c]))
    if len(left) > MAX_CLASSES:
        guess.doubts.append(_many("colours", len(left), pixels))
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


def _many(what: str, count: int, pixels: Mapping[Any, int]) -> str:
    """What to say of more values or colours than classes have; pixels: the number of each."""
    most = sum(sorted(pixels.values())[-MAX_CLASSES:]) / sum(pixels.values())
    return f"{count} {what} are many: soft borders, or ids of instances? the {MAX_CLASSES} commonest are listed, {most:.1%} of the pixels"
