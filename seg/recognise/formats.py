"""A folder -> what it may be, the likeliest first; and what its images are like."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import DataError
from seg.core.textfile import json_of
from seg.data.imagefile import decode, read_bytes
from seg.recognise import annotations, layouts, masks, tools, yolo
from seg.recognise.guess import Guess, Wanted, lies_in
from seg.recognise.listing import Listing, made_of_train
from seg.recognise.trial import Build, Trial, tried, with_setting

TRIED = 12  # guesses
PROBED = 24  # images that are opened
ROWS = 128  # of an image, evenly chosen, that tell whether it is gray
PIXELS = 20_000_000  # of them, at most


def trials_of(
    listing: Listing, wanted: Wanted, settings: Sequence[str], build: Build, tell: Callable[[Guess], None]
) -> tuple[list[Guess], list[Trial]]:
    """The guesses, and what came of trying them with the settings that the user gives; where all fail, label images beside the best too.
    tell: is called with each guess before it is tried."""
    guesses, trials = formats_of(listing, wanted), list[Trial]()
    for guess in chain(guesses[:TRIED], _others(listing, wanted, trials)):
        for setting in settings:
            guess = with_setting(guess, setting)
        tell(guess)
        trials.append(tried(guess, build))
    return guesses, trials


def _others(listing: Listing, wanted: Wanted, trials: Sequence[Trial]) -> Iterator[Guess]:
    if trials and all(trial.error for trial in trials):
        yield from _wanted(masks.guesses(listing, wanted, others=True), wanted)[:TRIED]


def formats_of(listing: Listing, wanted: Wanted) -> list[Guess]:
    """All guesses that are wanted: known layouts, then annotation files, then pairs of folders; each of a rank of its own kind."""
    return _wanted([*layouts.guesses(listing), *annotated(listing), *masks.guesses(listing, wanted)], wanted)


def _wanted(found: list[Guess], wanted: Wanted) -> list[Guess]:
    found = [guess for guess in found if wanted.labels is None or any(lies_in(file, wanted.labels) for file in guess.labels)]
    for guess in found:
        guess.doubts += made_of_train(guess.split)
    return [guess for guess in found if wanted.option in (None, guess.option)]


def image_facts(paths: Sequence[Path]) -> tuple[int, object]:
    """data.channels and data.range for images: gray where all are, and `image` where they have more than 8 bits."""
    return _image_facts(tuple(paths[:: max(1, len(paths) // PROBED)]))


@lru_cache(maxsize=64)
def _image_facts(paths: tuple[Path, ...]) -> tuple[int, object]:
    channels, deep, size = Counter[int](), False, 0
    for path in paths:
        if size > PIXELS:
            break
        try:
            found = decode(read_bytes(path), path, None)
        except DataError:
            continue
        bare = found.pixels.shape[2] - found.alpha
        deep |= found.pixels.dtype != np.uint8
        size += found.pixels.shape[0] * found.pixels.shape[1]
        some = found.pixels[:: max(1, len(found.pixels) // ROWS)]
        gray = bare == 3 and found.color and bool((some[..., :1] == some[..., 1:3]).all())
        channels[1 if gray else bare] += 1
    usual = 1 if set(channels) == {1} else 3
    return channels.most_common(1)[0][0] if set(channels) - {1, 3} else usual, "image" if deep else None


def annotated(listing: Listing) -> list[Guess]:
    everything = {file: _json(listing.path(file)) for file in listing.having(".json", ".geojson")}
    contents = {file: content for file, content in everything.items() if isinstance(content, dict)}
    makers = (annotations.panoptic, annotations.coco, annotations.via, tools.labelme, tools.supervisely, tools.geojson)
    found = [guess for make in makers for guess in make(listing, contents)] + list(tools.label_studio(listing, everything))
    others = (annotations.cvat, annotations.cvat_masks, yolo.guesses, tools.rle_csv)
    return found + [guess for make in others for guess in make(listing)]


def _json(path: Path) -> Any:
    """What a file holds, None where it is no JSON; of an image within it only that there is one."""
    try:
        content = json_of(path.read_bytes())
    except (ValueError, OSError):
        return None
    if isinstance(content, dict) and "imageData" in content:
        content["imageData"] = bool(content["imageData"])
    return content
