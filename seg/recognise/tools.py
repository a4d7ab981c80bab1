"""Files of annotation programs: LabelMe, Supervisely, Label Studio, CVAT, and GeoJSON as QuPath and SpaceNet have it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from seg.core.errors import DataError
from seg.core.textfile import read_text
from seg.data.sample import BACKGROUND
from seg.recognise.guess import Guess, Seen, entry, instance_classes, is_background, void_of
from seg.recognise.listing import (
    SPLIT_WORDS,
    Listing,
    Split,
    by_folders,
    choices,
    common_folder,
    home_of,
    home_of_all,
    is_division,
    names_in,
    place,
    split_of,
    split_of_folders,
    with_split,
)
from seg.recognise.names import labelmap
from seg.recognise.patterns import alike

Contents = Mapping[PurePosixPath, Any]


def supervisely(listing: Listing, contents: Contents) -> Iterator[Guess]:
    """A file an image in ann/, of the image's whole name, beside img/."""
    known = {f: c for f, c in contents.items() if isinstance(c.get("objects"), list) and isinstance(c.get("size"), dict)}
    if not known:
        return
    labels = Counter(str(o.get("classTitle")) for c in known.values() for o in c["objects"] if isinstance(o, dict))
    guess = Guess("supervisely", "instance", [f"{len(known)} JSON files are Supervisely's, with {sum(labels.values())} objects"])
    folders = {f.parent.parent if f.parent.name == "ann" else f.parent for f in known}
    folder = common_folder(folders)
    if family := split_of_folders(folders):
        guess.split = by_folders(names_in(*family))
        guess.why.append("the folders' names say the split")
    place = family[0] if family else folder.as_posix()
    guess.source = {"images": place, "annotations": place} | void_of(labels)
    guess.classes = instance_classes(sorted(labels))
    guess.hold(known, f"{folder}/", "Supervisely's files, one an image")
    yield guess


def label_studio(listing: Listing, contents: Contents) -> Iterator[Guess]:
    """A list of tasks, each with data and annotations."""
    for file, content in contents.items():
        if not isinstance(content, list) or not all(isinstance(t, dict) and isinstance(t.get("data"), dict) for t in content):
            continue
        keys = Counter(key for task in content for key, value in task["data"].items() if isinstance(value, str))
        if not keys:
            continue
        key = max(keys, key=lambda k: (k in ("image", "img", "ocr", "url"), keys[k]))
        results = [r for t in content for a in t.get("annotations") or [] for r in a.get("result") or [] if isinstance(r, dict)]
        labels = Counter(str(v) for r in results for k, vs in (r.get("value") or {}).items() if k.endswith("labels") for v in vs)
        guess = Guess("label_studio", "instance", [f"{file} is an export of Label Studio: {len(content)} tasks, {len(results)} regions"])
        names = [os.path.basename(str(task["data"].get(key)).replace("\\", "/").rpartition("?")[2].rpartition("=")[2]) for task in content]
        place(guess, listing, {}, [file], images=home_of(listing, names, file))
        guess.source |= {"image_key": key} | void_of(labels)
        guess.classes = instance_classes(sorted(labels))
        yield guess


def geojson(listing: Listing, contents: Contents) -> Iterator[Guess]:
    """Features: a file an image, or one for all."""
    known = {f: c for f, c in contents.items() if c.get("type") == "FeatureCollection" and isinstance(c.get("features"), list)}
    if not known:
        return
    features = [feature for content in known.values() for feature in content["features"] if isinstance(feature, dict)]
    folder = common_folder({f.parent for f in known})
    guess = Guess("geojson", "instance", [f"{len(known)} files are GeoJSON, with {len(features)} features"])
    stems = [f.stem for f in known]
    images, prefixes = _images_of(listing, stems, folder)
    alone = len(known) == 1
    guess.source = {"images": images, "annotations": next(iter(known)).as_posix() if alone else folder.as_posix()} | prefixes
    label, labels = _label_of(features)
    pixels = any(_is_pixels(content) for content in known.values())
    found: dict[str, str | None] = {"coordinates": "pixels" if pixels else "geo", "label": label, "category": None if label else "object"}
    guess.source |= found | void_of(labels)
    guess.why.append(f"coordinates are taken for {'pixels' if pixels else 'those of the map'}")
    guess.classes = instance_classes(sorted(labels) or ["object"])
    guess.hold(known, str(guess.source["annotations"]), "GeoJSON")
    yield guess


def _images_of(listing: Listing, stems: Sequence[str], folder: PurePosixPath) -> tuple[str, dict[str, str]]:
    """The folder of images, and how names start before what they share with those of the files."""
    home = home_of(listing, stems, folder, stems=True)
    if home is not None:
        return home, {}
    places = Counter(file.parent for file in listing.pictures)
    if not places:
        return ".", {}
    most = places.most_common(1)[0][0]
    names = [file.stem for file in listing.pictures if file.parent == most]
    starts = {key: each[0][: alike(each)] for key, each in (("image_prefix", names), ("annotation_prefix", list(stems)))}
    return most.as_posix(), {key: start.rstrip("0123456789") for key, start in starts.items()} if len(stems) > 1 else {}


def _label_of(features: Sequence[Mapping[str, Any]]) -> tuple[str | None, list[str]]:
    """The property that holds the labels, as class or classification.name, and the labels; None without one."""
    for path in ("classification.name", "class", "label", "name", "category", "type"):
        found = []
        for feature in features:
            value: Any = feature.get("properties")
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            found.append(value)
        if features and all(isinstance(value, str) and value.strip() for value in found) and len(set(found)) * 2 <= max(2, len(found)):
            return path, sorted(set(map(str, found)))
    return None, []


def _is_pixels(content: Mapping[str, Any]) -> bool:
    """Whether coordinates are pixels: no coordinate system is named, and numbers lie beyond those of longitude and latitude."""
    if "crs" in content:
        return False
    numbers = [n for feature in content["features"][:50] for n in _numbers((feature.get("geometry") or {}).get("coordinates"))]
    return bool(numbers) and min(numbers) >= 0 and (max(numbers) > 180 or all(float(n).is_integer() for n in numbers))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield value


def labelme(listing: Listing, contents: Mapping[PurePosixPath, Any]) -> Iterator[Guess]:
    known = {f: c for f, c in contents.items() if isinstance(c.get("shapes"), list) and "imagePath" in c}
    if not known:
        return
    labels = Counter(str(s.get("label")) for c in known.values() for s in c["shapes"] if isinstance(s, dict))
    guess = Guess("labelme", "instance", [f"{len(known)} JSON files are LabelMe's, with {sum(labels.values())} shapes"])
    if by_split := _by_split(listing, known):
        guess.source, guess.split = by_split
        guess.why.append("the folders' names say the split")
    else:
        folders = {f.parent for f in known}
        folder = common_folder(folders)
        guess.source = {"images": _labelme_images(listing, known, folder), "annotations": folder.as_posix()}
        if len(folders) > 1:
            guess.doubts.append(f"the files lie in {len(folders)} folders: {', '.join(sorted(f.as_posix() for f in folders)[:4])}")
    guess.hold(known, str(guess.source["annotations"]), "LabelMe's files, one an image")
    guess.source |= void_of(labels)
    guess.classes = instance_classes(sorted(labels))
    yield guess


def _by_split(listing: Listing, known: Mapping[PurePosixPath, Any]) -> tuple[dict[str, Any], Split] | None:
    """The places and the split, where the folders of images say it as those of the JSON files do."""
    family = split_of_folders(f.parent for f in known)
    if family is None:
        return None
    pattern, folders = family
    split = by_folders(names_in(pattern, folders))
    train = {f: c for f, c in known.items() if f.is_relative_to(folders["train"])}
    images = with_split(_labelme_images(listing, train, folders["train"]), listing, split)
    return ({"images": images, "annotations": pattern}, split) if images is not None and "{split}" in images else None


def _labelme_images(listing: Listing, known: Mapping[PurePosixPath, Any], folder: PurePosixPath) -> str:
    """The folder of the images: where they have the JSON files' names, else the names that those tell, else that of the JSON files."""
    pictures = {f.with_suffix("") for f in listing.pictures}
    if any(f.with_suffix("") in pictures for f in known):
        return folder.as_posix()
    home = home_of(listing, [f.relative_to(folder).with_suffix("").as_posix() for f in known], folder, stems=True)
    told = [str(c["imagePath"]).replace("\\", "/").rpartition("/")[2] for c in known.values()]
    return home or home_of(listing, told, folder) or folder.as_posix()


def cvat(listing: Listing) -> Iterator[Guess]:
    known = {f: facts for f in listing.having(".xml") if (facts := _facts(listing.path(f)))}
    for first, split, files in choices(list(known)):
        names = known[first][0]
        labels = sorted(set().union(*(known[file][1] for file in files)))
        guess = Guess("cvat", "instance", [f"{first} is an export of CVAT for images: {len(names)} images, {len(labels)} labels"])
        home = home_of(listing, [f"{subset}/{name}" for name, subset in known[first][3]], first) if known[first][2] else None
        place(guess, listing, split, files, images=home or home_of_all(listing, names, first))
        subsets = {str(said): subset for subset in known[first][2] if (said := split_of(subset)[0])}
        if not split and len(subsets) == len(known[first][2]) and is_division(subsets):
            guess.split = by_folders(subsets)
            guess.why.append(f"the subsets of its images say the split: {', '.join(subsets.values())}")
        elif not split and len(known[first][2]) > 1:
            named = ", ".join(SPLIT_WORDS)
            guess.doubts.append(f"its subsets ({', '.join(known[first][2])}) are not used: data.split.folders says which is {named}")
        guess.source |= void_of(labels)
        guess.classes = instance_classes(labels)
        yield guess


def _facts(path: Path) -> tuple[list[str], list[str], list[str], list[tuple[str, str]]] | None:
    """The names of the images, the labels of their shapes, the subsets, and each name with its subset; None where it is no CVAT file."""
    names: list[tuple[str, str]] = []
    subsets: dict[str, None] = {}
    labels: set[str] = set()
    root = None
    try:
        for event, node in iterparse(path, ("start", "end")):
            if root is None:
                root = node.tag
                if root != "annotations":
                    return None
            if event == "end" and node.tag == "image":
                names.append((str(node.get("name")), str(node.get("subset") or "")))
                subsets |= {str(node.get("subset")): None} if node.get("subset") else {}
                labels.update(str(shape.get("label")) for shape in node if shape.tag != "tag")
                node.clear()
    except (ParseError, DefusedXmlException, OSError, ValueError, LookupError):
        return None
    return ([name for name, _ in names], sorted(labels - {"None"}), list(subsets), names) if names else None


def cvat_masks(listing: Listing) -> Iterator[Guess]:
    """An export 'Segmentation mask 1.1': labelmap.txt beside SegmentationClass/ and SegmentationObject/."""
    for file in listing.files:
        home = file.parent
        if file.name != "labelmap.txt" or not {home / "SegmentationClass", home / "JPEGImages"} <= listing.folders:
            continue
        try:
            _, colors = labelmap(read_text(listing.path(file)))
        except (DataError, ValueError, IndexError):
            continue
        objects = home / "SegmentationObject" in listing.folders
        guess = Guess("cvat_masks", "instance" if objects else "semantic", [f"{file} beside SegmentationClass/, as CVAT writes masks"])
        guess.source = {key: (home / name).as_posix() for key, name in (("images", "JPEGImages"), ("masks", "SegmentationClass"))}
        guess.source |= {"objects": (home / "SegmentationObject").as_posix(), "task": guess.task}
        known = sorted(colors.items(), key=lambda entry: not is_background(entry[1]))
        guess.classes = [entry(BACKGROUND if is_background(name) else name, shown) for shown, name in known]
        folder = home / "SegmentationClass"
        guess.labels = frozenset(f for f in listing.pictures if {folder, home / "SegmentationObject"} & set(f.parents))
        named = {"classes": folder} | ({"objects": home / "SegmentationObject"} if objects else {})
        for what, inside in named.items():
            files = frozenset(f for f in guess.labels if f.is_relative_to(inside))
            guess.seen.append(Seen(inside.as_posix(), files, f"maps of {what}", "--as cvat_masks"))
        yield guess
