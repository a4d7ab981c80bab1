"""The boundary loss: probabilities weighted by their signed distance to the boundary of the class's true region."""

import cv2
import numpy as np
import torch
from torch import Tensor

from seg.data.sample import IGNORE
from seg.models.losses.classes import ClassLoss


class Boundary(ClassLoss):
    """The mean over pixels of a class's probability times its signed distance map in pixels, and of that the weighted mean over
    the classes in the batch (Kervadec et al. 2019).

    It is negative where regions are covered. Alone it does not train a network: predicting no pixel of a small class costs
    next to nothing. It belongs beside a loss of regions or pixels, with a small weight.
    """

    def forward(self, logits: Tensor, semantic: Tensor) -> Tensor:
        """Logits (B, K, H, W) and class map (B, H, W) uint8 -> scalar float32."""
        classes, labels = logits.shape[1], semantic.cpu().numpy()
        distances = torch.from_numpy(np.stack([signed_distances(image, classes) for image in labels])).to(logits.device)
        counts = torch.bincount(semantic.flatten(), minlength=IGNORE + 1)[:classes]
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
