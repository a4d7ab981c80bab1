"""The layers of a gallery's image: one JPEG, and label maps over it as palette PNGs that cost little."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg.data.labelmaps import boxes_of
from seg.data.sample import IGNORE, ClassInfo, Color
from seg.pictures.draw import IGNORED_GRAY, borders, resized
from seg.report.page_data import GalleryEntry, Outlines
from seg.report.rendering import jpeg

LARGEST, SMALLEST = 1024, 192  # pixels of the longer side
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
IGNORED_WHITE = (255, 255, 255, 150)
"""RGBA of ignored pixels among the errors."""

Paint = Mapping[int, tuple[int, int, int, int]]  # RGBA by the value of a map

Size = tuple[int, int]  # (width, height) in pixels


Labels = np.ndarray | Outlines
"""A class map (H, W) uint8, 255 = ignore, or instances."""


def label_layers(
    image: np.ndarray, labels: Sequence[Labels], wrong: Callable[[Size], bytes], classes: Sequence[ClassInfo], most: int
) -> list[bytes]:
    """The image as JPEG, then the labels, all of one kind, and what `wrong` draws, as PNG with transparent ground; see `fitted`."""

    def maps(size: Size) -> list[bytes]:
        size = enlarged(size) if isinstance(labels[0], Outlines) else size
        return [*(_label_layer(each, classes, size) for each in labels), wrong(size)]

    return fitted(image, most, maps)


def layers_of(entry: GalleryEntry, classes: Sequence[ClassInfo], most: int) -> list[bytes]:
    """The image as JPEG, then truth, prediction and errors as PNG with transparent ground; see `fitted`."""
    return label_layers(entry.image, (entry.truth, entry.predicted), partial(_errors_layer, entry), classes, most)


def _errors_layer(entry: GalleryEntry, size: Size) -> bytes:
    """What is wrong in a prediction: pixels, or outlines in the colours of VERDICTS."""
    if isinstance(entry.truth, np.ndarray) and isinstance(entry.predicted, np.ndarray):
        true, said = sized(entry.truth, size), sized(entry.predicted, size)
        return palette_png(np.where(true == IGNORE, 2, true != said), {1: (*WRONG, 255), 2: IGNORED_WHITE})
    verdicts = list(VERDICTS)
    errors = np.zeros((size[1], size[0]), np.int32)
    for outlines in (entry.truth, entry.predicted):
        assert isinstance(outlines, Outlines)
        found = np.array([verdicts.index(v) if v in VERDICTS else len(verdicts) for v in outlines.verdicts], np.int32)
        wrong = np.array([v != "found" for v in outlines.verdicts], bool)  # what is found is drawn once, as it truly is
        errors = laid_over(errors, outlined(outlines, found, wrong | (outlines is entry.truth), size))
    return palette_png(errors, outline_paint([*VERDICTS.values(), OTHER_VERDICT]))


def fitted(image: np.ndarray, most: int, maps: Callable[[Size], Sequence[bytes]]) -> list[bytes]:
    """An image (H, W, C) uint8 as JPEG, then the PNG files that `maps` draws of its layers at the JPEG's size.

    No larger than the image and LARGEST; smaller where they would take more than `most` bytes together, but SMALLEST at least."""
    longest = max(image.shape[:2])
    side, least = min(LARGEST, longest), min(SMALLEST, longest)
    while True:
        picture = resized(image, side)
        files = [jpeg(picture), *maps((picture.shape[1], picture.shape[0]))]
        total = sum(map(len, files))
        if total <= most or side <= least:
            return files
        side = max(least, int(side * min(0.9, (most / total) ** 0.5)))


def enlarged(size: Size) -> Size:
    """A size that outlines can be told apart at: a multiple of OUTLINED or more."""
    factor = -(-OUTLINED // max(size))
    return size[0] * factor, size[1] * factor


def _label_layer(labels: Labels, classes: Sequence[ClassInfo], size: Size) -> bytes:
    """In the classes' colours: ignored pixels transparent, instances with their scores where there are any."""
    if isinstance(labels, np.ndarray):
        return palette_png(sized(labels, size), {index: (*info.color, 255) for index, info in enumerate(classes)})
    codes = outlined(labels, labels.categories, np.ones(len(labels.crowd), bool), size)
    if labels.scores is not None:
        _write_scores(codes, labels.ids, labels.scores)
    return palette_png(codes, outline_paint([info.color for info in classes]))


def laid_over(codes: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Two maps of outlines (h, w) as one: what is above hides what is below, but within its outlines shows it."""
    is_fill = (above >= FIRST) & (above % 2 == FIRST % 2)
    return np.where((above == 0) | is_fill & (codes > 0), codes, above)


def sized(labels: np.ndarray, size: Size) -> np.ndarray:
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


CLEAR, DARK, HATCHED, WRITTEN, FIRST = range(5)
"""Values of a map of outlines: colour k is FIRST + 2k within an instance, and FIRST + 2k + 1 on its outline."""


def outline_paint(colors: Sequence[Color]) -> Paint:
    paint = {DARK: (0, 0, 0, 255), HATCHED: (IGNORED_GRAY, IGNORED_GRAY, IGNORED_GRAY, 255), WRITTEN: (255, 255, 255, 255)}
    for k, (r, g, b) in enumerate(colors):
        paint |= {FIRST + 2 * k: (r, g, b, FILLED), FIRST + 2 * k + 1: (r, g, b, 255)}
    return paint


def outlined(outlines: Outlines, colors: np.ndarray, shown: np.ndarray, size: Size) -> np.ndarray:
    """A map of outlines (h, w) int32: each instance with its colour (N,), outlined within, a dark pixel around; crowds hatched.

    shown: (N,) bool, the instances that are drawn."""
    codes = np.zeros((size[1], size[0]), np.int32)
    crowd, kept = (np.concatenate([[False], flags]).astype(bool) for flags in (outlines.crowd, shown))
    line = np.concatenate([[CLEAR], FIRST + 1 + 2 * np.asarray(colors, np.int32)])
    line[crowd] = HATCHED
    stripes = np.add.outer(*map(np.arange, codes.shape)) % 8 < 3
    thick = max(size) // 110 // 2 * 2 + 1  # so that the lines of a close-up are seen on a phone, too
    for layer in np.moveaxis(outlines.ids, 2, 0):
        ids = cv2.resize(layer, size, interpolation=cv2.INTER_NEAREST_EXACT)
        ids[~kept[ids]] = 0
        inside, hatched = ids > 0, crowd[ids]
        lines = inside & borders(ids.astype(np.float32), thick) & ~hatched | hatched & stripes
        codes = np.where(inside & ~hatched & (codes == CLEAR), line[ids] - 1, codes)
        codes[~inside & borders(lines.astype(np.uint8))] = DARK
        codes = np.where(lines, line[ids], codes)
    return codes


def _write_scores(codes: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> None:
    """Onto a map of outlines, in the middle of each instance that is wide enough for it."""
    factor = codes.shape[1] / ids.shape[1]
    font = ImageFont.load_default(max(codes.shape) / 28)
    written = Image.new("L", codes.shape[::-1])
    pen = ImageDraw.Draw(written)
    pen.fontmode = "1"  # without the shades between, which would be other values
    for score, (x1, y1, x2, y2) in zip(scores.tolist(), (boxes_of(ids, len(scores)) * factor).tolist(), strict=True):
        left, top, right, bottom = pen.textbbox((0, 0), text := f"{score:.2f}", font, stroke_width=1)
        if right - left <= x2 - x1 and bottom - top <= y2 - y1:
            pen.text(((x1 + x2) / 2, (y1 + y2) / 2), text, WRITTEN, font, "mm", stroke_width=1, stroke_fill=DARK)
    values = np.asarray(written)
    codes[values > 0] = values[values > 0]


def palette_png(values: np.ndarray, paint: Paint) -> bytes:
    """A map (H, W) of small whole numbers as a PNG of 1, 2, 4 or 8 bits a pixel; what `paint` does not name is transparent."""
    present = np.flatnonzero(np.bincount(values.ravel()))
    if len(present) > 256:  # more than a palette's places: outlines alone
        present = np.array([v for v in present.tolist() if paint.get(v, (0, 0, 0, 0))[3] in (0, 255)])[:256]
    place = np.zeros(int(values.max(initial=0)) + 1, np.uint8)
    place[present] = np.arange(len(present))
    rgba = np.array([paint.get(value, (0, 0, 0, 0)) for value in present.tolist()], np.uint8)
    picture = Image.frombytes("P", values.shape[1::-1], place[values].tobytes())
    picture.putpalette(rgba[:, :3].tobytes())
    bits = next(b for b in (1, 2, 4, 8) if len(present) <= 1 << b)
    file = io.BytesIO()
    picture.save(file, "PNG", bits=bits, transparency=rgba[:, 3].tobytes(), compress_level=9)
    return file.getvalue()
