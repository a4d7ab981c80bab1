"""A folder -> what it may be, the likeliest first; and what its images are like."""

from collections import Counter
from pathlib import Path

import numpy as np

from seg.errors import DataError
from seg.imagefile import decode, read_bytes
from seg.recognise import annotations, layouts, masks
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing
from seg.sources.pairing import is_picture

PROBED = 40  # images that are opened
SHOWN = 8


def formats_of(listing: Listing) -> list[Guess]:
    """All guesses, the likeliest first: known layouts, then annotation files, then pairs of folders. DataError for none."""
    found = [*layouts.guesses(listing), *annotations.guesses(listing), *masks.guesses(listing)]
    if not found:
        kinds = Counter(file.suffix.lower() or "no suffix" for file in listing.files)
        shown = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(SHOWN))
        raise DataError(
            f"{listing.root}: no labels of a known kind were found among {len(listing.files)} files ({shown}); expected annotation files "
            "(COCO, LabelMe, VIA, YOLO, CVAT), or a folder of label images (PNG, TIFF, BMP) that have the names of the images; "
            "docs/data.md lists all formats"
        )
    return found


def image_facts(listing: Listing, guess: Guess) -> tuple[int, object]:
    """data.channels and data.range for the images of a guess: gray where all are, and `image` where they have more than 8 bits."""
    pattern = str(guess.source.get("images") or guess.source.get("folder") or ".").partition("{")[0].rstrip("/") or "."
    files = [f for f in listing.files if is_picture(Path(f)) and (pattern == "." or f.is_relative_to(pattern))]
    labels = {str(guess.source.get(key, "")).partition("{")[0].rstrip("/") for key in ("masks", "objects")} - {"", "."}
    files = [f for f in files if not any(f.is_relative_to(folder) for folder in labels) and "masks" not in f.parts]
    channels: Counter[int] = Counter()
    deep = False
    for file in files[:: max(1, len(files) // PROBED)]:
        try:
            data = read_bytes(listing.path(file))
            found = decode(data, listing.path(file), None)
        except DataError:
            continue
        bare = found.pixels.shape[2] - found.alpha
        deep |= found.pixels.dtype != np.uint8
        gray = bare == 3 and found.color and bool((found.pixels[..., :1] == found.pixels[..., 1:3]).all())
        channels[1 if gray else bare] += 1
    most = channels.most_common(1)[0][0] if channels else 3
    if set(channels) <= {1, 3}:
        most = 1 if set(channels) == {1} else 3
    return most, "image" if deep else None
