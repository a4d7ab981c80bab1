"""How transforms of albumentations work here: labels take the nearest pixel, fills are ignored, and some calls are quicker.

OpenCV's INTER_NEAREST takes the pixel whose middle is nearest where it warps. Where it resizes, it takes the pixel before, half a pixel off
what its other interpolations give; there INTER_NEAREST_EXACT is the nearest. The quicker calls of OpenCV give the same bytes: parameters,
targets and serialisation stay albumentations' own; what is replaced is what a transform calls for an image or a mask, where that is of
a type the quicker call takes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np

from seg.core.environment import prepare_environment

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402
from albumentations.augmentations.pixel.functional import add_constant  # noqa: E402

Apply = Callable[..., np.ndarray]  # (pixels (H, W) or (H, W, C), **parameters that were drawn) -> the transformed pixels
_TURNS = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
_TURNS_OF_D4 = {"r90": 1, "r180": 2, "r270": 3}

RESIZING = (
    A.Resize,
    A.RandomScale,
    A.LongestMaxSize,
    A.SmallestMaxSize,
    A.RandomResizedCrop,
    A.RandomSizedCrop,
    A.RandomSizedBBoxSafeCrop,
    A.CropAndPad,
)
"""The transforms that call cv2.resize; all others that move pixels call cv2.warpAffine, cv2.warpPerspective or cv2.remap."""


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
