"""Pairs of class maps, and their outlines by definition: one class at a time, with SciPy's morphology and distance transforms."""

import numpy as np
from scipy import ndimage

IGNORE = 255
CROSS = ndimage.generate_binary_structure(2, 1)


def regions(num_classes: int, seed: int, size: tuple[int, int] = (61, 83), ignored: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction (H, W) uint8, smooth regions that differ along their outlines; a share of the truth is ignored,
    in patches and in single pixels. With five classes or more, one is absent, one is only true and one only predicted."""
    rng = np.random.default_rng([num_classes, seed])
    smooth = np.stack([ndimage.gaussian_filter(rng.standard_normal(size), 6) for _ in range(num_classes)])
    change = np.stack([ndimage.gaussian_filter(rng.standard_normal(size), 3) for _ in range(num_classes)])
    truth, predicted = smooth.argmax(0).astype(np.uint8), (smooth + 0.2 * change).argmax(0).astype(np.uint8)
    if num_classes >= 5:
        truth[(truth == 0) | (truth == 2)] = 4
        predicted[(predicted == 0) | (predicted == 1)] = 3
    patches = ndimage.gaussian_filter(rng.standard_normal(size), 3)
    truth[patches < np.quantile(patches, ignored)] = IGNORE
    truth[rng.random(size) < ignored / 20] = IGNORE
    return truth, predicted


def masks(truth: np.ndarray, predicted: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The true and the predicted mask of a class where pixels count, and the mask of those that do not."""
    ignored = truth == IGNORE
    return (truth == index) & ~ignored, (predicted == index) & ~ignored, ignored


def edge(mask: np.ndarray, ignored: np.ndarray, outside: bool) -> np.ndarray:
    """What an erosion by the four neighbours takes from a mask that goes on beneath what is ignored and, if so told, outside."""
    return mask & ~ndimage.binary_erosion(mask | ignored, CROSS, border_value=outside)


def band(mask: np.ndarray, ignored: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask with a pixel of another class, or the outside, at most `width` king's moves away."""
    goes_on = np.pad(mask | ignored, 1)
    return mask & (ndimage.distance_transform_cdt(goes_on, "chessboard")[1:-1, 1:-1] <= width)


def distance_to(mask: np.ndarray, spacing: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Each pixel's Euclidean distance to the nearest of the mask; infinite without one."""
    return ndimage.distance_transform_edt(~mask, sampling=spacing) if mask.any() else np.full(mask.shape, np.inf)
