"""Predictions as files: each kind in a folder of its own, under the image's name. A file is there whole, or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg.core.errors import ConfigError, DataError, did_you_mean
from seg.core.outputs import write_whole
from seg.core.urls import is_elsewhere
from seg.data.imagefile import encode_png
from seg.data.labelmaps import decode
from seg.data.sample import Prediction
from seg.models.postprocess import has_background
from seg.pictures.draw import overlay, rgb
from seg.predict.inputs import Input
from seg.predict.settings import Predict
from seg.predict.write.coco import CocoRows, CocoWriter, CvatWriter, PanopticWriter, above
from seg.predict.write.polygons import geojson, labelme_file
from seg.report.panels import outlined
from seg.settings.task import Answer
from seg.tiles.network import Facts

STREAMED = "tiff"  # the output that is made without holding an image in memory
COCO, PANOPTIC, CVAT = "coco.json", "panoptic.json", "cvat.xml"


@dataclass(frozen=True, slots=True)
class Predicted:
    """One image with what was predicted. image: (H, W, C) uint8. probabilities: (K, H, W) float32 where a kind asks for them."""

    source: Input
    image: np.ndarray
    prediction: Prediction
    probabilities: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file for each image. of: the answers that have it. encode: what a path gets, of a prediction without low scores."""

    suffix: str
    of: tuple[Answer, ...]
    encode: Callable[[Predicted, Path, "Writers"], bytes]
    probabilities: bool = False


class Writers:
    """The kinds of files that were asked for, below `out`. `tiff` is written by `seg.predict.band_tiff`, alone.

    Of settings, `outputs` are names among KINDS, `coco` and `cvat`; ConfigError for others, and for what the task does not have. Instances
    below `score_threshold` are left out of all but `coco`."""

    def __init__(self, out: Path, settings: Predict, facts: Facts) -> None:
        outputs = settings.outputs
        known = [name for name, kind in KINDS.items() if facts.answer in kind.of]
        known += ["coco", "cvat", *([STREAMED] if facts.answer == "classes" else [])]
        for name in outputs:
            if name not in known:
                raise ConfigError(f"predict.outputs: {name}: {did_you_mean(name, known, f'outputs of task={facts.task}')}")
        if STREAMED in outputs and (not (settings.tile or facts.window) or list(outputs) != [STREAMED]):
            fix = "ask for it alone, predict.outputs=[tiff], and set predict.tile, such as predict.tile=512"
            raise ConfigError(f"predict.outputs={list(outputs)}: {STREAMED} is made without holding the image in memory; {fix}")
        if not outputs:
            raise ConfigError(f"predict.outputs=[]: nothing would be written; choose among {', '.join(known)}")
        self.out, self.facts, self.settings, self.threshold = out, facts, settings, facts.threshold(settings.score_threshold)
        self.kinds = {name: KINDS[name] for name in dict.fromkeys(outputs) if name in KINDS}
        least, self.together = settings.polygons.min_area, list[CocoWriter | CocoRows]()
        if "coco" in outputs:
            self.together.append(CocoWriter(out / COCO, facts.classes, least))
        if "panoptic" in outputs:
            self.together.append(PanopticWriter(out / PANOPTIC, facts.classes, facts.things, self.threshold))
        if "cvat" in outputs:
            self.together.append(CvatWriter(out / CVAT, facts.classes, least, 0 if facts.answer == "classes" else self.threshold))

    @property
    def streamed(self) -> bool:
        return STREAMED in self.settings.outputs

    @property
    def probabilities(self) -> bool:
        """Whether a kind asks for all classes' probabilities."""
        return any(kind.probabilities for kind in self.kinds.values())

    def paths(self, name: str) -> list[Path]:
        if self.streamed:
            return [self.out / "classes" / f"{name}.tif"]
        return [self.out / folder / f"{name}{kind.suffix}" for folder, kind in self.kinds.items()]

    @property
    def names(self) -> list[str]:
        """Of the folders and files below `out`."""
        return [*(["classes"] if self.streamed else self.kinds), *(path.name for path in self.shared())]

    def shared(self) -> list[Path]:
        return [self.out / name for name in (COCO, PANOPTIC, CVAT) if Path(name).stem in self.settings.outputs]

    def write(self, predicted: Predicted) -> None:
        """Write an image's files, those that were there replaced."""
        kept = replace(predicted, prediction=above(predicted.prediction, self.threshold))
        for path, kind in zip(self.paths(predicted.source.name), self.kinds.values(), strict=True):
            write_whole(path, kind.encode(kept, path, self), sync=False)
        self.add(predicted.source, predicted.image.shape[0], predicted.image.shape[1], predicted.prediction)

    def add(self, source: Input, height: int, width: int, prediction: Prediction) -> None:
        """Write an image into the files of all images together."""
        for each in self.together:
            each.add(source, height, width, prediction)

    def close(self) -> None:
        for each in self.together:
            each.close()


def id_map(prediction: Prediction, height: int, width: int) -> np.ndarray:
    """(H, W) int32: instance i as i + 1; of those that overlap the one that scores higher lies on top."""
    layered = decode(prediction.masks, height, width)
    found = np.zeros((height, width), np.int32)
    for layer in np.moveaxis(layered, 2, 0):
        found = np.where((layer > 0) & ((found == 0) | (layer < found)), layer, found)
    return found


def _classes(predicted: Predicted, _: Path, writers: Writers) -> bytes:
    assert predicted.prediction.semantic is not None
    picture = Image.fromarray(predicted.prediction.semantic).convert("P")
    palette = np.full((256, 3), 160, np.uint8)
    palette[: len(writers.facts.classes)] = [c.color for c in writers.facts.classes]
    picture.putpalette(palette.tobytes())
    return _png(picture)


def _png(picture: Image.Image) -> bytes:
    file = BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _confidence(predicted: Predicted, _: Path, __: Writers) -> bytes:
    return _png(Image.fromarray(predicted.prediction.confidence))  # type: ignore[arg-type]


def _probabilities(predicted: Predicted, _: Path, __: Writers) -> bytes:
    file = BytesIO()
    np.save(file, predicted.probabilities, allow_pickle=False)  # type: ignore[arg-type]
    return file.getvalue()


def _overlay(predicted: Predicted, _: Path, writers: Writers) -> bytes:
    image, prediction, classes = predicted.image, predicted.prediction, writers.facts.classes
    if prediction.semantic is not None:
        return encode_png(overlay(image, prediction.semantic, classes))
    colors = [classes[k].color for k in prediction.categories]
    panel = outlined("", rgb(image), prediction.masks, colors, [f"{score:.2f}" for score in prediction.scores])
    picture = Image.fromarray(panel.picture)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(max(10, max(panel.picture.shape) / 60))
    for x, y, text in panel.texts:
        pen.text((x, y), text, "white", font, "mm", stroke_width=1, stroke_fill="black")
    return encode_png(np.asarray(picture))


def _ids(predicted: Predicted, _: Path, __: Writers) -> bytes:
    if (count := len(predicted.prediction.scores)) > 65535:
        raise DataError(f"{predicted.source.name}: has {count} instances, more than a 16-bit PNG tells apart; take coco")
    return _png(Image.fromarray(id_map(predicted.prediction, *predicted.image.shape[:2]).astype(np.uint16)))


def _panoptic(predicted: Predicted, _: Path, __: Writers) -> bytes:
    """Segment i as the colour of i + 1, red first, which is COCO's; black: of none."""
    ids = id_map(predicted.prediction, *predicted.image.shape[:2])
    return encode_png(np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=2).astype(np.uint8))


def _labelme(predicted: Predicted, path: Path, writers: Writers) -> bytes:
    source, polygons = predicted.source, writers.settings.polygons
    here = Path(source.file_name).name  # of a video, whose frames have no files
    apart = source.frame is not None or is_elsewhere(source.path) or is_elsewhere(path)
    image = Path(here if apart else os.path.relpath(source.path.absolute(), path.parent.absolute()))
    (height, width), kept = predicted.image.shape[:2], predicted.prediction
    return _json(labelme_file(image.as_posix(), height, width, kept, writers.facts.classes, polygons.tolerance, polygons.min_area))


def _geojson(predicted: Predicted, _: Path, writers: Writers) -> bytes:
    polygons = writers.settings.polygons
    return _json(geojson(predicted.prediction, writers.facts.classes, polygons.tolerance, polygons.min_area))


def _yolo(predicted: Predicted, _: Path, writers: Writers) -> bytes:
    """A line an object: its class, counted without `background`, centre, width and height as shares of the image, and its score."""
    kept, (height, width) = predicted.prediction, predicted.image.shape[:2]
    first = int(has_background([c.name for c in writers.facts.classes]))
    shares = kept.boxes.reshape(-1, 2, 2).astype(np.float64) / [width, height]
    values = np.concatenate([shares.mean(axis=1), shares[:, 1] - shares[:, 0], kept.scores[:, None]], axis=1)
    lines = [" ".join([str(k - first), *(f"{v:.6g}" for v in row)]) for k, row in zip(kept.categories.tolist(), values, strict=True)]
    return "".join(f"{line}\n" for line in lines).encode()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content) + "\n").encode()


KINDS = {
    "classes": Kind(".png", ("classes",), _classes),
    "confidence": Kind(".png", ("classes",), _confidence),
    "probabilities": Kind(".npy", ("classes",), _probabilities, probabilities=True),
    "ids": Kind(".png", ("masks", "segments"), _ids),
    "panoptic": Kind(".png", ("segments",), _panoptic),
    "yolo": Kind(".txt", ("boxes",), _yolo),
    "overlay": Kind(".png", ("classes", "masks", "boxes", "segments"), _overlay),
    "labelme": Kind(".json", ("classes", "masks", "boxes", "segments"), _labelme),
    "geojson": Kind(".geojson", ("classes", "masks", "boxes", "segments"), _geojson),
}
"""The kinds of files of each image: folders below the output."""
