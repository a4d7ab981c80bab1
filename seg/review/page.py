"""review.html: suspect labels as cards to be marked right or wrong, in one file that needs no network."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from seg.data.labelmaps import decode
from seg.data.sample import IGNORE, ClassInfo, Prediction, Sample
from seg.pictures.draw import borders, lined, overlay, resized
from seg.report.rendering import jpeg, write_page
from seg.review.marks import masks_of, row_of
from seg.review.suspects import KINDS, Suspect

SIDE = 260  # pixels of a picture's longer side
AROUND, LEAST = 0.6, 24  # of the box's longer side, and at least so many pixels, are shown on each side of a suspect


@dataclass(frozen=True, slots=True)
class Card:
    """A suspect on the page. row: what a mark of it holds. pictures: JPEGs of the place: image, labels and prediction."""

    suspect: Suspect
    row: Mapping[str, Any]
    pictures: Sequence[bytes]


def card_of(suspect: Suspect, sample: Sample, prediction: Prediction, sha256: str, classes: Sequence[ClassInfo], objects: bool) -> Card:
    """prediction: of the whole image, as the suspect was found in it."""
    together = masks_of(suspect)
    region = np.ascontiguousarray(coco_mask.decode(together))
    x, y, width, height = (int(v) for v in coco_mask.toBbox(together))
    beside = max(LEAST, int(AROUND * max(width, height)))
    place = np.s_[max(0, y - beside) : y + height + beside, max(0, x - beside) : x + width + beside]
    image = sample.image[place]
    semantic = sample.semantic[place]
    truth = semantic, sample.instances[place].max(axis=2, initial=0) if objects else semantic
    both = [jpeg(lined(_drawn(image, *maps, classes), region[place])) for maps in (truth, _answer(prediction, sample, place))]
    return Card(suspect, row_of(suspect, sha256, classes), [jpeg(resized(image, SIDE)), *both])


def write_review(path: Path, title: str, cards: Iterable[Card], classes: Sequence[ClassInfo], said: str) -> None:
    """Write the page, whole or not at all. said: a sentence on what was reviewed."""
    shown = list(cards)
    kinds = Counter(card.suspect.kind for card in shown)
    used = {card.row[key] for card in shown for key in ("label", "likely")}
    content = {"cards": shown, "kinds": {kind: kinds[kind] for kind in KINDS if kinds[kind]}, "words": KINDS}
    content["classes"] = [info for info in classes if info.name in used]
    write_page(path, "review/review.html.j2", title=title, skip="suspects", said=said, rows=[card.row for card in shown], **content)


def _answer(prediction: Prediction, sample: Sample, place: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    if prediction.semantic is not None:
        return prediction.semantic[place], prediction.semantic[place]
    ids = decode(prediction.masks[::-1], *sample.size)[place].max(axis=2, initial=0)  # the best lies on top
    of_id = np.concatenate([[IGNORE], prediction.categories[::-1]]).astype(np.uint8)
    return of_id[ids], ids


def _drawn(image: np.ndarray, semantic: np.ndarray, ids: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """The classes over the image, with a dark line between objects."""
    picture = resized(overlay(image, semantic, classes), SIDE)
    size = picture.shape[1::-1]
    large, labelled = (cv2.resize(m, size, interpolation=cv2.INTER_NEAREST_EXACT) for m in (ids.astype(np.float32), semantic))
    picture[borders(large) & (labelled != IGNORE)] //= 3
    return picture
