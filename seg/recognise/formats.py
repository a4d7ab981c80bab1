"""A folder -> what it may be, the likeliest first; and what its images are like."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from seg.core.errors import DataError
from seg.data.imagefile import decode, read_bytes
from seg.recognise import cvat, json_files, labelme, layouts, masks, yolo
from seg.recognise.files import made_of_train, words_of
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing
from seg.sources.listing import is_picture

PROBED = 40  # images that are opened
SHOWN = 8


def formats_of(listing: Listing) -> list[Guess]:
    """All guesses, the likeliest first: known layouts, then annotation files, then pairs of folders. DataError for none."""
    found = [*layouts.guesses(listing), *annotated(listing), *masks.guesses(listing)]
    if not found:
        kinds = Counter(file.suffix.lower() or "no suffix" for file in listing.files)
        shown = ", ".join(f"{count} x {suffix}" for suffix, count in kinds.most_common(SHOWN))
        raise DataError(
            f"{listing.root}: no labels of a known kind were found among {len(listing.files)} files ({shown}); expected annotation files "
            "(COCO, LabelMe, VIA, YOLO, CVAT), or a folder of label images (PNG, TIFF, BMP) that have the names of the images; "
            "docs/data.md lists all formats"
        )
    for guess in found:
        guess.doubts += made_of_train(guess.split)
    return found


def image_facts(listing: Listing, guess: Guess) -> tuple[int, object]:
    """data.channels and data.range for the images of a guess: gray where all are, and `image` where they have more than 8 bits."""
    files = _images_of(listing, guess)
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


def _images_of(listing: Listing, guess: Guess) -> list[PurePosixPath]:
    """The files that a guess takes for images."""
    words = words_of(guess.split)
    images = _pattern(str(guess.source.get("images", ".")), words)
    labels = [_pattern(str(guess.source[key]), words) for key in ("masks", "objects") if guess.source.get(key)]
    files = [f for f in listing.files if is_picture(Path(f)) and images.match(f.as_posix())]
    if guess.source.get("masks") == guess.source.get("images"):
        ending = str(guess.source.get("mask_suffix", ""))
        return [f for f in files if not ending or not f.stem.endswith(ending)]
    return [f for f in files if not any(place.match(f.as_posix()) for place in labels)]


def _pattern(place: str, words: Iterable[str]) -> re.Pattern[str]:
    """What the paths of files in a folder look like; words: what {split} may stand for."""
    parts = {"{split}": f"({'|'.join(map(re.escape, words))})", "{image}": "[^/]+", "{class}": "[^/]+"}
    pieces = [parts.get(piece, re.escape(piece)) for piece in re.split(r"(\{\w+\})", place.removeprefix("./"))]
    return re.compile("" if place == "." else "".join(pieces) + r"(/|$|\.)")  # {image} and {class} may end a file's name


def annotated(listing: Listing) -> list[Guess]:
    """A guess for each kind of annotation file there is."""
    contents = {file: content for file in listing.having(".json") if isinstance(content := _json(listing.path(file)), dict)}
    makers = (json_files.panoptic, json_files.coco, json_files.via, labelme.guesses)
    return [*(guess for make in makers for guess in make(listing, contents)), *cvat.guesses(listing), *yolo.guesses(listing)]


def _json(path: Path) -> Any:
    """What a file holds, None where it is no JSON; of an image within it only that there is one."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return None
    if isinstance(content, dict) and "imageData" in content:
        content["imageData"] = bool(content["imageData"])
    return content
