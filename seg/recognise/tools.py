"""Files of annotation programs (LabelMe, Supervisely, Label Studio, GeoJSON of QuPath and SpaceNet), and tables of run lengths."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from seg.core.errors import DataError
from seg.recognise.annotations import Contents
from seg.recognise.guess import Guess, instance_classes, void_of
from seg.recognise.listing import PROBED, Listing, Split, by_folders, common_folder, home_of, names_in, place, split_of_folders, with_split
from seg.recognise.looks import look
from seg.recognise.patterns import alike
from seg.settings.section import value_at
from seg.sources.content import read_rows

RUNS = re.compile(r"\d+ \d+( \d+ \d+)*")
ROWS = 2000  # that are looked at
Rows = Sequence[Mapping[str, str]]  # of a table


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
    images, prefixes = _images_of(listing, [f.stem for f in known], folder)
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
    if (home := home_of(listing, stems, folder, stems=True)) is not None:
        return home, {}
    if not (places := Counter(file.parent for file in listing.pictures)):
        return ".", {}
    most = places.most_common(1)[0][0]
    names = [file.stem for file in listing.pictures if file.parent == most]
    starts = {key: each[0][: alike(each)] for key, each in (("image_prefix", names), ("annotation_prefix", list(stems)))}
    return most.as_posix(), {key: start.rstrip("0123456789") for key, start in starts.items()} if len(stems) > 1 else {}


def _label_of(features: Sequence[Mapping[str, Any]]) -> tuple[str | None, list[str]]:
    """The property that holds the labels, as class or classification.name, and the labels; None without one."""
    for path in ("classification.name", "class", "label", "name", "category", "type"):
        found = [value_at(feature.get("properties"), path) for feature in features]
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


def labelme(listing: Listing, contents: Contents) -> Iterator[Guess]:
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
    if (family := split_of_folders(f.parent for f in known)) is None:
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


def rle_csv(listing: Listing) -> Iterator[Guess]:
    for file in listing.having(".csv"):
        rows = _rows(listing, file)
        if (runs := _column(rows)) is None:
            continue
        others = [column for column in rows[0] if column != runs]
        homes = ((c, home_of(listing, n := _names(rows, c), file) or home_of(listing, n, file, stems=True)) for c in others)
        column, home = next(((c, h) for c, h in homes if h), (None, None))
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


def _along_rows(listing: Listing, rows: Rows, column: str, home: str | None) -> bool:
    """Whether from one run to the next it is as far as an image is wide, not as it is high, in most rows."""
    image = next((file for file in listing.pictures if home == "." or file.is_relative_to(home or "")), None)
    seen = look(listing.path(image)) if image else None
    if seen is None or seen.size[0] == seen.size[1]:
        return False
    votes = [0, 0]
    for row in rows[:PROBED]:
        starts = [int(number) for number in row[column].split()[::2]] if RUNS.fullmatch(row[column].strip()) else []
        if steps := sorted(b - a for a, b in pairwise(starts)):
            step = steps[len(steps) // 2]
            votes[abs(step - seen.size[0]) > abs(step - seen.size[1])] += 1
    return votes[1] > 2 * votes[0]


def _rows(listing: Listing, file: PurePosixPath) -> list[Mapping[str, str]]:
    try:
        return [row for _, row in read_rows(listing.path(file), ())[:ROWS]]
    except DataError:
        return []


def _column(rows: Rows) -> str | None:
    """The column whose values are all run lengths, or nothing."""
    for column in rows[0] if rows else ():
        values = [row.get(column, "").strip() for row in rows]
        filled = [value for value in values if value not in ("", "-1")]
        if filled and all(RUNS.fullmatch(value) for value in filled):
            return column
    return None


def _names(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(row.get(column, "") for row in rows))[:PROBED]


def _with_label(listing: Listing, rows: Rows, columns: Sequence[str], file: PurePosixPath) -> tuple[str, str, list[str]] | None:
    """The column whose values are names of images with a label behind, as 0002cc93b.jpg_1; the folder of images, and the labels."""
    for column in columns:
        cut = [row[column].rpartition("_") for row in rows if "_" in row.get(column, "")]
        names = list(dict.fromkeys(name for name, _, _ in cut))[:PROBED]
        if len(cut) == len(rows) and (home := home_of(listing, names, file)):
            return column, home, sorted({label for _, _, label in cut})
    return None
