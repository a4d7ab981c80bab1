"""YOLO segmentation: a text file an image, with a line an object."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from seg.core.errors import DataError
from seg.recognise.classes import instance_classes, void_of
from seg.recognise.files import PROBED, Split, by_folders, common_folder, home_of, names_in, split_of_folders, with_split
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing
from seg.sources.listing import is_picture
from seg.sources.yolo import NAMES, read_names

LINE = re.compile(r"\d+(\s+-?[\d.]+([eE]-?\d+)?){4,}")
BOX = 5  # words of a line that is a box alone


def guesses(listing: Listing) -> Iterator[Guess]:
    stems = {file.stem for file in listing.files if is_picture(Path(file))}
    texts = [f for f in listing.having(".txt") if f.stem in stems and f.name not in NAMES]
    boxes = _boxes(listing, texts)
    placed = _places(listing, texts) if boxes is not None else None
    if placed is None:
        return
    source, split = placed
    guess = Guess("yolo", "instance", [f"{len(texts)} text files in {source['annotations']}/ hold YOLO's lines"])
    guess.source, guess.split = dict(source), split
    if boxes:
        guess.doubts.append(f"{boxes} lines are boxes alone, no polygons: source.boxes makes rectangles of them")
    _set_names(guess, listing, source["annotations"])
    yield guess


def _boxes(listing: Listing, texts: Sequence[PurePosixPath]) -> int | None:
    """The number of lines that are boxes, of those that are looked at; None where lines are not YOLO's, or there are none."""
    found: Counter[bool] = Counter()
    for file in texts[:: max(1, len(texts) // PROBED)]:
        for line in listing.path(file).read_text(encoding="utf-8-sig", errors="replace").splitlines():
            if line.strip() and not LINE.fullmatch(line.strip()):
                return None
            if line.strip():
                found[len(line.split()) == BOX] += 1
    return found[True] if found else None


def _places(listing: Listing, texts: Sequence[PurePosixPath]) -> tuple[dict[str, str], Split] | None:
    """The folders of images and of text files, with {split} where their names say it, and the split; None without images."""
    family = split_of_folders(f.parent for f in texts)
    if family:
        pattern, folders = family
        split = by_folders(names_in(pattern, folders))
        inside = [f for f in texts if f.is_relative_to(folders["train"])]
        home = home_of(listing, _relative(inside, folders["train"]), folders["train"], stems=True)
        images = with_split(home, listing, split) if home else None
        if images is not None and "{split}" in images:
            return {"images": images, "annotations": pattern}, split
    folder = common_folder({f.parent for f in texts})
    if "labels" in folder.parts:
        folder = PurePosixPath(*folder.parts[: folder.parts.index("labels") + 1])
    home = home_of(listing, _relative(texts, folder), folder, stems=True)
    return None if home is None else ({"images": home, "annotations": folder.as_posix()}, {})


def _relative(files: Sequence[PurePosixPath], folder: PurePosixPath) -> list[str]:
    return [f.relative_to(folder).with_suffix("").as_posix() for f in files]


def _set_names(guess: Guess, listing: Listing, annotations: str) -> None:
    """Set the file of the classes' names, the nearest one above the text files, and the classes."""
    above = (PurePosixPath(annotations.partition("{")[0]), *PurePosixPath(annotations.partition("{")[0]).parents)
    there = [f for place in above for f in listing.files if f.parent == place and f.name in NAMES]
    guess.source["names"] = there[0].as_posix() if there else None
    try:
        names = list(read_names(listing.root, there[0].as_posix())[0].values()) if there else []
    except DataError as error:
        guess.doubts.append(str(error))
        names = []
    if names:
        guess.why.append(f"{there[0]} names {len(names)} classes")
        guess.source |= void_of(names)
        guess.classes = instance_classes(names)
    else:
        guess.doubts.append("no data.yaml or classes.txt names the classes: give source.names and the classes")
