"""Crops by their overlap with an object, as SSD is trained with (Liu et al. 2016, section 2.2); boxes are those of the drawn id map."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from pycocotools.mask import iou

from seg.core.environment import prepare_environment
from seg.data.labelmaps import measure
from seg.settings.section import Share

prepare_environment()  # albumentations looks for newer versions when it is imported

import albumentations as A  # noqa: E402
from albumentations.augmentations.geometric.functional import resize  # noqa: E402

TRIALS = 50  # of crops, until another overlap is drawn (SSD's own program)
Corners = tuple[int, int, int, int]


@dataclass(slots=True)
class Stored:
    """instances: the id map (H, W, L) of the stored image, or None. gone: ids of what a crop left out, though a part of it may be seen."""

    instances: np.ndarray | None = None
    gone: set[int] = field(default_factory=set)


class OverlapCrop(A.DualTransform):
    """A random part of the image that overlaps an object's box enough, brought back to the image's size; or the whole image.

    The part's least IoU with one of the boxes whose middle it holds is drawn from `overlaps` or is that of the whole image, each as likely.
    An object whose box's middle lies outside is ignored. An image without instances stays whole.

    overlaps: least IoUs; 0 is any part with the middle of a box. scale: the least and the largest share of each side. ratio: the least and
    the largest width for the height. p: the probability that it is applied."""

    def __init__(self, overlaps: list[Share], scale: tuple[Share, Share], ratio: tuple[float, float], p: Share = 1.0) -> None:
        super().__init__(p=p)
        self.overlaps, self.scale, self.ratio = overlaps, scale, ratio

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        stored: Stored = data.get("stored") or Stored()
        height, width = params["shape"][:2]
        whole = {"corners": (0, 0, width, height)}
        if stored.instances is None:
            return whole
        pixels = data["mask"].astype(np.int64)
        ids = np.where(pixels[..., None] > 0, stored.instances.reshape(-1, stored.instances.shape[2])[pixels - 1], 0)
        areas, boxes = measure(np.ascontiguousarray(ids), int(stored.instances.max(initial=0)))
        corners, inside = self._drawn(boxes[areas > 0], height, width)
        stored.gone.update((np.flatnonzero(areas > 0)[~inside] + 1).tolist())
        return {"corners": corners}

    def _drawn(self, boxes: np.ndarray, height: int, width: int) -> tuple[Corners, np.ndarray]:
        """A part (left, top, right, bottom), and whether it holds the middle of each of the boxes (N, 4) xyxy."""
        middles, sided = (boxes[:, :2] + boxes[:, 2:]) / 2, np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
        while (choice := self.py_random.randrange(len(self.overlaps) + 1)) < len(self.overlaps):
            for _ in range(TRIALS):
                w, h = (max(1, int(side * self.py_random.uniform(*self.scale))) for side in (width, height))
                left, top = self.py_random.randint(0, width - w), self.py_random.randint(0, height - h)
                corners = (left, top, left + w, top + h)
                inside = ((middles > corners[:2]) & (middles < corners[2:])).all(axis=1)
                fits = self.ratio[0] <= w / h <= self.ratio[1] and inside.any()
                if fits and iou(sided[inside], np.array([[left, top, w, h]], np.float64), [False]).max() >= self.overlaps[choice]:
                    return corners, inside
        return (0, 0, width, height), np.ones(len(boxes), bool)

    def apply(self, img: np.ndarray, corners: Corners, **params: Any) -> np.ndarray:
        return _scaled(img, corners, cv2.INTER_LINEAR)

    def apply_to_mask(self, mask: np.ndarray, corners: Corners, **params: Any) -> np.ndarray:
        return _scaled(mask, corners, cv2.INTER_NEAREST_EXACT)


def _scaled(pixels: np.ndarray, corners: Corners, interpolation: int) -> np.ndarray:
    """The part of an image or a plane, at the size of all of it."""
    left, top, right, bottom = corners
    part = pixels[top:bottom, left:right]
    return pixels if part.shape == pixels.shape else resize(part, pixels.shape[:2], interpolation).reshape(pixels.shape)
