"""Which pixel a transform of albumentations takes for a label: the one whose middle is nearest.

OpenCV's INTER_NEAREST does so where it warps. Where it resizes, it takes the pixel before, half a pixel off what its other
interpolations give; there INTER_NEAREST_EXACT is the nearest.
"""

from typing import Any

import cv2

from seg.core.environment import prepare_environment

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402

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


def take_nearest(transform: Any) -> None:
    """Let labels take the nearest pixel, and an image, too, where it is asked for."""
    nearest = cv2.INTER_NEAREST_EXACT if isinstance(transform, RESIZING) else cv2.INTER_NEAREST
    transform.mask_interpolation = nearest
    if getattr(transform, "interpolation", None) == cv2.INTER_NEAREST:
        transform.interpolation = nearest
