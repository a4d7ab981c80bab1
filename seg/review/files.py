"""Files in which people correct suspect images: the labels as they are, and as a second layer what the predictions would have instead."""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from skimage.measure import label as connected

from seg.core.outputs import write_whole
from seg.data.imagefile import encode_png
from seg.data.labelmaps import encode
from seg.data.rle import Rle
from seg.data.sample import BACKGROUND, IGNORE, IGNORED, SUGGESTION, ClassInfo, Prediction, Sample
from seg.pictures.draw import rgb
from seg.predict.inputs import Input
from seg.predict.write.coco import CocoWriter, CvatWriter
from seg.predict.write.polygons import labelme_file
from seg.review.suspects import Suspect


def write_files(out: Path, reviewed: Iterable[tuple[Sample, Sequence[Suspect]]], classes: Sequence[ClassInfo], objects: bool) -> None:
    """Write labelme/<image_id>.json, the images beside them, coco.json and cvat.xml. objects: whether the labels are instances."""
    known = [*classes, *(ClassInfo(f"{SUGGESTION} {c.name}", c.color) for c in classes), ClassInfo(IGNORED, (160, 160, 160))]
    with closing(CocoWriter(out / "coco.json", known)) as coco, closing(CvatWriter(out / "cvat.xml", known, 0, 0.0)) as cvat:
        for sample, suspects in reviewed:
            both, (height, width) = layers_of(sample, suspects, classes, objects), sample.size
            content = labelme_file(f"{Path(sample.image_id).name}.png", height, width, both, known, 0.0, 0)
            write_whole(out / "labelme" / f"{sample.image_id}.json", json.dumps(content) + "\n", sync=False)
            write_whole(out / "labelme" / f"{sample.image_id}.png", encode_png(rgb(sample.image)), sync=False)
            for each in (coco, cvat):
                each.add(Input(sample.image_id, Path(f"{sample.image_id}.png")), height, width, both)


def layers_of(sample: Sample, suspects: Sequence[Suspect], classes: Sequence[ClassInfo], objects: bool) -> Prediction:
    """Labels and suggestions as objects: of class k as labelled, of class K + k as suggested, of 2K what counts nowhere. What lies on top
    in the labels lies on top here, and suggestions lie over all."""
    count, background = len(classes), None if objects else next((k for k, c in enumerate(classes) if c.name == BACKGROUND), None)
    likely = ((background if s.likely is None else s.likely, s.suggested) for s in suspects)  # of no class: nothing is there
    suggested = [(index, mask) for index, masks in likely for mask in masks if index is not None]
    labelled = list(_objects(sample, 2 * count) if objects else _regions(sample.semantic, classes, 2 * count))
    both = [(count + index, mask) for index, mask in suggested] + labelled[::-1]  # the files have the last of these first
    categories = np.array([category for category, _ in both], np.int32)
    boxes = np.array([_box(mask) for _, mask in both], np.float32).reshape(-1, 4)
    return Prediction(None, None, np.ones(len(both), np.float32), categories, boxes, [mask for _, mask in both])


def _objects(sample: Sample, ignored: int) -> Iterable[tuple[int, Rle]]:
    categories = np.where(sample.crowd, ignored, sample.categories).tolist()
    return zip(categories, encode(sample.instances, len(categories)), strict=True)


def _regions(semantic: np.ndarray, classes: Sequence[ClassInfo], ignored: int) -> Iterable[tuple[int, Rle]]:
    """The connected regions of a class map, but for those of a first class `background`."""
    regions = connected(semantic.astype(np.int64) + 1, background=0, connectivity=1).astype(np.int32)
    masks = encode(regions[..., None], int(regions.max()))
    first = np.unique(regions, return_index=True)[1]
    for mask, category in zip(masks, semantic.ravel()[first].tolist(), strict=True):
        if category == IGNORE:
            yield ignored, mask
        elif classes[category].name != BACKGROUND:
            yield category, mask


def _box(mask: Rle) -> list[float]:
    x, y, width, height = coco_mask.toBbox(mask).tolist()
    return [x, y, x + width, y + height]
