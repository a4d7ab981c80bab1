"""Files of all images together: COCO's formats of instances (https://cocodataset.org/#format-data) and of panoptic segments."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from seg.core.outputs import JsonList, whole_file
from seg.data.sample import BACKGROUND, ClassInfo, Prediction


class CocoWriter:
    """coco.json: images, categories and every predicted instance as an annotation with its score.

    A category's id is its class's index, as in prepared data; boxes are x, y, width, height in pixels, masks compressed RLE.
    """

    def __init__(self, path: Path, classes: Sequence[ClassInfo]) -> None:
        self.path, self.classes = path, classes
        self.images: list[Mapping[str, Any]] = []
        self.open = ExitStack()  # the file, from the first image on

    def add(self, name: str, height: int, width: int, prediction: Prediction) -> None:
        if not self.images:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.open.enter_context(whole_file(self.path))
            self.file.write(b'{"annotations": ')
            self.annotations = JsonList(self.file)
        self.images.append({"id": len(self.images) + 1, "file_name": name, "height": height, "width": width})
        try:
            for annotation in self._annotations(prediction):
                self.annotations.append(annotation)
        except OSError as error:
            self.open.__exit__(type(error), error, error.__traceback__)  # removes the file, and says where there is no room
            raise

    def close(self) -> None:
        with self.open:
            if self.images:
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

    Segments that score less than `threshold` are left out. things: the class indices of things.
    """

    def __init__(self, path: Path, classes: Sequence[ClassInfo], things: Collection[int], threshold: float) -> None:
        super().__init__(path, classes)
        self.things, self.threshold = things, threshold

    def _categories(self) -> list[dict[str, Any]]:
        return [{"id": i, "name": c.name, "isthing": int(i in self.things), "color": list(c.color)} for i, c in enumerate(self.classes)]

    def _annotations(self, prediction: Prediction) -> list[dict[str, Any]]:
        kept, name = above(prediction, self.threshold), self.images[-1]["file_name"]
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
        self.rows: list[tuple[str, int, int, Prediction]] = []

    def add(self, name: str, height: int, width: int, prediction: Prediction) -> None:
        self.rows.append((name, height, width, prediction))

    def close(self) -> None:
        """Nothing is open."""


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
