"""What to say of a folder in which no labels are recognised: the nearest pair and why it fell, or the kind of files that are not read."""

from collections import Counter
from pathlib import PurePosixPath

from seg.core.errors import DataError
from seg.data.imagefile import VOLUMES, decode, read_bytes, slice_advice
from seg.recognise.guess import Wanted
from seg.recognise.kinds import WORDS, role_of
from seg.recognise.listing import Listing
from seg.recognise.looks import look
from seg.recognise.relations import Pair, Relation, relations

SHOWN = 8
LOOKED_AT = 5
OTHERS = {".mat": "MATLAB", ".npz": "NumPy archives", ".h5": "HDF5", ".hdf5": "HDF5", ".svs": "whole slides", ".zip": "archives"}


def nothing_found(listing: Listing, wanted: Wanted) -> str:
    """What a folder without labels of a known kind holds, and what is missing."""
    kinds = Counter(file.suffix.lower() or "no suffix" for file in listing.files)
    shown = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(SHOWN))
    head = f"no labels of a known kind were found among {len(listing.files)} files ({shown})"
    tail = "docs/data.md lists all formats"
    if volumes := [f for f in listing.files if f.name.lower().endswith(tuple(VOLUMES))]:
        kind = next(kind for suffix, kind in VOLUMES.items() if volumes[0].name.lower().endswith(suffix))
        return f"{len(volumes)} files are {kind} volumes, such as {volumes[0]}, which are not read; {slice_advice(volumes[0].name)}"
    if not listing.pictures and (slices := _slices(listing)):
        return f"{slices} and others are DICOM files without a suffix, which are not read; {slice_advice(slices.name)}"
    boxed = [f for f in listing.having(".xml") if b"<bndbox>" in listing.path(f).read_bytes()]
    if boxed:
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
        return (
            f"all images that were looked at are labels ({role}), and there are no images of their names: add the images that they are of"
        )
    folders = sorted({file.parent.as_posix() for file in listing.pictures})
    named = (
        f"no two of its folders ({', '.join(folders[:SHOWN])}) have the same names"
        if len(folders) > 1
        else f"{folders[0]} has images alone"
    )
    return f"{head}: {named}; expected annotation files (COCO, LabelMe, VIA, YOLO, CVAT), or label images of the images' names; {tail}"


def _why_not(listing: Listing, relation: Relation) -> str:
    """Why the nearest pair is none."""
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
    """Why one of the two is not read."""
    for file in (pair.image, pair.label):
        try:
            decode(read_bytes(listing.path(file)), listing.path(file), None)
        except DataError as error:
            return str(error)
    return "one of the two cannot be read"


def _slices(listing: Listing) -> PurePosixPath | None:
    """A DICOM file that has no suffix."""
    bare = [file for file in listing.files if not file.suffix or file.suffix[1:].isdigit()][:LOOKED_AT]
    return next((file for file in bare if listing.path(file).read_bytes()[128:132] == b"DICM"), None)
