"""review.html: suspect labels as cards to be marked right or wrong, in one file that needs no network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from seg.data.labelmaps import decode
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.pictures.draw import borders, overlay, resized
from seg.report.rendering import jpeg, write_page
from seg.review.marks import masks_of
from seg.review.suspects import KINDS, Suspect

SIDE = 260  # pixels of a picture's longer side
AROUND, LEAST = 0.6, 24  # of the box's longer side, and at least so many pixels, are shown on each side of a suspect


@dataclass(frozen=True, slots=True)
class Card:
    """A suspect on the page. sha256: of its image's pixels. pictures: JPEGs of the place: image, labels and prediction."""

    suspect: Suspect
    sha256: str
    pictures: Sequence[bytes]
    counts: str
    size: Sequence[int]


def card_of(suspect: Suspect, sample: Sample, prediction: Prediction, sha256: str, classes: Sequence[ClassInfo], objects: bool) -> Card:
    """prediction: of the whole image, as the suspect was found in it."""
    together = masks_of(suspect)
    region = np.ascontiguousarray(coco_mask.decode(together))
    x, y, width, height = (int(v) for v in coco_mask.toBbox(together))
    beside = max(LEAST, int(AROUND * max(width, height)))
    place = np.s_[max(0, y - beside) : y + height + beside, max(0, x - beside) : x + width + beside]
    image = sample.image[place]
    labels, found = (_drawn(image, *maps, classes) for maps in ((_truth(sample, place, objects)), _answer(prediction, sample, place)))
    edge = _large(region[place])
    pictures = [jpeg(resized(image, SIDE)), *(jpeg(_outlined(picture, edge)) for picture in (labels, found))]
    return Card(suspect, sha256, pictures, together["counts"], together["size"])


def write_review(path: Path, title: str, cards: Iterable[Card], classes: Sequence[ClassInfo], said: str) -> None:
    """Write the page, whole or not at all. said: a sentence on what was reviewed."""
    shown = list(cards)
    kinds = {kind: sum(card.suspect.kind == kind for card in shown) for kind in KINDS}
    names = [c.name for c in classes]
    rows = [
        {
            "image": card.sha256,
            "image_id": card.suspect.image_id,
            "kind": card.suspect.kind,
            "size": card.size,
            "counts": card.counts,
            "label": _name(card.suspect.label, names),
            "likely": _name(card.suspect.likely, names),
        }
        for card in shown
    ]
    used = sorted({index for card in shown for index in (card.suspect.label, card.suspect.likely) if index is not None})
    write_page(
        path,
        "review/review.html.j2",
        title=title,
        skip="suspects",
        said=said,
        cards=shown,
        rows=rows,
        kinds={kind: count for kind, count in kinds.items() if count},
        words=KINDS,
        classes=[classes[index] for index in used],
    )


def _name(index: int | None, names: Sequence[str]) -> str | None:
    return None if index is None else names[index]


def _truth(sample: Sample, place: tuple[slice, slice], objects: bool) -> tuple[np.ndarray, np.ndarray]:
    """The class map and, of instances, the id map of a place."""
    semantic = sample.semantic[place]
    return semantic, sample.instances[place].max(axis=2, initial=0) if objects else semantic.astype(np.int32)


def _answer(prediction: Prediction, sample: Sample, place: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    if prediction.semantic is not None:
        semantic = prediction.semantic[place]
        return semantic, semantic.astype(np.int32)
    ids = decode(prediction.masks[::-1], *sample.size)[place].max(axis=2, initial=0)  # the best lies on top
    of_id = np.concatenate([[255], prediction.categories[::-1]]).astype(np.uint8)
    return of_id[ids], ids


def _drawn(image: np.ndarray, semantic: np.ndarray, ids: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """The classes over the image, with a dark line between objects."""
    picture = resized(overlay(image, semantic, classes), SIDE)
    picture[borders(_large(ids).astype(np.float32)) & (_large(semantic) != 255)] //= 3
    return picture


def _large(values: np.ndarray) -> np.ndarray:
    """A map at the size of the picture, by its nearest pixels."""
    scale = SIDE / max(values.shape)
    height, width = (max(1, round(side * scale)) for side in values.shape)
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), values.shape, strict=True))
    return values[rows[:, None], columns]


def _outlined(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A white line along the suspect region, with a dark one around."""
    picture = picture.copy()
    line = borders(region, 3)
    picture[borders(line.astype(np.uint8), 3)] = 0
    picture[line] = 255
    return picture
