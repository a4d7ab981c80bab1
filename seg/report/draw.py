"""Pictures of class maps, as arrays: colours, overlays, error maps. RGB, uint8."""

from collections.abc import Sequence

import cv2
import numpy as np

from seg.sample import IGNORE, ClassInfo

IGNORED_GRAY = 160


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 1) or (H, W, 3) uint8 -> (H, W, 3)."""
    return image if image.shape[2] == 3 else np.repeat(image[:, :, :1], 3, axis=2)


def colorize(semantic: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    """Class map (H, W) -> (H, W, 3) in the classes' colours; ignored pixels gray."""
    table = np.full((256, 3), IGNORED_GRAY, np.uint8)
    table[: len(classes)] = [c.color for c in classes]
    return table[semantic]


def overlay(image: np.ndarray, semantic: np.ndarray, classes: Sequence[ClassInfo], strength: float = 0.45) -> np.ndarray:
    """The image under its class colours, with the borders between classes drawn; ignored pixels stay as they are."""
    picture, colors = rgb(image).astype(np.float32), colorize(semantic, classes).astype(np.float32)
    counted = (semantic != IGNORE)[..., None]
    mixed = np.where(counted, picture + (colors - picture) * strength, picture)
    mixed[borders(semantic) & counted[..., 0]] = colors[borders(semantic) & counted[..., 0]]
    return mixed.astype(np.uint8)


def borders(semantic: np.ndarray) -> np.ndarray:
    """Pixels (H, W) bool that touch another class."""
    kernel = np.ones((3, 3), np.uint8)
    return cv2.dilate(semantic, kernel) != cv2.erode(semantic, kernel)


def error_map(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The image in pale gray, wrong pixels in red, ignored ones white."""
    gray = cv2.cvtColor(rgb(image), cv2.COLOR_RGB2GRAY)
    picture = np.repeat((gray // 3 + 140)[..., None].astype(np.uint8), 3, axis=2)
    picture[(truth != predicted) & (truth != IGNORE)] = (213, 40, 30)
    picture[truth == IGNORE] = 255
    return picture
