"""Predictions as files, which other scorers read too: class maps as PNG, instances in COCO's two formats of results.

semantic   <image_id>.png    class indices, 8-bit gray, at the image's own size
instance   instances.json    masks (https://cocodataset.org/#format-results); image_id: as in the split's instances.json
panoptic                     the segments of things and of stuff, as instances
           boxes.json        the boxes of the same predictions, in the same order, in floating-point pixels
detection  boxes.json        the boxes alone

Masks and boxes are two files because pycocotools takes a prediction's area from its box wherever it has one, so that masks with
boxes beside them would be counted as small, medium and large by their boxes."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from seg.core.errors import DataError
from seg.core.outputs import JsonList, whole_file, write_whole
from seg.data.imagefile import decode_index, encode_png
from seg.data.labelmaps import fill_boxes
from seg.data.sample import Prediction
from seg.data.store import ManifestEntry, numbers_of
from seg.settings.task import Answer

MASKS, BOXES = "instances.json", "boxes.json"

T = TypeVar("T")
B = TypeVar("B", "_Mask", "_Box")


@contextmanager
def write_predictions(folder: Path, entries: Sequence[ManifestEntry], answer: Answer) -> Iterator["_Maps | _WrittenInstances"]:
    """Writes predictions of a split into `folder`, whose former content is removed.

    What is left of a run that ends before its time is refused by `read_predictions`, or by its `read`. entries: the whole split's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if answer == "classes":
        yield _Maps(folder)
        return
    with ExitStack() as files:
        lists = [JsonList(files.enter_context(whole_file(folder / name))) for name in ((BOXES,) if answer == "boxes" else (BOXES, MASKS))]
        yield _WrittenInstances(entries, *lists)
        for each in lists:
            each.close()
            each.file.write(b"\n")


def read_predictions(folder: Path, entries: Sequence[ManifestEntry], answer: Answer) -> "StoredPredictions":
    """The predictions of a split in `folder`; DataError where there are none, or not of these images. entries: the whole split's."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there are no predictions; evaluate again")
    if answer == "classes":
        return _Maps(folder)
    return _StoredBoxes(folder, entries) if answer == "boxes" else _StoredInstances(folder, entries, answer == "segments")


class _Maps:
    """`add`, here and below: of one image, at least of its size (more where its batch was padded at the right and bottom). `read`, here and
    below: one image's, without confidence; DataError where it is missing or of another size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, entry: ManifestEntry, prediction: Prediction) -> None:
        if prediction.semantic is None:
            raise ValueError(f"{entry.image_id}: the prediction has no class map")
        pixels = np.ascontiguousarray(prediction.semantic[: entry.height, : entry.width])
        write_whole(self.folder / f"{entry.image_id}.png", encode_png(pixels), sync=False)

    def read(self, entry: ManifestEntry) -> Prediction:
        path = self.folder / f"{entry.image_id}.png"
        semantic = decode_index(_bytes(path), path, "evaluate again")
        if semantic.shape != (entry.height, entry.width) or semantic.dtype != np.uint8:
            what = f"{path}: is {semantic.shape[1]}x{semantic.shape[0]} {semantic.dtype}, expected {entry.width}x{entry.height} uint8 like"
            raise DataError(f"{what} the image; evaluate again")
        return Prediction(semantic)


@dataclass(frozen=True, slots=True)
class _Rle:
    size: list[int]
    counts: str


@dataclass(frozen=True, slots=True)
class _Mask:
    image_id: int
    category_id: int
    score: float
    segmentation: _Rle


@dataclass(frozen=True, slots=True)
class _Box:
    image_id: int
    category_id: int
    score: float
    bbox: tuple[float, float, float, float]


class _WrittenInstances:
    def __init__(self, entries: Sequence[ManifestEntry], boxes: JsonList, masks: JsonList | None = None) -> None:
        self.masks, self.boxes, self.numbers = masks, boxes, numbers_of(entries)

    def add(self, entry: ManifestEntry, prediction: Prediction) -> None:
        for score, category, box, mask in zip(prediction.scores, prediction.categories, prediction.boxes, prediction.masks, strict=True):
            x1, y1, x2, y2 = (float(v) for v in box)
            row = {"image_id": self.numbers[entry.image_id], "category_id": int(category), "score": float(score)}
            if self.masks is not None:
                self.masks.append(row | {"segmentation": mask})
            self.boxes.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1]})


def _by_image(path: Path, rows: Sequence[B], entries: Sequence[ManifestEntry]) -> dict[str, list[B]]:
    found: dict[int, tuple[str, list[B]]] = {number: (image_id, []) for image_id, number in numbers_of(entries).items()}
    for row in rows:
        if row.image_id not in found:
            raise DataError(f"{path}: has predictions of image {row.image_id}, but the split has {len(entries)}; evaluate again")
        found[row.image_id][1].append(row)
    return dict(found.values())


class _StoredBoxes:
    def __init__(self, folder: Path, entries: Sequence[ManifestEntry]) -> None:
        self.path = folder / BOXES
        self.boxes = _by_image(self.path, _rows(self.path, list[_Box]), entries)

    def read(self, entry: ManifestEntry) -> Prediction:
        rows = self.boxes[entry.image_id]
        boxes = np.array([row.bbox for row in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores, categories = np.array([row.score for row in rows], np.float32), np.array([row.category_id for row in rows], np.int32)
        masks = fill_boxes(boxes, entry.height, entry.width)
        return Prediction(None, None, scores, categories, boxes.astype(np.float32), masks, boxed=True)


class _StoredInstances(_StoredBoxes):
    def __init__(self, folder: Path, entries: Sequence[ManifestEntry], segments: bool) -> None:
        self.path, self.segments = folder / MASKS, segments
        masks, boxes = _rows(self.path, list[_Mask]), _rows(folder / BOXES, list[_Box])
        if [(m.image_id, m.category_id, m.score) for m in masks] != [(b.image_id, b.category_id, b.score) for b in boxes]:
            raise DataError(f"{folder / BOXES}: has other predictions than {MASKS} beside it; evaluate again")
        self.masks, self.boxes = _by_image(self.path, masks, entries), _by_image(self.path, boxes, entries)

    def read(self, entry: ManifestEntry) -> Prediction:
        masks = [row.segmentation for row in self.masks[entry.image_id]]
        for mask in masks:
            if mask.size != [entry.height, entry.width]:
                height, width = mask.size
                what = f"{self.path}: has a mask of {width}x{height} in {entry.image_id}, expected {entry.width}x{entry.height} like the"
                raise DataError(f"{what} image; evaluate again")
        kept = [{"size": mask.size, "counts": mask.counts} for mask in masks]
        return replace(super().read(entry), masks=kept, boxed=False, segments=self.segments)


StoredPredictions = _Maps | _StoredBoxes


def _rows(path: Path, kind: type[list[T]]) -> list[T]:
    try:
        return TypeAdapter(kind).validate_json(_bytes(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise DataError(f"{path}{place}: {first['msg']}; evaluate again") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); evaluate again") from None
