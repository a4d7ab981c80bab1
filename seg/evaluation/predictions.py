"""Predictions as files, which other scorers read too: class maps as PNG, instances in COCO's format of results.

semantic   <image_id>.png       class indices, 8-bit gray, at the image's own size
instance   instances.json       https://cocodataset.org/#format-results; image_id: the image's place in the split's manifest, from 1,
                                which is its id in the split's instances.json; boxes in floating-point pixels
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seg.errors import DataError
from seg.imagefile import decode_index, encode_png, read_bytes
from seg.labelmaps import Rle
from seg.sample import Prediction
from seg.store import Entry

INSTANCES = "instances.json"


class Written(Protocol):
    """Predictions that are being written."""

    def add(self, entry: Entry, prediction: Prediction) -> None:
        """Write one image's."""
        ...


class Stored(Protocol):
    """Predictions that were written."""

    def read(self, entry: Entry) -> Prediction:
        """One image's, without confidence. Raises DataError where it is missing or of another size."""
        ...


@contextmanager
def written(folder: Path, entries: Sequence[Entry], with_instances: bool) -> Iterator[Written]:
    """Writes predictions into `folder`, whose former content is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not with_instances:
        yield _WrittenMaps(folder)
        return
    with open(folder / INSTANCES, "w") as file:  # image by image, as all of them may be too much for the memory
        file.write("[")
        yield _WrittenInstances(file, entries)
        file.write("]\n")


def stored(folder: Path, entries: Sequence[Entry], with_instances: bool) -> Stored:
    """The predictions of these images, in `folder`; DataError where there are none."""
    return _StoredInstances(folder / INSTANCES, entries) if with_instances else _StoredMaps(folder)


class _WrittenMaps:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, entry: Entry, prediction: Prediction) -> None:
        if prediction.semantic is None:
            raise ValueError(f"{entry.image_id}: the prediction has no class map")
        path = _map(self.folder, entry)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.ascontiguousarray(prediction.semantic[: entry.height, : entry.width])))


class _StoredMaps:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, entry: Entry) -> Prediction:
        path = _map(self.folder, entry)
        semantic = decode_index(read_bytes(path), path)
        if semantic.shape != (entry.height, entry.width) or semantic.dtype != np.uint8:
            raise DataError(
                f"{path}: is {semantic.shape[1]}x{semantic.shape[0]} {semantic.dtype}, expected {entry.width}x{entry.height} uint8 like "
                "the image; evaluate again"
            )
        return Prediction(semantic)


class _WrittenInstances:
    def __init__(self, file: Any, entries: Sequence[Entry]) -> None:
        self.file, self.number = file, {entry.image_id: place for place, entry in enumerate(entries, start=1)}
        self.separator = "\n"

    def add(self, entry: Entry, prediction: Prediction) -> None:
        for score, category, box, mask in zip(prediction.scores, prediction.categories, prediction.boxes, prediction.masks, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            row = {
                "image_id": self.number[entry.image_id],
                "category_id": int(category),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(score),
                "segmentation": mask,
            }
            self.file.write(f"{self.separator}{json.dumps(row)}")
            self.separator = ",\n"


class _StoredInstances:
    def __init__(self, path: Path, entries: Sequence[Entry]) -> None:
        try:
            rows = json.loads(read_bytes(path))
        except ValueError as error:
            raise DataError(f"{path}: is not JSON ({error}); evaluate again") from None
        self.number = {entry.image_id: place for place, entry in enumerate(entries, start=1)}
        self.rows: dict[int, list[dict[str, Any]]] = {place: [] for place in self.number.values()}
        for row in rows:
            self.rows.setdefault(row["image_id"], []).append(row)

    def read(self, entry: Entry) -> Prediction:
        rows = self.rows[self.number[entry.image_id]]
        masks: list[Rle] = [row["segmentation"] for row in rows]
        if masks and list(masks[0]["size"]) != [entry.height, entry.width]:
            raise DataError(f"{INSTANCES}: {entry.image_id} is of another size than its predictions; evaluate again")
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores, categories = (np.array([row[key] for row in rows]) for key in ("score", "category_id"))
        return Prediction(
            scores=scores.astype(np.float32), categories=categories.astype(np.int32), boxes=boxes.astype(np.float32), masks=masks
        )


def _map(folder: Path, entry: Entry) -> Path:
    return folder / f"{entry.image_id}.png"
