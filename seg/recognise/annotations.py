"""Files of all images: COCO, COCO panoptic, the VGG Image Annotator, and CVAT."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from seg.core.errors import DataError, plural
from seg.core.textfile import read_text
from seg.data.sample import BACKGROUND
from seg.recognise.guess import Guess, Seen, color, entry, instance_classes, is_background, void_of
from seg.recognise.listing import LABEL_WORD, PROBED, Listing, by_folders, choices, home_of, home_of_all, is_division, place, split_of
from seg.recognise.names import labelmap
from seg.sources.cvat import images_in
from seg.sources.splits import SPLITS

Contents = Mapping[PurePosixPath, Any]  # what JSON files hold, by their names; mappings alone
USUAL_ATTRIBUTES = ("label", "class", "name", "type", "category")


def panoptic(listing: Listing, contents: Contents) -> Iterator[Guess]:
    known = [f for f, c in contents.items() if _has(c, "segments_info")]
    for first, split, files in choices(known):
        content = contents[first]
        things = [c for c in content["categories"] if c.get("isthing")]
        task = "panoptic" if 0 < len(things) < len(content["categories"]) else "instance"
        guess = Guess("coco_panoptic", task, [f"{first} is a COCO panoptic file: {_counted(content)}, {len(things)} of them of things"])
        masks = _home_of_pngs(listing, [str(a.get("file_name")) for a in content["annotations"]], first)
        images = home_of(listing, [str(i.get("file_name")) for i in content["images"]], first, avoid=masks)
        place(guess, listing, split, files, images=images, masks=masks)
        if not _are_those_of(content["categories"], 133):
            guess.classes = [entry(str(c["name"]), c.get("color") or color(k + 1)) for k, c in enumerate(content["categories"])]
        yield guess


def _home_of_pngs(listing: Listing, names: list[str], annotations: PurePosixPath) -> str | None:
    """The folder of the label images: the one beside the file that is called as it is, as COCO has it, or as folders of labels are."""
    own = annotations.with_suffix("")
    called = {f.parent for f in listing.files if LABEL_WORD.search(f.parent.name)}
    folders = [own, *sorted(called, key=lambda f: (f.parent != annotations.parent, f))]
    there = set(listing.files)
    fitting = [f for f in folders if names and all(f / name in there for name in names[:PROBED])]
    return fitting[0].as_posix() if fitting else home_of(listing, names, annotations)


def coco(listing: Listing, contents: Contents) -> Iterator[Guess]:
    known = {f: c for f, c in contents.items() if _is_coco(c) and not _has(c, "segments_info")}
    known = {f: c for f, c in known.items() if not _has(c, "keypoints") and not _has(c, "caption")} or known
    for first, split, files in choices(list(known)):
        content = known[first]
        if not any(known[file]["annotations"] for file in files):
            continue
        guess = Guess("coco", "instance", [f"{first} is a COCO instances file: {_counted(content)}"])
        named = [str(i.get("file_name") or urlparse(str(i.get("coco_url"))).path.lstrip("/")) for i in content["images"]]
        images = home_of(listing, named, first) or home_of(listing, [name.replace("\\", "/").rpartition("/")[2] for name in named], first)
        images = images if split else home_of_all(listing, named, first)
        place(guess, listing, split, files, images=images)
        used = [str(a.get("category_id")) for file in files for a in known[file]["annotations"]]
        names = [str(c["name"]) for c in content["categories"] if not _is_heading(c, content["categories"], used)]
        if left_out := [str(c["name"]) for c in content["categories"] if str(c["name"]) not in names]:
            guess.why.append(f"the category {left_out[0]} is a heading that no region has")
        guess.source |= void_of(names)
        if not _are_those_of(content["categories"], 80):
            guess.classes = instance_classes(names)
        yield guess


def via(listing: Listing, contents: Contents) -> Iterator[Guess]:
    known = {f: entries for f, c in contents.items() if (entries := _via_entries(c))}
    for first, split, files in choices(list(known)):
        entries = [entry for file in files for entry in known[file]]
        regions = [r for e in entries for r in (e["regions"].values() if isinstance(e["regions"], dict) else e["regions"])]
        named = " and ".join(file.as_posix() for file in files)
        guess = Guess("via", "instance", [f"{named}: of the VGG Image Annotator, {len(entries)} images, {len(regions)} regions"])
        place(guess, listing, split, files, images=home_of(listing, [str(entry["filename"]) for entry in known[first]], first))
        _set_attribute(guess, regions)
        yield guess


def _set_attribute(guess: Guess, regions: Sequence[Any]) -> None:
    labels = [{k: text for k, v in (r.get("region_attributes") or {}).items() if (text := _text(v))} for r in regions]
    if not (named := Counter(key for each in labels for key in each)):
        guess.source |= {"attribute": None, "category": "object"}
        guess.classes = instance_classes(["object"])
        return
    values = {key: sorted({each[key] for each in labels if key in each}) for key in named}
    key = max(named, key=lambda k: (named[k], k.lower() in USUAL_ATTRIBUTES, len(values[k]) > 1, -len(values[k])))
    guess.source |= {"attribute": key, "category": None} | void_of(values[key])
    guess.why.append(f"the region attribute '{key}' holds the labels")
    guess.classes = instance_classes(values[key])
    if named[key] < len(regions):
        guess.doubts.append(f"{len(regions) - named[key]} of {len(regions)} regions have no '{key}'")


def _is_heading(category: Any, categories: Sequence[Any], used: Sequence[str]) -> bool:
    """Whether a category is the name of the project that Roboflow puts above the others, and nothing is of it."""
    heads = {str(c.get("supercategory")) for c in categories if c is not category}
    return category.get("supercategory") == "none" and str(category["id"]) not in used and str(category["name"]) in heads


def _is_coco(content: Any) -> bool:
    parts = [content.get(part) for part in ("images", "annotations", "categories")]
    named = isinstance(parts[0], list) and all(isinstance(one, dict) and ("file_name" in one or "coco_url" in one) for one in parts[0][:5])
    return all(isinstance(part, list) for part in parts) and bool(parts[0]) and named


def _text(value: Any) -> str:
    """An attribute's value as a label: text, or the only option of a checkbox that is ticked; empty for none."""
    if isinstance(value, dict):
        ticked = [str(option) for option, on in value.items() if on is True]
        return ticked[0] if len(ticked) == 1 else ""
    return value.strip() if isinstance(value, str) else ""


def _via_entries(content: Any) -> list[Any]:
    inner = content.get("_via_img_metadata", content)
    entries = list(inner.values()) if isinstance(inner, dict) else []
    sound = entries and all(isinstance(e, dict) and "filename" in e and isinstance(e.get("regions"), list | dict) for e in entries)
    return entries if sound else []


def _has(content: Any, key: str) -> bool:
    """Whether it is a COCO file whose first annotation has the key."""
    if not all(isinstance(content.get(part), list) for part in ("images", "annotations", "categories")):
        return False
    first = next(iter(content["annotations"]), None)
    return isinstance(first, dict) and key in first


def _counted(content: Any) -> str:
    images, regions = plural(len(content["images"]), "image"), plural(len(content["annotations"]), "annotation")
    return f"{images}, {regions}, {plural(len(content['categories']), 'class', 'classes')}"


def _are_those_of(categories: Sequence[Any], count: int) -> bool:
    """Whether the categories are COCO's own, for which the option's classes are right."""
    names = {str(c["name"]) for c in categories}
    return len(categories) == count and {"person", "toothbrush", "hair drier"} <= names


def cvat(listing: Listing) -> Iterator[Guess]:
    known = {f: facts for f in listing.having(".xml") if (facts := _facts(listing.path(f)))}
    for first, split, files in choices(list(known)):
        named = known[first][0]
        names, subsets = [name for name, _ in named], list(dict.fromkeys(subset for _, subset in named if subset))
        labels = sorted(set().union(*(known[file][1] for file in files)))
        guess = Guess("cvat", "instance", [f"{first} is an export of CVAT for images: {len(names)} images, {len(labels)} labels"])
        home = home_of(listing, [f"{subset}/{name}" for name, subset in named], first) if subsets else None
        place(guess, listing, split, files, images=home or home_of_all(listing, names, first))
        splits = {str(said): subset for subset in subsets if (said := split_of(subset)[0])}
        if not split and len(splits) == len(subsets) and is_division(splits):
            guess.split = by_folders(splits)
            guess.why.append(f"the subsets of its images say the split: {', '.join(splits.values())}")
        elif not split and len(subsets) > 1:
            told = f"data.split.folders says which is {', '.join(SPLITS)}"
            guess.doubts.append(f"its subsets ({', '.join(subsets)}) are not used: {told}")
        guess.source |= void_of(labels)
        guess.classes = instance_classes(labels)
        yield guess


def _facts(path: Path) -> tuple[list[tuple[str, str]], set[str]] | None:
    """Each image's name with its subset, and the labels of their shapes; None where it is no CVAT file."""
    try:
        images = images_in(path)
    except (DataError, OSError):
        return None
    names = [(str(image.get("name")), str(image.get("subset") or "")) for image in images]
    labels = {str(shape.get("label")) for image in images for shape in image if shape.tag != "tag"}
    return (names, labels - {"None"}) if names else None


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
