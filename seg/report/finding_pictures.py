"""Pictures of findings: the image with its labels over it, the place marked, a close-up of it, and the other image of a pair."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg.errors import InputError
from seg.findings import Finding
from seg.imagefile import decode_color, read_bytes
from seg.report.draw import outlined_at, overlay, resized
from seg.sample import ClassInfo, Sample
from seg.sources.base import Item, Source

SIDE = 440  # pixels of a picture's longer side
SMALL = 0.3  # of the image's longer side: a place below this share gets a close-up
MARGIN = 12  # pixels around a place in a close-up, at least


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture (H, W, 3) uint8 RGB and what it shows."""

    picture: np.ndarray
    text: str


@dataclass(frozen=True, slots=True)
class Album:
    """Where the pictures come from: the items by split and image_id, and the source that reads them."""

    items: Mapping[tuple[str | None, str], Item]
    source: Source
    classes: Sequence[ClassInfo]

    def of(self, finding: Finding) -> list[Shown]:
        """The pictures of a finding; none where it is of no image, or the image cannot be read."""
        item = self._item(finding.split, finding.image_id)
        if item is None:
            return []
        shown = self._whole(item, f"{item.image_id} with its labels", finding.box)
        if finding.other and (other := self._item(*finding.other)):
            shown += self._whole(other, f"{finding.other[0]}/{other.image_id}, the other image", None)
        return shown

    def _item(self, split: str | None, image_id: str | None) -> Item | None:
        if image_id is None:
            return None
        there = self.items.get((split, image_id))
        return there or next((item for (_, name), item in self.items.items() if name == image_id and split is None), None)

    def _whole(self, item: Item, text: str, box: tuple[int, int, int, int] | None) -> list[Shown]:
        try:
            sample = self.source.read(item).sample
        except InputError:
            return _unlabelled(item)
        whole = self._labelled(sample)
        if box is None:
            return [Shown(whole, text)]
        scale = SIDE / max(sample.size)
        marked = [Shown(_marked(whole, box, scale), f"{text}; the frame marks the place")]
        return marked + ([Shown(self._close(sample, box), "the place, larger")] if _is_small(box, sample.size) else [])

    def _labelled(self, sample: Sample) -> np.ndarray:
        if len(sample.categories):
            return outlined_at(sample, SIDE)
        image = resized(sample.image, SIDE)
        semantic = cv2.resize(sample.semantic, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return overlay(image, semantic, self.classes)

    def _close(self, sample: Sample, box: tuple[int, int, int, int]) -> np.ndarray:
        x1, y1, x2, y2 = box
        margin = max(MARGIN, (x2 - x1) // 2, (y2 - y1) // 2)
        rows, columns = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
        maps = (sample.image[rows, columns], sample.semantic[rows, columns], sample.instances[rows, columns])
        return self._labelled(Sample(sample.image_id, *maps, sample.categories, sample.crowd))


def _unlabelled(item: Item) -> list[Shown]:
    """The first file of an item that could not be read with its labels."""
    try:
        path = Path(item.files[0])
        return [Shown(resized(decode_color(read_bytes(path), path), SIDE), f"{item.image_id}, whose labels could not be read")]
    except (InputError, IndexError):
        return []


def _is_small(box: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    return max(box[2] - box[0], box[3] - box[1]) < SMALL * max(size)


def _marked(picture: np.ndarray, box: tuple[int, int, int, int], scale: float) -> np.ndarray:
    """With a black and white frame around the place, seen on any ground and without colour."""
    x1, y1, x2, y2 = (round(n * scale) for n in box)
    marked = picture.copy()
    for width, color in ((7, (0, 0, 0)), (3, (255, 255, 255))):
        cv2.rectangle(marked, (x1 - 5, y1 - 5), (x2 + 4, y2 + 4), color, width)
    return marked
