"""Annotation files: COCO and COCO panoptic, VIA, LabelMe, CVAT, YOLO, each known by what stands in it."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from defusedxml.ElementTree import ParseError, iterparse

from seg.recognise.classes import color, entry, instance_classes, is_background, is_void
from seg.recognise.guess import Guess
from seg.recognise.listing import SPLIT_WORDS, Listing, split_of
from seg.sources.pairing import is_picture

PROBED = 50  # names of images that are looked for
LABELS_READ = 2000  # LabelMe files whose labels are gathered
YOLO_LINE = re.compile(r"\d+( +-?[\d.]+([eE]-?\d+)?){4,}\s*$")
YOLO_NAMES = ("data.yaml", "config.yaml", "dataset.yaml", "classes.txt")


def guesses(listing: Listing) -> list[Guess]:
    """A guess for each kind of annotation file there is."""
    contents = [(file, content) for file in listing.having(".json") if isinstance(content := _json(listing.path(file)), dict)]
    makers: tuple[Callable[[Listing, Sequence[tuple[PurePosixPath, Any]]], Iterator[Guess]], ...] = (_panoptic, _coco, _via, _labelme)
    found = [guess for make in makers for guess in make(listing, contents)]
    return [*found, *_cvat(listing), *_yolo(listing)]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, OSError):
        return None


def _panoptic(listing: Listing, contents: Sequence[tuple[PurePosixPath, Any]]) -> Iterator[Guess]:
    known = {f: c for f, c in contents if _has(c, "segments_info")}
    if not known:
        return
    first, split, doubts = _chosen(list(known))
    content = known[first]
    images = _home(listing, [str(i.get("file_name")) for i in content["images"]], (".png",) if _jpegs(listing) else ())
    masks = _home(listing, [str(a.get("file_name")) for a in content["annotations"]], ())
    things = [c for c in content["categories"] if c.get("isthing")]
    guess = Guess("coco_panoptic", "instance", [f"{first} is a COCO panoptic file: {_counted(content)}, {len(things)} of them of things"])
    guess.source = {"annotations": _pattern(first, split), "images": _pattern(images, split), "masks": _pattern(masks, split)}
    guess.split, guess.doubts = split, doubts
    if not _are_those_of(content["categories"], 133):
        guess.classes = [entry(str(c["name"]), c.get("color") or color(k + 1)) for k, c in enumerate(content["categories"])]
    yield guess


def _coco(listing: Listing, contents: Sequence[tuple[PurePosixPath, Any]]) -> Iterator[Guess]:
    known = {f: c for f, c in contents if _has(c, "segmentation")}
    if not known:
        return
    first, split, doubts = _chosen(list(known))
    content = known[first]
    guess = Guess("coco", "instance", [f"{first} is a COCO instances file: {_counted(content)}"], doubts=doubts)
    images = _home(listing, [str(i.get("file_name")) for i in content["images"]], ())
    guess.source, guess.split = {"annotations": _pattern(first, split), "images": _pattern(images, split)}, split
    names = [str(c["name"]) for c in content["categories"]]
    guess.source["ignore"] = [name for name in names if is_void(name)]
    if not _are_those_of(content["categories"], 80):
        guess.classes = instance_classes(names)
    yield guess


def _via(listing: Listing, contents: Sequence[tuple[PurePosixPath, Any]]) -> Iterator[Guess]:
    known = {f: entries for f, c in contents if (entries := _via_entries(c))}
    if not known:
        return
    first, split, doubts = _chosen(list(known))
    regions = [r for entry in known[first] for r in (entry["regions"].values() if isinstance(entry["regions"], dict) else entry["regions"])]
    attributes = [r.get("region_attributes") or {} for r in regions]
    named = Counter(key for a in attributes for key, value in a.items() if isinstance(value, str) and value)
    guess = Guess("via", "instance", [f"{first} is of the VGG Image Annotator: {len(known[first])} images, {len(regions)} regions"])
    images = _home(listing, [str(entry["filename"]) for entry in known[first]], ())
    guess.source, guess.split = {"annotations": _pattern(first, split), "images": _pattern(images, split)}, split
    guess.doubts = doubts
    if named:
        values = {key: {str(a[key]) for a in attributes if isinstance(a.get(key), str) and a[key]} for key in named}
        key = max(named, key=lambda k: (named[k], k in ("label", "class", "name", "type", "category"), -len(values[k])))
        guess.source |= {"attribute": key, "category": None}
        guess.why.append(f"the region attribute '{key}' holds the labels")
        guess.classes = instance_classes(sorted(values[key]))
        if named[key] < len(regions):
            guess.doubts.append(f"{len(regions) - named[key]} of {len(regions)} regions have no '{key}'")
    else:
        guess.source |= {"attribute": None, "category": "object"}
        guess.classes = instance_classes(["object"])
    yield guess


def _labelme(listing: Listing, contents: Sequence[tuple[PurePosixPath, Any]]) -> Iterator[Guess]:
    known = {f: c for f, c in contents if isinstance(c.get("shapes"), list) and "imagePath" in c}
    if not known:
        return
    folders = Counter(f.parent for f in known)
    folder = _common([f.parent for f in known])
    labels = Counter(str(s.get("label")) for c in list(known.values())[:LABELS_READ] for s in c["shapes"] if isinstance(s, dict))
    pictures = [f for f in listing.files if is_picture(Path(f))]
    beside = sum(any(p.parent == f.parent and p.stem == f.stem for p in pictures) for f in known)
    images = folder
    doubts = []
    if not beside:
        names = [PurePosixPath(str(c["imagePath"]).replace("\\", "/")).name for c in known.values()]
        images = PurePosixPath(_home(listing, names, ()))
    if len(folders) > 1:
        doubts.append(f"the files lie in {len(folders)} folders: {', '.join(f.as_posix() for f in list(folders)[:4])}")
    guess = Guess("labelme", "instance", [f"{len(known)} JSON files are LabelMe's, with {sum(labels.values())} shapes"], doubts=doubts)
    void = [name for name in labels if is_void(name)]
    guess.source = {"images": images.as_posix(), "annotations": folder.as_posix(), "ignore": void or ["__ignore__"]}
    guess.classes = instance_classes(sorted(labels))
    guess.classes[0]["labels"] = [name for name in sorted(labels) if is_background(name)] or ["_background_"]
    yield guess


def _cvat(listing: Listing) -> Iterator[Guess]:
    known = {f: facts for f in listing.having(".xml") if (facts := _cvat_facts(listing.path(f)))}
    if not known:
        return
    first, split, doubts = _chosen(list(known))
    names, labels = known[first]
    guess = Guess(
        "cvat", "instance", [f"{first} is an export of CVAT for images: {len(names)} images, {len(labels)} labels"], doubts=doubts
    )
    guess.source = {"annotations": _pattern(first, split), "images": _pattern(_home(listing, names, ()), split)}
    guess.source["ignore"] = [name for name in labels if is_void(name)]
    guess.split, guess.classes = split, instance_classes(labels)
    yield guess


def _cvat_facts(path: Path) -> tuple[list[str], list[str]] | None:
    """The names of the images and the labels of a CVAT file; None where it is another."""
    names: list[str] = []
    labels: set[str] = set()
    root = None
    try:
        for event, node in iterparse(path, ("start", "end")):
            if root is None:
                root = node.tag
                if root != "annotations":
                    return None
            if event == "end" and node.tag == "image":
                names.append(str(node.get("name")))
                labels.update(str(shape.get("label")) for shape in node)
                node.clear()
    except (ParseError, OSError):
        return None
    return (names, sorted(labels - {"None"})) if names else None


def _yolo(listing: Listing) -> Iterator[Guess]:
    pictures = {file.with_suffix("") for file in listing.files if is_picture(Path(file))}
    stems = {file.name for file in pictures}
    texts = [f for f in listing.having(".txt") if f.stem in stems and "labels" in f.parts]
    if not texts or not _is_yolo(listing, texts):
        return
    at = texts[0].parts.index("labels")
    home = PurePosixPath(*texts[0].parts[:at])
    images = next((p for p in (home / "images", home.parent / "images", PurePosixPath("images")) if _below(p, pictures)), None)
    if images is None:
        return
    names = [f for f in listing.files if f.name.lower() in YOLO_NAMES and (f.parent == home or len(f.parts) == 1)]
    guess = Guess("yolo", "instance", [f"{len(texts)} text files in {home / 'labels'}/ hold YOLO's lines, a polygon each"])
    guess.source = {
        "images": images.as_posix(),
        "annotations": (home / "labels").as_posix(),
        "names": names[0].as_posix() if names else None,
    }
    known = _yolo_names(listing.path(names[0])) if names else []
    if known:
        guess.why.append(f"{names[0]} names {len(known)} classes")
        guess.classes = instance_classes(known)
    else:
        guess.doubts.append("no data.yaml or classes.txt names the classes: give source.names and the classes")
    splits = {
        split_of(p.relative_to(images).parts[0])[0] for p in pictures if p.is_relative_to(images) and len(p.relative_to(images).parts) > 1
    }
    if splits == set(SPLIT_WORDS):
        first = {p.relative_to(images).parts[0] for p in pictures if p.is_relative_to(images)}
        names_of = {split: name for name in sorted(first) if (split := split_of(name)[0])}
        guess.source |= {"images": f"{images}/{{split}}", "annotations": f"{home / 'labels'}/{{split}}"}
        guess.split = _by_folders(names_of)
    yield guess


def _is_yolo(listing: Listing, texts: Sequence[PurePosixPath]) -> bool:
    for file in texts[:PROBED]:
        lines = listing.path(file).read_text(errors="replace").splitlines()
        if any(line.strip() and not YOLO_LINE.match(line.strip()) for line in lines):
            return False
    return True


def _yolo_names(path: Path) -> list[str]:
    if path.suffix == ".txt":
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    try:
        names = yaml.safe_load(path.read_text()).get("names")
    except (yaml.YAMLError, AttributeError):
        return []
    return [str(name) for name in (names.values() if isinstance(names, dict) else names or [])]


def _has(content: Any, key: str) -> bool:
    """Whether it is a COCO file whose first annotation has the key."""
    if not all(isinstance(content.get(part), list) for part in ("images", "annotations", "categories")):
        return False
    first = next(iter(content["annotations"]), None)
    return isinstance(first, dict) and key in first


def _counted(content: Any) -> str:
    return f"{len(content['images'])} images, {len(content['annotations'])} annotations, {len(content['categories'])} categories"


def _via_entries(content: Any) -> list[Any]:
    inner = content.get("_via_img_metadata", content)
    entries = list(inner.values()) if isinstance(inner, dict) else []
    sound = entries and all(isinstance(e, dict) and "filename" in e and isinstance(e.get("regions"), list | dict) for e in entries)
    return entries if sound else []


def _chosen(files: Sequence[PurePosixPath]) -> tuple[PurePosixPath, dict[str, Any], list[str]]:
    """Of annotation files of a kind the one to look into, how they split the data, and doubts."""
    by_split = {split: file for file in files if (split := split_of(file.as_posix())[0])}
    if len(by_split) == len(SPLIT_WORDS) and len({split_of(f.as_posix())[1] for f in by_split.values()}) == 1:
        before = split_of(by_split["train"].as_posix())[1].partition("{split}")
        names = {s: f.as_posix()[len(before[0]) :].removesuffix(before[2]) for s, f in by_split.items()}
        return by_split["train"], _by_folders(names), []
    first = by_split.get("train", files[0])
    others = [file.as_posix() for file in files if file != first]
    return first, {}, [f"{', '.join(others[:4])} are of the same kind and are not read"] if others else []


def _by_folders(names: dict[str, str]) -> dict[str, Any]:
    plain = all(split == name for split, name in names.items())
    return {"by": "folders", "ratios": None, "stratify": False} | ({} if plain else {"folders": names})


def _pattern(name: PurePosixPath | str, split: dict[str, Any]) -> str:
    text = name if isinstance(name, str) else name.as_posix()
    return split_of(text)[1] if split else text


def _home(listing: Listing, names: Sequence[str], without: tuple[str, ...]) -> str:
    """The folder below which most of the named files lie."""
    wanted = set(names[:PROBED])
    folders: Counter[str] = Counter()
    for file in listing.files:
        if file.suffix.lower() in without:
            continue
        for depth in range(len(file.parts)):
            if "/".join(file.parts[depth:]) in wanted:
                folders["/".join(file.parts[:depth]) or "."] += 1
    return max(folders, key=lambda f: (folders[f], -f.count("/"))) if folders else "images"


def _jpegs(listing: Listing) -> bool:
    return bool(listing.having(".jpg", ".jpeg"))


def _common(folders: Iterable[PurePosixPath]) -> PurePosixPath:
    """The deepest folder that holds all of these."""
    known = list(folders)
    return next(p for p in (known[0], *known[0].parents) if all(f.is_relative_to(p) for f in known))


def _below(folder: PurePosixPath, files: Iterable[PurePosixPath]) -> bool:
    return any(file.is_relative_to(folder) for file in files)


def _are_those_of(categories: Sequence[Any], count: int) -> bool:
    """Whether the categories are COCO's own, for which the option's classes are right."""
    names = {str(c["name"]) for c in categories}
    return len(categories) == count and {"person", "toothbrush", "hair drier"} <= names
