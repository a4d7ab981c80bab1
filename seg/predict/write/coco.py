"""Files of all images together: COCO's formats of instances (https://cocodataset.org/#format-data) and of panoptic segments, and CVAT's."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from pycocotools import mask as coco_mask
from skimage.measure import label, regionprops

from seg.core.outputs import JsonList, whole_file
from seg.core.urls import make_folder
from seg.data.rle import decode_crop, encode_crop, run_lengths
from seg.data.sample import BACKGROUND, CERTAIN, ClassInfo, Prediction
from seg.predict.inputs import Input


class CocoWriter:
    """coco.json: images, categories and every predicted instance, or region of a class map, as an annotation with its score.

    A category's id is its class's index, as in prepared data; boxes are x, y, width, height in pixels, masks compressed RLE. min_area: see
    `objects_of`."""

    def __init__(self, path: Path, classes: Sequence[ClassInfo], min_area: int = 1) -> None:
        self.path, self.classes, self.min_area = path, classes, min_area
        self.images: list[Mapping[str, Any]] = []
        self.open = ExitStack()  # the file, from the first image on

    def add(self, source: Input, height: int, width: int, prediction: Prediction) -> None:
        if not self.images:
            make_folder(self.path.parent)
            self.file = self.open.enter_context(whole_file(self.path))
            self._begin()
        self.images.append({"id": len(self.images) + 1, "file_name": source.file_name, "height": height, "width": width})
        try:
            self._write(objects_of(prediction, self.classes, self.min_area))
        except OSError as error:
            self.open.__exit__(type(error), error, error.__traceback__)  # removes the file, and says where there is no room
            raise

    def close(self) -> None:
        with self.open:
            if self.images:
                self._end()

    def _begin(self) -> None:
        self.file.write(b'{"annotations": ')
        self.annotations = JsonList(self.file)

    def _write(self, prediction: Prediction) -> None:
        for annotation in self._annotations(prediction):
            self.annotations.append(annotation)

    def _end(self) -> None:
        self.annotations.close()
        self.file.write(f',\n"images": {json.dumps(self.images)},\n"categories": {json.dumps(self._categories())}}}\n'.encode())

    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": index, "name": c.name} for index, c in enumerate(self.classes) if c.name != BACKGROUND]

    def _annotations(self, prediction: Prediction) -> list[dict[str, Any]]:
        rows = zip(prediction.scores.tolist(), prediction.categories.tolist(), prediction.boxes.tolist(), prediction.masks, strict=True)
        return [
            {
                "id": number,
                "image_id": len(self.images),
                "category_id": category,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
                "iscrowd": 0,
            }
            | ({} if prediction.boxed else {"segmentation": mask})
            for number, (score, category, (x1, y1, x2, y2), mask) in enumerate(rows, start=self.annotations.count + 1)
        ]


class PanopticWriter(CocoWriter):
    """panoptic.json: of each image the segments whose ids the pixels of panoptic/<name>.png have, as COCO's panoptic format has it.

    Segments that score less than `threshold` are left out. things: the class indices of things."""

    def __init__(self, path: Path, classes: Sequence[ClassInfo], things: Collection[int], threshold: float) -> None:
        super().__init__(path, classes)
        self.things, self.threshold = things, threshold

    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": i, "name": c.name, "isthing": int(i in self.things), "color": list(c.color)} for i, c in enumerate(self.classes)]

    def _annotations(self, prediction: Prediction) -> list[dict[str, Any]]:
        kept, name = above(prediction, self.threshold), self.images[-1]["file_name"].rpartition(".")[0]
        rows = zip(kept.categories.tolist(), kept.scores.tolist(), kept.boxes.astype(int).tolist(), kept.masks, strict=True)
        segments = [
            {
                "id": number,
                "category_id": category,
                "score": score,
                "area": int(coco_mask.area(mask)),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": 0,
            }
            for number, (category, score, (x1, y1, x2, y2), mask) in enumerate(rows, start=1)
        ]
        return [{"image_id": len(self.images), "file_name": f"{name}.png", "segments_info": segments}]


class CocoRows:
    """What another process is to write into the files of all images: the arguments of `CocoWriter.add`, in order."""

    def __init__(self) -> None:
        self.rows: list[tuple[Input, int, int, Prediction]] = []

    def add(self, source: Input, height: int, width: int, prediction: Prediction) -> None:
        self.rows.append((source, height, width, prediction))

    def close(self) -> None:
        """Nothing is open."""


def objects_of(prediction: Prediction, classes: Sequence[ClassInfo], min_area: int) -> Prediction:
    """A class map's regions as instances, each with the mean confidence of its pixels; what has instances as it is.

    Regions are those of `seg.predict.write.polygons.outlines_of`, of `min_area` pixels or more; their order is that of their first pixels.
    """
    if prediction.semantic is None:
        return prediction
    semantic, sure = prediction.semantic.astype(np.int64), prediction.confidence
    numbers = label(semantic, background=0 if classes[0].name == BACKGROUND else -1, connectivity=1)
    regions = [(r, *r.bbox) for r in regionprops(numbers, sure) if r.area >= min_area]
    return Prediction(
        scores=np.array([1 if sure is None else r.intensity_mean / CERTAIN for r, *_ in regions], np.float32),
        categories=np.array([semantic[tuple(r.coords[0])] for r, *_ in regions], np.int32),
        boxes=np.array([[left, top, right, bottom] for _, top, left, bottom, right in regions], np.float32).reshape(-1, 4),
        masks=[encode_crop(r.image, left, top, *semantic.shape) for r, top, left, _, _ in regions],
    )


def above(prediction: Prediction, score_threshold: float) -> Prediction:
    """The instances that score `score_threshold` or more; a class map as it is."""
    if prediction.semantic is not None:
        return prediction
    kept = np.flatnonzero(prediction.scores >= np.float32(score_threshold))
    return replace(
        prediction,
        scores=prediction.scores[kept],
        categories=prediction.categories[kept],
        boxes=prediction.boxes[kept],
        masks=[prediction.masks[i] for i in kept.tolist()],
    )


class CvatWriter(CocoWriter):
    """cvat.xml, "CVAT for images 1.1" (https://docs.cvat.ai/docs/manual/advanced/xml_format): each image with a `<mask>` of the very pixels
    of each instance or region, or a `<box>` where the model knows boxes alone.

    Of two that overlap the better one comes last, and so lies on top. Those that score less than `threshold`, or have fewer pixels than
    `min_area`, are left out."""

    def __init__(self, path: Path, classes: Sequence[ClassInfo], min_area: int, threshold: float) -> None:
        super().__init__(path, classes, min_area)
        self.threshold = threshold

    def _begin(self) -> None:
        self.file.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')

    def _write(self, prediction: Prediction) -> None:
        given, image = above(prediction, self.threshold), self.images[-1]
        name, size = quoteattr(image["file_name"]), f'width="{image["width"]}" height="{image["height"]}"'
        lines = [f'<image id="{image["id"] - 1}" name={name} {size}>']
        for category, mask, box in reversed(list(zip(given.categories.tolist(), given.masks, given.boxes.tolist(), strict=True))):
            known = f'label={quoteattr(self.classes[category].name)} source="auto" occluded="0" z_order="0"'
            crop, left, top = decode_crop(mask)
            height, width = crop.shape
            if given.boxed:
                lines.append('  <box xtl="{}" ytl="{}" xbr="{}" ybr="{}" {}/>'.format(*box, known))
            elif crop.sum() >= max(1, self.min_area):
                runs = run_lengths(encode_crop(crop.T, 0, 0, width, height), width, height)  # CVAT's run along the rows
                rle = ", ".join(map(str, runs))
                lines.append(f'  <mask rle="{rle}" left="{left}" top="{top}" width="{width}" height="{height}" {known}/>')
        self.file.write("\n".join([*lines, "</image>\n"]).encode())

    def _end(self) -> None:
        self.file.write(b"</annotations>\n")
