"""The boundary loss: probabilities weighted by their signed distance to the boundary of the class's true region."""

import cv2
import numpy as np
import torch
from torch import Tensor

from seg.data.sample import IGNORE
from seg.models.losses.classes import ClassLoss, pixels_of_each


class Boundary(ClassLoss):
    """The mean over pixels of a class's probability times its signed distance map in pixels, and of that the weighted mean over
    the classes in the batch (Kervadec et al. 2019).

    It is negative where regions are covered. Alone it does not train a network: predicting no pixel of a small class costs
    next to nothing. It belongs beside a loss of regions or pixels, with a small weight.
    """

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        classes = logits.shape[1]
        if semantic.device.type == "cpu":
            distances = torch.from_numpy(np.stack([signed_distances(image, classes) for image in semantic.numpy()]))
        else:
            distances = distances_on_device(semantic, classes)
        counts = pixels_of_each(semantic, classes)
        losses = (logits.float().contiguous().softmax(dim=1) * distances).sum((0, 2, 3)) / counts.sum().clamp(min=1)
        return self.mean_over_classes(losses, counts)


def signed_distances(labels: np.ndarray, classes: int) -> np.ndarray:
    """Class map (H, W) uint8 -> (classes, H, W) float32: d outside of a class's region, 1 - d inside, in pixels.

    d is the Euclidean distance to the nearest pixel of the class, or, from inside, to the nearest of another class. Ignored
    pixels belong to neither, so they make no boundary, and their own value is 0. All is 0 for a class that has no boundary: it
    does not occur, or no other does. The 1 is that of the authors' code, by which pixels on the inner side of a boundary are 0.
    """
    maps = np.zeros((classes, *labels.shape), np.float32)
    counted = labels != IGNORE
    for index in np.unique(labels[counted]):
        inside = labels == index
        if (others := counted & ~inside).any():
            maps[index] = np.where(inside, 1 - _distance_to(others), _distance_to(inside)) * counted
    return maps


def _distance_to(region: np.ndarray) -> np.ndarray:
    """The Euclidean distance (H, W) float32 of each pixel to the nearest of `region`, exact (Felzenszwalb and Huttenlocher 2012)."""
    return cv2.distanceTransform((~region).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


ROWS_AT_ONCE = 1 << 26  # values that the search for the nearest pixels holds at once


@torch.no_grad()
def distances_on_device(semantic: Tensor, classes: int) -> Tensor:
    """The signed distances of class maps (B, H, W) uint8 as (B, K, H, W) float32, computed where they lie; the host waits for nothing.

    The squared distance is the least, over the image's rows, of the squared distance to the row plus the squared distance within it.
    """
    counted = (semantic != IGNORE)[:, None]
    inside = semantic[:, None] == torch.arange(classes, device=semantic.device)[:, None, None]
    others = counted & ~inside
    signed = torch.where(inside, 1 - _nearest(others), _nearest(inside))
    there = (inside.any(-1).any(-1) & others.any(-1).any(-1))[..., None, None]
    return torch.where(there & counted, signed, 0.0)


def _nearest(region: Tensor) -> Tensor:
    """The Euclidean distance (B, K, H, W) float32 of each pixel to the nearest of `region` (B, K, H, W) bool; large where it is empty."""
    height, width = region.shape[-2:]
    far = 4 * (height + width)
    column = torch.arange(width, device=region.device)
    before = torch.where(region, column, -far).cummax(-1).values  # the nearest column of the region on either side
    after = torch.where(region, column, far).flip(-1).cummin(-1).values.flip(-1)
    within = torch.minimum(column - before, after - column).float().square()
    squared = torch.empty_like(within)
    at_once = max(1, ROWS_AT_ONCE // within.numel())
    lines = torch.arange(height, device=region.device, dtype=torch.float32)
    for start in range(0, height, at_once):
        rows = lines[start : start + at_once]
        apart = (rows[:, None] - lines).square()[..., None]  # (rows, H, 1)
        squared[..., start : start + at_once, :] = (within[..., None, :, :] + apart).amin(-2)
    return squared.sqrt()
