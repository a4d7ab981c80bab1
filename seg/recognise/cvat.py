"""CVAT: exports 'CVAT for images' and 'Segmentation mask'."""

from collections.abc import Iterator
from pathlib import Path

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse

from seg.core.errors import DataError
from seg.core.textfile import read_text
from seg.data.sample import BACKGROUND
from seg.recognise.guess import Guess, Seen, entry, instance_classes, is_background, void_of
from seg.recognise.listing import SPLIT_WORDS, Listing, by_folders, choices, home_of, home_of_all, is_division, place, split_of
from seg.recognise.names import labelmap


def guesses(listing: Listing) -> Iterator[Guess]:
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


def masks(listing: Listing) -> Iterator[Guess]:
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
