"""Annotation files of all kinds, each known by what stands in it."""

import json
from pathlib import Path
from typing import Any

from seg.recognise import cvat, json_files, labelme, yolo
from seg.recognise.guess import Guess
from seg.recognise.listing import Listing


def guesses(listing: Listing) -> list[Guess]:
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
