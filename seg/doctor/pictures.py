"""Pictures of findings: the image as it is and with its labels over it, the place and a close-up of it, or the images of a pair."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg.core.errors import InputError
from seg.data.imagefile import decode_color, read_bytes
from seg.data.sample import ClassInfo, Sample
from seg.pictures.draw import outlined_at, overlay, resized
from seg.raw.findings import Finding
from seg.raw.record import Item, Source

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
        try:
            sample = self.source.read(item).sample
        except InputError:
            return _unlabelled(item)
        if finding.other:
            return [Shown(resized(sample.image, SIDE), item.image_id), *self._other(*finding.other)]
        if finding.box is None:
            return [Shown(resized(sample.image, SIDE), item.image_id), Shown(self._labelled(sample), "with its labels")]
        marked = _marked(self._labelled(sample), finding.box, SIDE / max(sample.size))
        shown = [Shown(marked, f"{item.image_id} with its labels; the frame marks the place")]
        return [*shown, Shown(self._close(sample, finding.box), "the place, larger")] if _is_small(finding.box, sample.size) else shown

    def spread(self, count: int) -> list[Shown]:
        """Images with their labels, from the first to the last at even distances; those that cannot be read are left out."""
        placed = [item for (split, _), item in self.items.items() if split is not None]
        shown = []
        for index in np.unique(np.linspace(0, len(placed) - 1, min(count, len(placed))).round().astype(int)):
            with suppress(InputError):
                shown.append(Shown(self._labelled(self.source.read(placed[index]).sample), placed[index].image_id))
        return shown

    def _other(self, split: str, image_id: str) -> list[Shown]:
        """The second image of a pair."""
        item = self._item(split, image_id)
        return [] if item is None else [Shown(resized(self.source.read(item).sample.image, SIDE), f"{split}/{image_id}, the other image")]

    def _item(self, split: str | None, image_id: str | None) -> Item | None:
        if image_id is None:
            return None
        there = self.items.get((split, image_id))
        return there or next((item for (_, name), item in self.items.items() if name == image_id and split is None), None)

    def _labelled(self, sample: Sample) -> np.ndarray:
        if self.source.with_instances:
            return outlined_at(sample, SIDE)
        image = resized(sample.image, SIDE)
        semantic = cv2.resize(sample.semantic, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
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
