"""What init says of a folder: what it took and left, in a table; or why no labels are recognised in it."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from seg.core.errors import DataError, enumerated, plural
from seg.data.imagefile import VOLUMES, decode, read_bytes, slice_advice
from seg.recognise.guess import lies_in
from seg.recognise.kinds import WORDS, role_of
from seg.recognise.listing import Listing
from seg.recognise.looks import look
from seg.recognise.relations import Pair, Relation, relations
from seg.recognise.trial import Trial

LONG = 120  # letters of an error
ROWS = 8  # folders that are listed, those of most files
ALIKE = 3  # folders that are listed one by one
SHOWN = 8
LOOKED_AT = 5
OTHERS = {".mat": "MATLAB", ".npz": "NumPy archives", ".h5": "HDF5", ".hdf5": "HDF5", ".svs": "whole slides", ".zip": "archives"}


def table(listing: Listing, chosen: Trial, others: Sequence[Trial], known: Collection[PurePosixPath]) -> list[str]:
    """The lines of the table. known: all files that are labels of some guess."""
    taken = {relative(listing, file) for file in chosen.images}
    pictures = set(listing.pictures)
    found = (pictures - set(known)) | (taken & pictures)
    left = found - taken
    reasons = _reasons(left, chosen, others, listing)
    lines = [f"files of images: {len(found)} found, {len(taken)} taken, {len(left)} left over"]
    rows = [(str(len(taken)), "taken", _folders(taken))] + [(str(count), "left over", f"{place}: {why}") for place, count, why in reasons]
    lines += _aligned(rows)
    labels = [seen for trial in (chosen, *others) for seen in trial.guess.seen]
    rows = []
    read = {relative(listing, file) for item in chosen.items for file in item.files[1:]}
    if objects := chosen.guess.source.get("objects"):  # beside the maps of classes, whose names they have
        read |= {file for file in listing.pictures if lies_in(file, str(objects))}
    errors = {seen.place: trial.error for trial in sorted(others, key=lambda t: t.error is None) for seen in trial.guess.seen}
    refused = {place: str(error) for place, error in errors.items() if error}  # what works once is not refused
    for seen in {seen.place: seen for seen in labels[::-1]}.values():
        own = seen.files & read
        why = f"; refused: {_short(refused[seen.place])}" if seen.place in refused else f"; {seen.arguments}"
        place = f"{seen.place} ({plural(len(own or seen.files), 'file')})"
        rows.append(("chosen" if own else "not chosen", place, seen.what + ("" if own else why)))
    lines += ["labels:", *_aligned(sorted(rows))] if rows else []
    return lines


def _short(error: str) -> str:
    """An error without the file that it names, as far as one reads in a table."""
    told = error.partition(": ")[2] or error
    return told if len(told) <= LONG else f"{told[:LONG].rpartition(' ')[0]} ..."


def relative(listing: Listing, file: str) -> PurePosixPath:
    return PurePosixPath(os.path.relpath(file, listing.root).replace(os.sep, "/"))


def _folders(files: Collection[PurePosixPath]) -> str:
    """Where files lie; folders that differ in one part of their path are one line, with a star in its place."""
    families: dict[tuple[str, ...], list[PurePosixPath]] = {}
    for place in sorted({file.parent for file in files}):
        parts = place.parts
        families.setdefault((str(len(parts)), parts[0], parts[-1]) if len(parts) > 2 else (str(len(parts)), *parts[:-1]), []).append(place)
    shown = []
    for members in families.values():
        if len(members) > ALIKE:
            first = members[0].parts
            starred = ["*" if len({member.parts[i] for member in members}) > 1 else part for i, part in enumerate(first)]
            shown.append(f"{'/'.join(starred)}/ ({len(members)} folders)")
        else:
            shown += ["./" if str(place) == "." else f"{place}/" for place in members]
    return enumerated(shown, ROWS)


def _reasons(left: Collection[PurePosixPath], chosen: Trial, others: Sequence[Trial], listing: Listing) -> list[tuple[str, int, str]]:
    """Of the files that are left over, by folder: how many, and why."""
    of_others = {relative(listing, file): trial for trial in others for file in trial.images}
    by_reason: dict[str, list[PurePosixPath]] = {}
    for file in left:
        why = "none of the chosen labels has this name"
        if other := of_others.get(file):
            place = next((seen.place for seen in other.guess.seen), "")
            why = f"with labels of another kind or place; --as {other.guess.option} --labels {place}" if place else "of other labels"
        by_reason.setdefault(why, []).append(file)
    rows = []
    for why, files in by_reason.items():
        places = Counter(f"{file.parent}/".removeprefix("./") or "./" for file in files)
        if len(places) > ALIKE:
            rows.append((_folders(files), len(files), why))
        else:
            rows += [(place, count, why) for place, count in places.items()]
    return sorted(rows, key=lambda row: -row[1])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def nothing_found(listing: Listing) -> str:
    """What a folder without labels of a known kind holds, and what is missing."""
    kinds = Counter(file.suffix.lower() or "no suffix" for file in listing.files)
    shown = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(SHOWN))
    head = f"no labels of a known kind were found among {len(listing.files)} files ({shown})"
    tail = "docs/data.md lists all formats"
    if volumes := [f for f in listing.files if f.name.lower().endswith(tuple(VOLUMES))]:
        kind = next(kind for suffix, kind in VOLUMES.items() if volumes[0].name.lower().endswith(suffix))
        return f"{len(volumes)} files are {kind} volumes, such as {volumes[0]}, which are not read; {slice_advice(volumes[0].name)}"
    bare = [file for file in listing.files if not file.suffix or file.suffix[1:].isdigit()][:LOOKED_AT]
    slices = next((file for file in bare if not listing.pictures and listing.path(file).read_bytes()[128:132] == b"DICM"), None)
    if slices is not None:
        return f"{slices} and others are DICOM files without a suffix, which are not read; {slice_advice(slices.name)}"
    if boxed := [f for f in listing.having(".xml") if b"<bndbox>" in listing.path(f).read_bytes()]:
        boxes = f"{len(boxed)} XML files, such as {boxed[0]}, hold boxes alone, as Pascal VOC has them, which are no masks"
        return f"{head}: {boxes}; for task=detection copy conf/data/voc_boxes.yaml, and edit it; {tail}"
    if others := [f for f in listing.files if f.suffix.lower() in OTHERS]:
        kind = OTHERS[others[0].suffix.lower()]
        return f"{head}: {len(others)} files are {kind}, such as {others[0]}, which are not read; save them as PNG, or unpack them"
    if not listing.pictures:
        return f"{head}: there are no images; {tail}"
    if related := [relation for relation in relations(listing.pictures) if len(relation.pairs) > 1]:
        return f"{head}; {_why_not(listing, related[0])}; {tail}"
    some = listing.pictures[:: max(1, len(listing.pictures) // LOOKED_AT)]
    looked = [found for file in some if (found := look(listing.path(file)))]
    role = WORDS[role_of(looked)] if looked else "no images that can be read"
    if role not in ("pictures", "no images that can be read"):
        add = "there are no images of their names: add the images that they are of"
        return f"all images that were looked at are labels ({role}), and {add}"
    folders = sorted({file.parent.as_posix() for file in listing.pictures})
    named = f"{folders[0]} has images alone"
    if len(folders) > 1:
        named = f"no two of its folders ({', '.join(folders[:SHOWN])}) have the same names"
    return f"{head}: {named}; expected annotation files (COCO, LabelMe, VIA, YOLO, CVAT), or label images of the images' names; {tail}"


def _why_not(listing: Listing, relation: Relation) -> str:
    pairs = relation.pairs[:: max(1, len(relation.pairs) // LOOKED_AT)]
    looked = [(one, two) for pair in pairs if (one := look(listing.path(pair.image))) and (two := look(listing.path(pair.label)))]
    nearest = f"the nearest pairs are such as {pairs[0].image} and {pairs[0].label}"
    if not looked:
        return f"{nearest}, but {_unreadable(listing, pairs[0])}"
    one, two = looked[0]
    if all(a.size not in (b.size, b.size[::-1]) for a, b in looked):
        return f"{nearest}, but the one has {one.size[1]}x{one.size[0]} pixels and the other {two.size[1]}x{two.size[0]}"
    roles = [role_of([pair[side] for pair in looked]) for side in (0, 1)]
    if roles[0] == roles[1]:
        return f"{nearest}, but both are {WORDS[roles[0]]}"
    return f"{nearest}, which are {WORDS[roles[0]]} and {WORDS[roles[1]]}"


def _unreadable(listing: Listing, pair: Pair) -> str:
    for file in (pair.image, pair.label):
        try:
            decode(read_bytes(listing.path(file)), listing.path(file), None)
        except DataError as error:
            return str(error)
    return "one of the two cannot be read"
