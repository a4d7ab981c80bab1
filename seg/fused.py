"""A policy's transforms, fused: they draw what they draw one by one, but geometric ones that follow each other move the image by one
warp, and the last warp and the photometric ones at the end may be deferred: left to the device.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from seg.core.environment import prepare_environment
from seg.deferred import WARP, Deferred, warp_values
from seg.geometry import Border, Warp, is_geometric, step_of

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402

_LEVELS = np.arange(256, dtype=np.uint8)[:, None]


class FusedTransforms:
    """compose: as it draws with its random state, so do they."""

    def __init__(self, compose: A.Compose) -> None:
        self.compose, self.transforms = compose, compose.transforms
        transforms: Sequence[Any] = compose.transforms
        others = (number for number in range(len(transforms), 0, -1) if not is_photometric(transforms[number - 1]))
        self.first_photometric = next(others, 0)

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, defers: bool, defers_warp: bool
    ) -> tuple[np.ndarray, np.ndarray, tuple[Deferred, ...]]:
        """A draw of an image (H, W, C) uint8 and its plane of labels (H, W), and what is still to be done.

        defers: whether photometric transforms at the end are deferred. defers_warp: whether a warp before them is, too.
        """
        self.compose.py_random.random()  # albumentations first tosses a coin for all of them
        warp, left = Warp(_size(image)), []
        for place, transform in enumerate(self.transforms):
            if defers and place >= self.first_photometric:
                left += _photometric(transform, place, (*warp.size, image.shape[2]))
            elif is_geometric(transform):
                drawn = _draw(transform, (*warp.size, image.shape[2]))
                if drawn is None:
                    continue
                step = step_of(transform, drawn)
                if not warp.takes(step):
                    image, labels = warp.apply(image, labels)
                    warp = Warp(_size(image))
                warp.add(step)
            else:
                image, labels = warp.apply(image, labels)
                result = transform(image=image, mask=labels)
                image, labels = np.atleast_3d(result["image"]), result["mask"]
                warp = Warp(_size(image))
        if defers_warp and (values := _deferred_warp(warp, image.shape[2])) is not None:
            return image, labels, (Deferred(self.first_photometric - 1, WARP, values), *left)
        image, labels = warp.apply(image, labels)
        return image, labels, tuple(left)


def _deferred_warp(warp: Warp, channels: int) -> np.ndarray | None:
    """The values of a warp on the device; None where it is done as well at once.

    That is where pixels need not be interpolated, and where the device would be sent much that is not seen.
    """
    (height, width), (rows, columns) = warp.before, warp.size
    border = warp.border or Border()
    if warp.is_exact or border.mode not in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE) or height * width > 2 * rows * columns:
        return None
    fill = np.broadcast_to(np.ravel(border.fill), channels) if border.mode == cv2.BORDER_CONSTANT else None
    return warp_values(np.linalg.inv(warp.matrix), warp.size, None if fill is None else fill.tolist())


def is_photometric(transform: Any) -> bool:
    """Whether a transform changes pixels alone, by parameters that do not depend on them, and `seg.device_transforms` knows it."""
    kind = type(transform)
    if kind is A.RandomBrightnessContrast:
        return bool(transform.brightness_by_max)
    if kind is A.GaussNoise:
        return bool(transform.noise_scale_factor == 1)
    if kind is A.CoarseDropout:
        return isinstance(transform.fill, int | float) and transform.fill_mask is None
    return kind in (A.RandomGamma, A.InvertImg, A.HueSaturationValue, A.GaussianBlur)


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _draw(transform: Any, shape: tuple[int, ...]) -> dict[str, Any] | None:
    """What a transform draws for an image of this shape, or None where it leaves it as it is.

    The calls are those of albumentations' BasicTransform, in its order.
    """
    if not transform.should_apply():
        return None
    data = {"image": np.broadcast_to(np.uint8(0), shape)}
    drawn: dict[str, Any] = transform.update_transform_params(params=transform.get_params(), data=data)
    return drawn | transform.get_params_dependent_on_data(params=drawn, data=data)


def _photometric(transform: Any, place: int, shape: tuple[int, ...]) -> list[Deferred]:
    if isinstance(transform, A.GaussNoise):  # which would draw its noise at once
        return [Deferred(place, "noise", _noise(transform))] if transform.should_apply() else []
    drawn = _draw(transform, shape)
    if drawn is None:
        return []
    if isinstance(transform, A.HueSaturationValue):
        return [Deferred(place, "hsv", np.array([drawn[f"{name}_shift"] for name in ("hue", "sat", "val")]))]
    if isinstance(transform, A.GaussianBlur):
        return [Deferred(place, "blur", np.asarray(drawn["kernel"], np.float64))]
    if isinstance(transform, A.CoarseDropout):
        return [Deferred(place, "holes", np.array([transform.fill, *np.ravel(drawn["holes"])], np.float64))]
    return [Deferred(place, "table", transform.apply(_LEVELS, **drawn).ravel())]


def _noise(transform: Any) -> np.ndarray:
    deviation, mean = (transform.py_random.uniform(*limits) for limits in (transform.std_range, transform.mean_range))
    seed = transform.random_generator.integers(0, 1 << 16)
    return np.array([255 * mean, 255 * deviation, transform.per_channel, seed])
