"""The layers of a gallery's image: one JPEG, and label maps over it as palette PNGs that cost little."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from seg.report.draw import IGNORED_GRAY, borders, resized
from seg.report.evaluation import GalleryEntry, Outlines
from seg.report.html import jpeg
from seg.sample import IGNORE, ClassInfo, Color

SIDES = (1024, 768, 512, 384, 256, 192)  # pixels of the longer side, the largest whose files are small enough
OUTLINED = 512  # pixels at least, to which instances are enlarged before their outlines are drawn
FILLED = 90  # alpha within an outline
WRONG: Color = (213, 40, 30)
VERDICTS: Mapping[str, Color] = {
    "found": (0, 114, 178),
    "missed": WRONG,
    "made up": (240, 160, 0),
    "split": (204, 121, 167),
    "merged": (120, 60, 170),
    "wrong class": (0, 158, 115),
    "poor mask": (86, 180, 233),
    "duplicate": (240, 228, 66),
}
"""The colours of what instances were found to be; words say the same beside the image."""
OTHER_VERDICT: Color = (90, 90, 90)

Paint = Mapping[int, tuple[int, int, int, int]]
"""RGBA by the value of a map."""


@dataclass(frozen=True, slots=True)
class Layers:
    """Files: the image as JPEG, and truth, prediction and errors as PNG with transparent ground."""

    image: bytes
    truth: bytes
    predicted: bytes
    errors: bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.image) + len(self.truth) + len(self.predicted) + len(self.errors)


def layers_of(entry: GalleryEntry, classes: Sequence[ClassInfo], most: int) -> Layers:
    """The layers at the largest of SIDES that takes `most` bytes at most, or at the smallest; none is larger than its image."""
    longest = max(entry.image.shape[:2])
    for side in sorted({min(side, longest) for side in SIDES}, reverse=True):
        layers = _at(entry, classes, side)
        if layers.size <= most:
            break
    return layers


def _at(entry: GalleryEntry, classes: Sequence[ClassInfo], side: int) -> Layers:
    image = resized(entry.image, side)
    size = image.shape[1::-1]
    if isinstance(entry.truth, Outlines) and isinstance(entry.predicted, Outlines):
        factor = -(-OUTLINED // max(size)) if max(size) < OUTLINED else 1
        large = (size[0] * factor, size[1] * factor)
        maps = _outline_maps(entry.truth, entry.predicted, classes, large)
    elif isinstance(entry.truth, np.ndarray) and isinstance(entry.predicted, np.ndarray):
        maps = _class_maps(entry.truth, entry.predicted, classes, size)
    else:
        raise ValueError(f"{entry.row.image_id}: truth and prediction must both be class maps or both be outlines")
    return Layers(jpeg(image), *maps)


def _class_maps(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[ClassInfo], size: tuple[int, int]) -> tuple[bytes, ...]:
    paint: Paint = {index: (*info.color, 255) for index, info in enumerate(classes)}
    true, said = (cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in (truth, predicted))
    wrong = np.where(true == IGNORE, 2, true != said).astype(np.uint8)
    return palette_png(true, paint), palette_png(said, paint), palette_png(wrong, {1: (*WRONG, 255), 2: (255, 255, 255, 150)})


def _outline_maps(truth: Outlines, predicted: Outlines, classes: Sequence[ClassInfo], size: tuple[int, int]) -> tuple[bytes, ...]:
    colors = [info.color for info in classes]
    true = _outlined(truth, [colors[c] for c in truth.categories], size)
    said = _outlined(predicted, [colors[c] for c in predicted.categories], size)
    errors = np.zeros((size[1], size[0], 4), np.uint8)
    for outlines, wanted in ((truth, True), (predicted, False)):
        shown = [outlines.crowd[i] or (verdict != "found") or wanted for i, verdict in enumerate(outlines.verdicts)]
        layer = _outlined(outlines, [VERDICTS.get(verdict, OTHER_VERDICT) for verdict in outlines.verdicts], size, shown)
        seen = layer[..., 3] >= errors[..., 3]
        errors[seen] = layer[seen]
    return _rgba_png(true), _rgba_png(said), _rgba_png(errors)


def _outlined(outlines: Outlines, colors: Sequence[Color], size: tuple[int, int], shown: Sequence[bool] | None = None) -> np.ndarray:
    """(h, w, 4) uint8: instances filled lightly, outlined within, with a dark pixel around; crowds hatched in gray."""
    picture = np.zeros((size[1], size[0], 4), np.uint8)
    crowd = np.concatenate([[False], outlines.crowd]).astype(bool)
    kept = np.concatenate([[False], np.ones(len(crowd) - 1, bool) if shown is None else shown]).astype(bool)
    table = np.array([(0, 0, 0), *colors], np.uint8)
    table[crowd] = IGNORED_GRAY
    stripes = np.add.outer(*map(np.arange, picture.shape[:2])) % 8 < 3
    thick = max(size) // 110 // 2 * 2 + 1  # so that a close-up's line, too, is seen on a phone
    for ids in np.moveaxis(outlines.ids, 2, 0):
        ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
        ids = np.where(kept[ids], ids, 0)
        inside = (ids > 0) & ~crowd[ids]
        lines = (ids > 0) & borders(ids.astype(np.float32), thick) | crowd[ids] & stripes
        fill = inside & (picture[..., 3] == 0)
        picture[fill, :3], picture[fill, 3] = table[ids[fill]], FILLED
        picture[(ids == 0) & borders(lines.astype(np.uint8))] = (0, 0, 0, 255)
        picture[lines, :3], picture[lines, 3] = table[ids[lines]], 255
    return picture


def _rgba_png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 4) uint8 of at most 256 colours."""
    codes = np.ascontiguousarray(picture).view("<u4")[..., 0]
    values, places = np.unique(codes, return_inverse=True)
    if len(values) > 256:  # more categories than a palette has places: outlines alone
        picture = np.where(picture[..., 3:] == 255, picture, 0).astype(np.uint8)
        values, places = np.unique(np.ascontiguousarray(picture).view("<u4")[..., 0], return_inverse=True)
    rgba = values[:, None].view(np.uint8).reshape(-1, 4)
    return palette_png(places.reshape(codes.shape).astype(np.uint8), {i: (r, g, b, a) for i, (r, g, b, a) in enumerate(rgba.tolist())})


def palette_png(indices: np.ndarray, paint: Paint) -> bytes:
    """A map (H, W) uint8 as a PNG of 1, 2, 4 or 8 bits a pixel; what `paint` does not name is transparent."""
    values, places = np.unique(indices, return_inverse=True)
    rgba = np.array([paint.get(value, (0, 0, 0, 0)) for value in values.tolist()], np.uint8)
    picture = Image.fromarray(places.reshape(indices.shape).astype(np.uint8)).convert("P")
    picture.putpalette(rgba[:, :3].tobytes())
    bits = next(b for b in (1, 2, 4, 8) if len(values) <= 1 << b)
    file = io.BytesIO()
    picture.save(file, "PNG", bits=bits, transparency=rgba[:, 3].tobytes(), compress_level=9)
    return file.getvalue()
