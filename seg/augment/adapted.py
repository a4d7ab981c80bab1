"""How transforms of albumentations work here: labels take the nearest pixel, fills are ignored, and some calls are quicker.

OpenCV's INTER_NEAREST takes the pixel whose middle is nearest where it warps. Where it resizes, it takes the pixel before, half a pixel off
what its other interpolations give; there INTER_NEAREST_EXACT is the nearest. The quicker calls of OpenCV give the same bytes: parameters,
targets and serialisation stay albumentations' own; what is replaced is what a transform calls for an image or a mask, where that is of
a type the quicker call takes.

Labels follow a pixel map: which pixel of a stored image each pixel of a drawn one shows. One plane that is warped with the image takes
label maps of any number of layers along, and tells how much of each instance is still seen.

A pixel map is (H, W) float: 1 + the number of the stored pixel, counted row by row; 0 in a border that a transform filled.
It is float32 where that can count the pixels: OpenCV 5 warps such a plane to the same nearest pixels as an 8-bit image, and
planes of int32, of float64 and pairs of uint16 to slightly others."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numba
import numpy as np

from seg.core.environment import prepare_environment
from seg.data.sample import IGNORE

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402
from albumentations.augmentations.pixel.functional import add_constant  # noqa: E402

Apply = Callable[..., np.ndarray]  # (pixels (H, W) or (H, W, C), **parameters that were drawn) -> the transformed pixels
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
_TURNS_OF_D4 = {"r90": 1, "r180": 2, "r270": 3}
_SCALING = (A.Resize, A.RandomScale, A.LongestMaxSize, A.SmallestMaxSize, A.CropAndPad)
RESIZING = (*_SCALING, A.RandomResizedCrop, A.RandomSizedCrop, A.RandomSizedBBoxSafeCrop)
"""The transforms that call cv2.resize; all others that move pixels call cv2.warpAffine, cv2.warpPerspective or cv2.remap."""
CELL = 16  # side in pixels of the squares of a drawn image within which the change of scale is taken to be one and the same
PART = 8  # side of the parts of a square that are looked at where it lies partly in a filled border


def adapt(transform: Any) -> None:
    """Let a transform, or one that holds others, fill masks with 0, and do all that is said here."""
    for fill in ("fill_mask", "mask_drop_value"):
        if getattr(transform, fill, None) is not None:
            setattr(transform, fill, 0)
    if hasattr(transform, "mask_interpolation"):
        nearest = cv2.INTER_NEAREST_EXACT if isinstance(transform, RESIZING) else cv2.INTER_NEAREST
        transform.mask_interpolation = nearest
        if getattr(transform, "interpolation", None) == cv2.INTER_NEAREST:
            transform.interpolation = nearest
    if getattr(transform, "area_for_downscale", None):
        transform.area_for_downscale = "image"
    if isinstance(transform, A.BasicTransform):
        speed_up(transform)


def speed_up(transform: A.BasicTransform) -> None:
    """Let a transform take the quick way where there is one; it draws and gives what it did before."""
    calls = transform._key2func  # of the one release that the project runs with: later ones have another licence
    kind = type(transform)
    if kind in (A.RandomRotate90, A.D4, A.SquareSymmetry):
        for target in ("image", "mask"):
            calls[target] = partial(_turned, calls[target])
    elif kind in (A.Affine, A.ShiftScaleRotate, A.SafeRotate, A.Rotate):
        calls["image"] = partial(_warped_beside_alpha, calls["image"], transform)
    elif kind is A.HueSaturationValue:
        calls["image"] = partial(_shifted, calls["image"])


def _turned(own: Apply, pixels: np.ndarray, **drawn: Any) -> np.ndarray:
    """numpy turns views, and copies them pixel by pixel: ten times the time for an RGB image."""
    number = drawn["factor"] if "factor" in drawn else _TURNS_OF_D4.get(drawn["group_element"])
    if number not in _TURNS or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        return own(pixels, **drawn)
    return cv2.rotate(pixels, _TURNS[number]).reshape(*(pixels.shape[:2] if number == 2 else pixels.shape[1::-1]), *pixels.shape[2:])


def _warped_beside_alpha(own: Apply, transform: Any, pixels: np.ndarray, **drawn: Any) -> np.ndarray:
    """OpenCV interpolates four channels at once, and three one by one: less than half the time with one that is not needed."""
    bilinear = transform.interpolation == cv2.INTER_LINEAR and transform.border_mode != cv2.BORDER_TRANSPARENT
    if not bilinear or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or np.size(transform.fill) != 1:
        return own(pixels, **drawn)
    return cv2.cvtColor(own(cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA), **drawn), cv2.COLOR_RGBA2RGB)


def _shifted(own: Apply, image: np.ndarray, **drawn: Any) -> np.ndarray:
    """A table for each channel, from albumentations' own arithmetic on the 256 values there are, in place of a pass for each."""
    hue, saturation, value = drawn["hue_shift"], drawn["sat_shift"], drawn["val_shift"]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not (hue or saturation or value):
        return own(image, **drawn)
    same = np.arange(256, dtype=np.uint8)[None]
    hues = np.mod(same.astype(np.int16) + hue, 180).astype(np.uint8) if hue else same
    saturations, values = (add_constant(same.copy(), shift) if shift else same for shift in (saturation, value))
    saturations = np.where(same == 0, np.uint8(0), saturations)  # gray stays gray
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, np.dstack([hues, saturations, values])), cv2.COLOR_HSV2RGB)


def identity(height: int, width: int) -> np.ndarray:
    """The pixel map (height, width) of an image as it is stored."""
    count = height * width
    return np.arange(1, count + 1, dtype=np.float32 if count <= 1 << 24 else np.float64).reshape(height, width)


def look_up(pixels: np.ndarray, semantic: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels of a drawn image of the pixel map (H, W), from those of the stored one, of any height and width. Returns semantic (H, W)
    uint8, 255 where filled, and instances (H, W, L) int32, 0 where filled, with the ids they had."""
    num_layers = instances.shape[2]
    drawn_semantic, drawn_ids = np.empty(pixels.shape, np.uint8), np.empty((*pixels.shape, num_layers), np.int32)
    stored = semantic.reshape(-1), instances.reshape(-1, num_layers)
    _look_up(pixels.reshape(-1), *stored, drawn_semantic.reshape(-1), drawn_ids.reshape(-1, num_layers))
    return drawn_semantic, drawn_ids


def seen(pixels: np.ndarray, drawn: np.ndarray, stored_width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How much a drawn id map (H, W, L) shows of ids 1..count. areas (count,) int64: of drawn pixels. stored (count,) float64: how many
    stored pixels these stand for; exact after a crop or a flip, within a few per cent after a zoom or a turn, and within a tenth or so
    where space itself is bent."""
    areas, stored = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    _seen(drawn, density(pixels, stored_width), areas, stored)
    return areas[1:], stored[1:]


def density(pixels: np.ndarray, stored_width: int) -> np.ndarray:
    """Stored pixels to a drawn one, (H / CELL, W / CELL) float64, rounded up: in each cell of a pixel map. A cell's corners span a
    quadrangle in the stored image, whose area tells. Of a cell with a corner in a filled border the parts count that have none; without any
    it takes the mean of all cells, or 1 where no cell has any."""
    bottoms, rights = (np.minimum(np.arange(CELL, n + CELL, CELL), n - 1) for n in pixels.shape)
    tops, lefts = np.maximum(bottoms - CELL, 0), np.maximum(rights - CELL, 0)
    stored, drawn = _spans(pixels, stored_width, tops, lefts, bottoms, rights)
    starts = [(np.minimum(tops + y, bottoms), np.minimum(lefts + x, rights)) for y in range(0, CELL, PART) for x in range(0, CELL, PART)]
    parts = [_spans(pixels, stored_width, y, x, np.minimum(y + PART, bottoms), np.minimum(x + PART, rights)) for y, x in starts]
    stored, drawn = np.where(drawn > 0, (stored, drawn), np.sum(parts, axis=0))
    mean = np.abs(stored).sum() / drawn.sum() if drawn.any() else 1.0
    return np.where(drawn > 0, np.abs(stored) / np.maximum(drawn, 1), mean)


def _spans(
    pixels: np.ndarray, stored_width: int, tops: np.ndarray, lefts: np.ndarray, bottoms: np.ndarray, rights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The area that each drawn rectangle spans in the stored image, negative where mirrored, and its own; 0, 0 with a filled corner."""
    corners = [pixels[np.ix_(y, x)] for y, x in ((tops, lefts), (tops, rights), (bottoms, rights), (bottoms, lefts))]
    (y1, x1), (y2, x2), (y3, x3), (y4, x4) = (np.divmod(corner.astype(np.int64) - 1, stored_width) for corner in corners)
    inside = np.minimum.reduce(corners) > 0
    spanned = ((x3 - x1) * (y4 - y2) - (y3 - y1) * (x4 - x2)) / 2  # half the diagonals' cross product
    return np.where(inside, spanned, 0), np.where(inside, np.multiply.outer(bottoms - tops, rights - lefts), 0)


@numba.njit(nogil=True, cache=True)
def _look_up(pixels: np.ndarray, semantic: np.ndarray, instances: np.ndarray, drawn_semantic: np.ndarray, drawn_ids: np.ndarray) -> None:
    one = np.uint32(1)  # numba looks whether a signed index counts from the end: twice the time
    for i in range(len(pixels)):
        number = np.uint32(pixels[i])
        drawn_semantic[i] = semantic[number - one] if number else IGNORE
        drawn_ids[i, 0] = instances[number - one, 0] if number else 0
    for layer in range(1, instances.shape[1]):
        for i in range(len(pixels)):
            number = np.uint32(pixels[i])
            drawn_ids[i, layer] = instances[number - one, layer] if number else 0


@numba.njit(nogil=True, cache=True)
def _seen(drawn: np.ndarray, cells: np.ndarray, areas: np.ndarray, stored: np.ndarray) -> None:
    height, width, num_layers = drawn.shape
    before = np.zeros(width + 1)  # stored pixels that the row shows left of each pixel
    for y in range(height):
        if y % CELL == 0:
            for x in range(width):
                before[x + 1] = before[x] + cells[y // CELL, x // CELL]
        for layer in range(num_layers):
            instance, start = drawn[y, 0, layer], 0
            for x in range(width):
                if drawn[y, x, layer] != instance:
                    areas[instance] += x - start
                    stored[instance] += before[x] - before[start]
                    instance, start = drawn[y, x, layer], x
            areas[instance] += width - start
            stored[instance] += before[width] - before[start]
