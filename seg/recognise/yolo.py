"""YOLO segmentation: a text file an image, with a line an object; data.yaml names the classes, and may state the split."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from seg.core.errors import DataError
from seg.core.textfile import read_text, yaml_of
from seg.recognise.families import LOOKED_AT, RIVAL
from seg.recognise.guess import Guess, instance_classes, void_of
from seg.recognise.kinds import role_of
from seg.recognise.listing import PROBED, SPLIT_WORDS, Listing, Split, by_folders, completing, is_division
from seg.recognise.looks import look
from seg.recognise.patterns import Places, places_of
from seg.recognise.relations import Relation, relations
from seg.sources.yolo import NAMES, read_names

LINE = re.compile(r"\d+(\s+-?[\d.]+([eE]-?\d+)?){4,}")
BOX = 5  # words of a line that is a box alone
Stated = Mapping[str, list[str]]  # of each split the folders, or lists, that data.yaml names, relative to the data set


def guesses(listing: Listing) -> Iterator[Guess]:
    stems = {file.stem for file in listing.pictures}
    texts = [f for f in listing.having(".txt") if f.stem in stems and f.name not in NAMES]
    boxes = _boxes(listing, texts)
    if boxes is None or (relation := _relation(listing, texts)) is None:
        return
    places = places_of({(p.before, p.after) for p in relation.pairs}, [relation.change.place[0]], [relation.change.place[1]])
    afters = {pair.after for pair in relation.pairs}
    below = afters.pop() if len(afters) == 1 else ""
    start = PurePosixPath(places.masks.partition("{")[0])
    above = (start, *start.parents)  # the file of the classes' names is the nearest one above the text files
    file = next((f for place in above for f in listing.files if f.parent == place and f.name in NAMES), None)
    places, split, doubts = _divided(listing, places, below, _stated(listing, file), file)
    guess = Guess("yolo", "instance", [f"{len(texts)} text files in {places.masks}/ hold YOLO's lines"], split=split, doubts=doubts)
    guess.source = {"images": places.images, "annotations": places.masks}
    guess.hold(texts, places.masks, "YOLO's text files")
    if boxes:
        guess.doubts.append(f"{boxes} lines are boxes alone, no polygons: source.boxes makes rectangles of them")
    _set_names(guess, listing, file)
    yield guess


def _relation(listing: Listing, texts: Sequence[PurePosixPath]) -> Relation | None:
    """Images and text files of one name, in folders that differ in the same way everywhere."""
    kept = set(texts)
    found = [r for r in relations([*listing.pictures, *texts]) if r.change.image == ("", "") and r.change.label == ("", ".txt")]
    fitting = [r for r in found if all(p.label in kept for p in r.pairs)]
    likely = [r for r in fitting if len(r.pairs) >= RIVAL * len(fitting[0].pairs)]
    return min(likely, key=lambda r: (not _are_pictures(listing, r), r.change.place != ("images", "labels")), default=None)


def _are_pictures(listing: Listing, relation: Relation) -> bool:
    pairs = relation.pairs[:: max(1, len(relation.pairs) // LOOKED_AT)]
    looked = [found for pair in pairs if (found := look(listing.path(pair.image)))]
    return bool(looked) and role_of(looked) == "pictures"


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


def _stated(listing: Listing, file: PurePosixPath | None) -> Stated:
    """The split that data.yaml states, as far as its folders and lists are there."""
    if file is None or file.suffix.lower() not in (".yaml", ".yml"):
        return {}
    try:
        content: Any = yaml_of(read_text(listing.path(file)))
    except (DataError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    found: dict[str, list[str]] = {}
    for split in SPLIT_WORDS:
        given = content.get(split)
        values = [given] if isinstance(given, str) else [v for v in given or () if isinstance(v, str)] if isinstance(given, list) else []
        there = [place for value in values if (place := _found(listing, file.parent, str(content.get("path") or ""), value)) is not None]
        if there:
            found[split] = there
    return found


def _found(listing: Listing, home: PurePosixPath, above: str, value: str) -> str | None:
    """The folder or list that data.yaml means: below its `path`, beside the file, or without the dots that lead out of it."""
    bare = re.sub(r"^(\.\./)+", "", value.replace("\\", "/"))
    known = {place.as_posix() for place in listing.folders} | {file.as_posix() for file in listing.files}
    tails = ["/".join(PurePosixPath(bare).parts[start:]) for start in range(len(PurePosixPath(bare).parts))]
    for place in (f"{home}/{above}/{value}", f"{home}/{value}", f"{home}/{bare}", value, *tails):
        if (name := os.path.normpath(place).replace(os.sep, "/")) in known:
            return name
    return None


def _divided(listing: Listing, places: Places, below: str, stated: Stated, file: PurePosixPath | None) -> tuple[Places, Split, list[str]]:
    """The folders and the split: as data.yaml states it where it can be used; else as folders say it. And what is to be said of it. below:
    what follows what differs in the paths of both folders, where that is the same everywhere."""
    by_name = by_folders(places.words) if places.words else {}
    if not places.words:  # folders below those that differ are parts of one set, and images without a text file belong to it
        places = Places(places.images.removesuffix(below) or ".", places.masks.removesuffix(below) or ".")
    if not is_division(stated):
        return places, by_name, []
    told = "; ".join(f"{split}: {', '.join(names)}" for split, names in stated.items())
    if all(name.endswith(".txt") for names in stated.values() for name in names) and all(len(names) == 1 for names in stated.values()):
        lists = {split: stated[split][0] if split in stated else None for split in SPLIT_WORDS}
        whole = [p.partition("{split}")[0].rpartition("/")[0] or "." if places.words else p for p in (places.images, places.masks)]
        return Places(whole[0], whole[1]), {"by": "lists", **completing(stated), "lists": lists}, []
    if len({name for names in stated.values() for name in names}) < sum(map(len, stated.values())):
        return places, by_name, [f"{file} names one folder for several splits ({told}), which is not used"]
    if places.words and _agree(places, stated):
        return places, by_name, []
    home = "" if places.images == "." else f"{places.images}/"
    if not places.words and "{" not in home and all(name.startswith(home) for names in stated.values() for name in names):
        words = {split: [name[len(home) :] for name in names] for split, names in stated.items()}
        masks = "" if places.masks == "." else f"{places.masks}/"
        if all(word and PurePosixPath(f"{masks}{word}") in listing.folders for names in words.values() for word in names):
            return Places(f"{home}{{split}}", f"{masks}{{split}}", words), by_folders(words), []
    return places, by_name, [f"{file} states another split ({told}), which is not used: see data.split.folders"]


def _agree(places: Places, stated: Stated) -> bool:
    """Whether the folders that data.yaml names are those of the split that the folders' names say."""
    for split, names in stated.items():
        heads = [places.images.replace("{split}", word).partition("{folder}")[0] for word in places.words.get(split, ())]
        if not all(any(f"{name}/".startswith(head) or head.startswith(f"{name}/") or head == name for head in heads) for name in names):
            return False
    return set(stated) >= set(places.words)


def _set_names(guess: Guess, listing: Listing, file: PurePosixPath | None) -> None:
    guess.source["names"] = file.as_posix() if file else None
    try:
        names = list(read_names(listing.root, file.as_posix())[0].values()) if file else []
    except DataError as error:
        guess.doubts.append(str(error))
        names = []
    if names:
        guess.why.append(f"{file} names {len(names)} classes")
        guess.source |= void_of(names)
        guess.classes = instance_classes(names)
    else:
        guess.doubts.append("no data.yaml or classes.txt names the classes: give source.names and the classes")
