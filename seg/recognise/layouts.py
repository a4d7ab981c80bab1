"""Layouts that are known by the names of their folders: those of public data sets, and a file an object or a class."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from seg.recognise.guess import NAME_FILES, Guess, Seen, instance_classes, lies_in, void_of
from seg.recognise.listing import Listing, Split, by_folders, completing, is_division
from seg.sources.listing import without_number

NOT_ALL_CITIES = "the classes of Cityscapes are taken for granted, and its folders for the split, as not all its cities are there"
ROOM = PurePosixPath("JPEGImages")
CITYSCAPES = {"cityscapes": "labelIds", "cityscapes_instances": "instanceIds", "cityscapes_trainids": "labelTrainIds"}  # ends of masks


def guesses(listing: Listing) -> list[Guess]:
    folders = listing.folders
    makers = (_voc, _cityscapes, _public, _a_file_an_object, _a_file_a_class)
    found = [guess for make in makers for guess in make(listing, folders)]
    for guess in found:
        places = {str(guess.source[key]).partition("{")[0].strip("/") for key in ("masks", "objects") if key in guess.source}
        images = str(guess.source.get("images", "")).partition("{")[0].strip("/")
        inside = [f for f in listing.pictures if any(lies_in(f, place) for place in places)]
        inside = [f for f in inside if images in places or not lies_in(f, images)]
        ending = f"_gtFine_{CITYSCAPES[guess.option]}" if guess.option in CITYSCAPES else ""
        guess.labels = frozenset(f for f in inside if f.stem.endswith(ending))
        seen = f"{guess.source['masks']}/*{ending}" if ending else " and ".join(sorted(places))
        guess.seen = [Seen(seen, guess.labels, f"labels as {guess.option} has them", f"--as {guess.option}")] if places else []
    return found


def _voc(listing: Listing, folders: set[PurePosixPath]) -> Iterator[Guess]:
    """Pascal VOC's own classes: a data set of others in its layout has a file that names them, and is read as folders."""
    home = next((f.parent for f in sorted(folders) if f.name == "SegmentationClass" and f.parent / ROOM in folders), None)
    named = [listing.path(f) for f in listing.files if f.name in NAME_FILES]
    if home is None or any("aeroplane" not in path.read_text(encoding="utf-8", errors="replace") for path in named):
        return
    objects = home / "SegmentationObject" in folders
    why = [f"{home / 'SegmentationClass'} beside JPEGImages, as Pascal VOC has them"]
    guess = Guess("voc", "instance" if objects else "semantic", why)
    guess.source = {name: (home / folder).as_posix() for name, folder in (("images", "JPEGImages"), ("masks", "SegmentationClass"))}
    guess.source |= {"objects": (home / "SegmentationObject").as_posix(), "task": guess.task}
    lists = {split: home / f"ImageSets/Segmentation/{split}.txt" for split in ("train", "val", "test")}
    there = {split: path.as_posix() for split, path in lists.items() if path in listing.files}
    if is_division(there):
        guess.split = {"by": "lists", **completing(there), "lists": {split: there.get(split) for split in lists}}
    guess.doubts.append("the 20 classes of Pascal VOC are taken for granted")
    yield guess


def _cityscapes(listing: Listing, folders: set[PurePosixPath]) -> Iterator[Guess]:
    home = next((f.parent for f in sorted(folders) if f.name == "leftImg8bit" and f.parent / "gtFine" in folders), None)
    if home is None:
        return
    prefix = "" if home == PurePosixPath(".") else f"{home}/"
    source = {"images": f"{prefix}leftImg8bit/{{split}}", "masks": f"{prefix}gtFine/{{split}}"}
    why, options = ["leftImg8bit/ beside gtFine/, as Cityscapes has them"], {"cityscapes": "semantic", "cityscapes_instances": "instance"}
    ids, train_ids = (any(f.stem.endswith(end) for f in listing.pictures) for end in ("_labelIds", "_labelTrainIds"))
    if train_ids and not ids:
        why, options = [*why, "the masks are of train ids (labelTrainIds)"], {"cityscapes_trainids": "semantic"}
    splits: list[tuple[Split, str]] = [({}, "the classes and cities of Cityscapes are taken for granted")]
    there = {split: split for split in ("train", "val", "test") if home / f"gtFine/{split}" in folders}
    if is_division(there):
        splits.append((by_folders(there), NOT_ALL_CITIES))
    for split, doubt in splits:
        for option, task in options.items():
            yield Guess(option, task, list(why), dict(source), split=dict(split), doubts=[doubt])


def _public(listing: Listing, folders: set[PurePosixPath]) -> Iterator[Guess]:
    names = {folder.as_posix() for folder in folders}
    if {"annotations/trimaps", "images"} <= names:
        why = ["annotations/trimaps/ beside images/, as the Oxford-IIIT Pet data set has them"]
        yield Guess("pet", "semantic", why, doubts=["its values 1, 2 and 3 (pet, background, border) are taken for granted"])
    if {"train", "trainannot", "val", "valannot", "test", "testannot"} <= names:
        why = ["train/ and trainannot/ and their like, as CamVid with 11 classes has them"]
        yield Guess("camvid", "semantic", why, doubts=["the 11 classes of CamVid are taken for granted"])


def _a_file_an_object(listing: Listing, folders: set[PurePosixPath]) -> Iterator[Guess]:
    """<folder>/<image>/images/<one file> and <folder>/<image>/masks/<a file an object>."""
    images = Counter(folder.parent for folder in folders if folder.name == "images" and folder.parent / "masks" in folders)
    if not (held := Counter(place.parent for place in images)):
        return
    home, count = held.most_common(1)[0]
    files = Counter(file.parent for file in listing.pictures)
    if count < 2 or any(files[place / "images"] != 1 for place in images if place.parent == home):
        return
    masks = sum(files[place / "masks"] for place in images if place.parent == home)
    why = [f"{count} folders in {home}/ hold images/ with one file and masks/ with some, {masks} in all: one an object"]
    source = {name: (home / "{image}" / name).as_posix() for name in ("images", "masks")} | {"category": "object"}
    yield Guess("dsb2018", "instance", why, source, instance_classes(["object"]))


def _a_file_a_class(listing: Listing, folders: set[PurePosixPath]) -> Iterator[Guess]:
    """masks/<class>/<image>, masks/<image>/<class> or masks/<image>_<class>."""
    masks = next((f for f in sorted(folders) if f.name.lower() in ("masks", "labels", "annotations", "gt")), None)
    images = next((f for f in sorted(folders) if f.name.lower() in ("images", "image", "img", "imgs")), None)
    if masks is None or images is None or masks.is_relative_to(images) or images.is_relative_to(masks):
        return
    names = {f.relative_to(images).with_suffix("").as_posix() for f in listing.pictures if f.is_relative_to(images)}
    inside = [f.relative_to(masks).with_suffix("").as_posix() for f in listing.pictures if f.is_relative_to(masks)]
    if not names or not inside or sum(name in names for name in inside) * 2 >= len(inside):
        return
    usual = Counter(label for name in inside for _, label in _cuts(name, names))
    patterns = {
        "{class}/{image}": lambda name: name.split("/", 1)[::-1] if "/" in name else None,
        "{image}/{class}": lambda name: name.rsplit("/", 1) if "/" in name else None,
        # of several cuts the one with the most usual end, then of the longest image's name, as names of images may begin alike
        "{image}_{class}": lambda name: max(_cuts(name, names), key=lambda cut: (usual[cut[1]], len(cut[0])), default=None),
    }
    for pattern, cut in patterns.items():
        found = [parts for name in inside if (parts := cut(name)) and parts[0] in names]
        classes = Counter(label for _, label in found)
        if pattern == "{image}_{class}" and len({without_number(name) for name in classes}) == 1:
            continue  # several masks of an image, as seg and seg_2
        if len(found) * 10 >= len(inside) * 9 and len(classes) >= 2 and max(classes.values()) > 1:
            word = _shared_word(classes) if pattern == "{image}_{class}" else ""
            pattern = pattern.replace("{class}", f"{word}{{class}}")
            classes = Counter({name[len(word) :]: n for name, n in classes.items()})
            why = [f"the files in {masks}/ are named {pattern}: {len(classes)} classes, a file each"]
            source = {"images": images.as_posix(), "masks": f"{masks}/{pattern}"}
            if pattern == "{image}/{class}" and (objects := _numbered_objects(classes)):
                why = [f"the files in {masks}/ are named {{image}}/<number>: {sum(classes.values())} in all, one an object"]
                source = {"images": images.as_posix(), "masks": f"{masks}/{{image}}", "category": objects}
                yield Guess("dsb2018", "instance", why, source, instance_classes([objects]))
            else:
                yield Guess("class_files", "semantic", why, source | void_of(classes), instance_classes(sorted(classes)))
            return


def _shared_word(names: Iterable[str]) -> str:
    """The word with which all names begin, and its separator, as class_ of class_chair and class_table."""
    known = list(names)
    starts = [known[0][: match.end()] for match in re.finditer(r"[-_. ]", known[0])]
    return next((start for start in reversed(starts) if all(name.startswith(start) and name != start for name in known)), "")


def _numbered_objects(names: Iterable[str]) -> str | None:
    """The class of the objects that files are of by their names: numbers, perhaps after one word; None for other names."""
    words = {match.group(1) if (match := re.fullmatch(r"([A-Za-z]*)[-_ ]?\d+", name)) else None for name in names}
    word = words.pop() if len(words) == 1 else None
    return None if word is None else "object" if word.lower() in ("", "mask", "instance", "object") else word


def _cuts(name: str, names: set[str]) -> list[list[str]]:
    """Each image's name with which a name begins, and what follows it after an underscore."""
    return [[name[: match.start()], name[match.end() :]] for match in re.finditer("_", name) if name[: match.start()] in names]
