"""Masks of boxes: from a layered id map to the mask head's targets, and from its output to RLE. Nothing is ever N x H x W.

A box of x1..x2 is divided into M bins of equal width; pixel i covers i..i+1, so that its centre lies at i + 0.5."""

import numpy as np
import torch
from torch import Tensor

from seg.data.rle import Rle, encode_crop
from seg.data.sample import Prediction

SAMPLES = 2  # points along a bin's side at which the id map is looked up


def mask_targets(instances: Tensor, ids: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """The share of each of bins x bins parts of each box that its instance covers: (R, bins, bins) float32, 0..1.

    instances: (H, W, L) int id map. ids: (R,) the instance of each box. boxes: (R, 4) xyxy half-open pixels of the id map."""
    height, width = instances.shape[:2]
    points = bins * SAMPLES
    steps = (torch.arange(points, device=boxes.device, dtype=boxes.dtype) + 0.5) / points
    x1, y1, x2, y2 = boxes.unbind(1)
    columns = (x1[:, None] + steps * (x2 - x1)[:, None]).long().clamp(0, width - 1)
    rows = (y1[:, None] + steps * (y2 - y1)[:, None]).long().clamp(0, height - 1)
    found = instances[rows[:, :, None], columns[:, None, :]]  # (R, points, points, L)
    inside = (found == ids[:, None, None, None]).any(dim=3).float()
    return inside.view(-1, bins, SAMPLES, bins, SAMPLES).mean(dim=(2, 4))


def box_mask(probabilities: np.ndarray, box: np.ndarray, height: int, width: int) -> Rle | None:
    """Where a box's mask (M, M) float, 0..1, interpolated bilinearly at each pixel's centre, is at least 0.5; None: nowhere.

    box: (4,) xyxy half-open pixels of an image (height, width)."""
    x1, y1, x2, y2 = (float(v) for v in box)
    left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
    right, bottom = min(width, int(np.ceil(x2))), min(height, int(np.ceil(y2)))
    if left >= right or top >= bottom:
        return None
    rows = _interpolation(top, bottom, y1, y2, len(probabilities))
    columns = _interpolation(left, right, x1, x2, len(probabilities))
    mask = rows @ probabilities @ columns.T >= 0.5
    return encode_crop(mask, left, top, height, width) if mask.any() else None


def prediction_of(boxes: Tensor, scores: Tensor, categories: Tensor, masks: Tensor, height: int, width: int) -> Prediction:
    """What a detector says of one image (height, width), best first; without the instances whose mask has no pixel.

    boxes: (N, 4) xyxy half-open pixels of the image. scores, categories: (N,). masks: (N, M, M) probabilities, see `box_mask`."""
    found = boxes.float().cpu().numpy()
    rles = [box_mask(m, b, height, width) for m, b in zip(masks.cpu().numpy(), found, strict=True)]
    kept = np.array([i for i, rle in enumerate(rles) if rle is not None], int)
    sure, kinds = scores.float().cpu().numpy()[kept], categories.cpu().numpy().astype(np.int32)[kept]
    return Prediction(None, None, sure, kinds, found[kept], [rle for rle in rles if rle is not None])


def _interpolation(start: int, stop: int, low: float, high: float, bins: int) -> np.ndarray:
    """Weights (stop - start, bins) of the bins between low and high at the centres of pixels start..stop; 0 outside of the box."""
    centers = np.arange(start, stop) + 0.5
    inside = (centers >= low) & (centers <= high)
    if not inside.any():  # a box that is thinner than a pixel and holds no centre
        inside[:] = True
    place = np.clip((centers - low) / max(high - low, 1e-6) * bins - 0.5, 0, bins - 1)
    first = np.minimum(place.astype(int), bins - 2) if bins > 1 else np.zeros(len(place), int)
    weights = np.zeros((stop - start, bins), np.float32)
    line = np.arange(stop - start)
    weights[line, first] = 1 - (place - first)
    if bins > 1:
        weights[line, first + 1] = place - first
    weights[~inside] = 0
    return weights
