"""What stands in an image: how many different values or colours, how flat it is, and whether its values number objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import DataError
from seg.data.imagefile import decode_color, decode_index, decode_palette, read_bytes
from seg.data.sample import Color, Label

FLAT = 0.8  # share of neighbouring pixels that are equal: more in a label image, less in a photograph
PIECES = 200  # values of an image that are looked through for pieces


@dataclass(frozen=True, slots=True)
class Look:
    """What an image holds. kind: gray, palette or color. labels: pixels by value, or by colour. flat: share of equal neighbours.

    single: share of the values above 0 that are one connected piece each, as ids of instances are.
    """

    kind: str
    labels: dict[Label, int]
    flat: float
    single: float


@lru_cache(maxsize=4096)
def look(path: Path) -> Look | None:
    """What an image holds, read as `seg.sources` reads masks; None where it cannot be, or has no whole numbers."""
    try:
        data = read_bytes(path)
        kind, codes = _codes(data, path)
    except DataError:
        return None
    values, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    flat = float((codes[:, 1:] == codes[:, :-1]).mean()) if codes.shape[1] > 1 else 1.0
    labels: dict[Label, int] = {int(v) if kind == "gray" else color_of(int(v)): int(n) for v, n in zip(values, counts, strict=True)}
    return Look(kind, labels, flat, _single(inverse.reshape(codes.shape), values) if flat >= FLAT and kind == "gray" else 0.0)


def color_of(code: int) -> Color:
    """0xRRGGBB as a colour."""
    return code >> 16, code >> 8 & 255, code & 255


def _codes(data: bytes, path: Path) -> tuple[str, np.ndarray]:
    """The kind of an image, and its gray values (H, W), or its colours as 0xRRGGBB."""
    try:
        return "gray", decode_index(data, path).astype(np.int64)
    except DataError:
        colors = decode_color(data, path).astype(np.int64)
    try:
        decode_palette(data, path)
        kind = "palette"
    except DataError:
        kind = "color"
    return kind, (colors << np.array([16, 8, 0])).sum(axis=2)


def _single(places: np.ndarray, values: np.ndarray) -> float:
    """Of the values above 0, the share that is one connected piece."""
    above = [place for place, value in enumerate(values) if value > 0]
    pieces = [cv2.connectedComponents((places == place).astype(np.uint8), connectivity=8)[0] - 1 for place in above[:PIECES]]
    return sum(number == 1 for number in pieces) / len(pieces) if pieces else 0.0


def are_labels(looks: Sequence[Look]) -> bool:
    """Whether images are label images: flat, most of them."""
    return bool(looks) and float(np.median([one.flat for one in looks])) >= FLAT


def are_richer(looks: Sequence[Look], others: Sequence[Look]) -> bool:
    """Whether images have far more values than others, as dark or drawn pictures have beside their labels."""
    here, there = (float(np.median([len(one.labels) for one in each])) for each in (looks, others))
    return here >= 2 * there


def are_ids(looks: Sequence[Look]) -> bool:
    """Whether gray values number instances: each is one piece, they differ from image to image, and some images have many."""
    if any(one.kind != "gray" for one in looks):
        return False
    values = [{v for v in one.labels if v != 0} for one in looks]
    most, every = max(len(v) for v in values), set[Label]().union(*values)
    if len(every) > 255 or max((v for v in every if isinstance(v, int)), default=0) > 255:
        return True
    singles = [one.single for one, v in zip(looks, values, strict=True) if v]
    return most > 5 and float(np.mean(singles)) > 0.95 and len({len(v) for v in values}) > 1
