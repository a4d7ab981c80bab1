"""Files of all images: COCO, COCO panoptic, the VGG Image Annotator, and tables of run lengths as on Kaggle."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

from seg.core.errors import DataError, plural
from seg.core.textfile import read_text
from seg.recognise.guess import Guess, color, entry, instance_classes, void_of
from seg.recognise.listing import LABEL_WORD, PROBED, Listing, choices, home_of, home_of_all, place
from seg.recognise.looks import look

Contents = Mapping[PurePosixPath, Any]  # what JSON files hold, by their names; mappings alone
USUAL_ATTRIBUTES = ("label", "class", "name", "type", "category")
RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
ROWS = 2000  # that are looked at


def panoptic(listing: Listing, contents: Contents) -> Iterator[Guess]:
    known = [f for f, c in contents.items() if _has(c, "segments_info")]
    for first, split, files in choices(known):
        content = contents[first]
        things = [c for c in content["categories"] if c.get("isthing")]
        task = "panoptic" if 0 < len(things) < len(content["categories"]) else "instance"
        guess = Guess("coco_panoptic", task, [f"{first} is a COCO panoptic file: {_counted(content)}, {len(things)} of them of things"])
        pngs = [str(a.get("file_name")) for a in content["annotations"]]
        masks = _home_of_pngs(listing, pngs, first)
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
        images = home_of(listing, [str(entry["filename"]) for entry in known[first]], first)
        place(guess, listing, split, files, images=images)
        _set_attribute(guess, regions)
        yield guess


def _set_attribute(guess: Guess, regions: Sequence[Any]) -> None:
    """Set the region attribute that holds the labels, and the classes."""
    labels = [{k: text for k, v in (r.get("region_attributes") or {}).items() if (text := _text(v))} for r in regions]
    named = Counter(key for each in labels for key in each)
    if not named:
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


def rle_csv(listing: Listing) -> Iterator[Guess]:
    for file in listing.having(".csv"):
        rows = _rows(listing, file)
        runs = _column(rows)
        if runs is None:
            continue
        others = [column for column in rows[0] if column != runs]
        column, home = next(
            ((c, h) for c in others if (h := home_of(listing, n := _names(rows, c), file) or home_of(listing, n, file, stems=True))),
            (None, None),
        )
        other = next((c for c in others if c != column and re.search(r"class|label|categ|species|_type$", c, re.I)), None)
        labels = sorted({row[other] for row in rows if row[other]}) if other else ["object"]
        category = None if other else "object"
        if column is None:
            if (cut := _with_label(listing, rows, others, file)) is None:
                continue
            column, home, labels = cut
            category = other = None
        guess = Guess("rle_csv", "instance", [f"{file} is a table of run lengths: {len(rows)} rows"])
        place(guess, listing, {}, [file], images=home)
        guess.source |= {"image_column": column, "rle_column": runs, "category": category, "class_column": other}
        guess.classes = instance_classes(labels)
        way = "along the rows" if _along_rows(listing, rows, runs, home) else "down the columns"
        guess.source["order"] = way.split()[-1]
        guess.doubts.append(f"runs are taken to go {way}, from pixel 1 (source.order, source.first): look at the overlay")
        yield guess


def _along_rows(listing: Listing, rows: Sequence[Mapping[str, str]], column: str, home: str | None) -> bool:
    """Whether from one run to the next it is as far as an image is wide, not as it is high, in most rows."""
    image = next((file for file in listing.pictures if home == "." or file.is_relative_to(home or "")), None)
    seen = look(listing.path(image)) if image else None
    if seen is None or seen.size[0] == seen.size[1]:
        return False
    votes = [0, 0]
    for row in rows[:PROBED]:
        starts = [int(number) for number in row[column].split()[::2]] if RUNS.fullmatch(row[column].strip()) else []
        steps = sorted(b - a for a, b in pairwise(starts))
        if steps:
            step = steps[len(steps) // 2]
            votes[abs(step - seen.size[0]) > abs(step - seen.size[1])] += 1
    return votes[1] > 2 * votes[0]


def _rows(listing: Listing, file: PurePosixPath) -> list[Mapping[str, str]]:
    try:
        reader = csv.DictReader(read_text(listing.path(file)).splitlines())
        return [{k: v or "" for k, v in row.items() if isinstance(k, str)} for row, _ in zip(reader, range(ROWS), strict=False)]
    except (DataError, csv.Error):
        return []


def _column(rows: Sequence[Mapping[str, str]]) -> str | None:
    """The column whose values are all run lengths, or nothing."""
    for column in rows[0] if rows else ():
        values = [row.get(column, "").strip() for row in rows]
        filled = [value for value in values if value not in ("", "-1")]
        if filled and all(RUNS.fullmatch(value) for value in filled):
            return column
    return None


def _names(rows: Sequence[Mapping[str, str]], column: str) -> list[str]:
    return list(dict.fromkeys(row.get(column, "") for row in rows))[:PROBED]


def _with_label(
    listing: Listing, rows: Sequence[Mapping[str, str]], columns: Sequence[str], file: PurePosixPath
) -> tuple[str, str, list[str]] | None:
    """The column whose values are names of images with a label behind, as 0002cc93b.jpg_1; the folder of images, and the labels."""
    for column in columns:
        cut = [row[column].rpartition("_") for row in rows if "_" in row.get(column, "")]
        names = list(dict.fromkeys(name for name, _, _ in cut))[:PROBED]
        if len(cut) == len(rows) and (home := home_of(listing, names, file)):
            return column, home, sorted({label for _, _, label in cut})
    return None
