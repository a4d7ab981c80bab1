"""Pictures of label maps, as arrays: colours, overlays, outlines, error maps. RGB, uint8."""

from collections.abc import Sequence

import cv2
import numpy as np

from seg.data.sample import IGNORE, ClassInfo, Sample

IGNORED_GRAY = 160

INSTANCE_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Colours that the colour-blind, too, tell apart (Okabe and Ito 2008, https://jfly.uni-koeln.de/color)."""

STRETCH = (0.5, 99.5)  # percentiles of a channel that become black and white, where channels are no colours


def rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, C) uint8 -> (H, W, 3): as it is, gray for one channel or two, else the first three; stretched where C is neither 1 nor 3."""
    channels = image.shape[2]
    if channels == 3:
        return image
    shown = image[:, :, :3] if channels > 3 else np.repeat(image[:, :, :1], 3, axis=2)
    return shown if channels == 1 else np.dstack([_stretched(shown[:, :, c]) for c in range(3)])


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, STRETCH)
    table = np.clip((np.arange(256) - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return table[plane]


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


def outline_instances(image: np.ndarray, instances: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """The image with each instance of the layered id map (H, W, L) outlined in a colour of its own, crowds hatched in gray.

    Outlines are two pixels thick, within the instance, with a dark pixel around that sets them off from any image; they
    are open where the image ends."""
    picture = rgb(image).copy()
    is_crowd = np.concatenate([[False], crowd]).astype(bool)
    table = np.array([INSTANCE_COLORS[(i - 1) % len(INSTANCE_COLORS)] for i in range(len(is_crowd))], np.uint8)
    table[is_crowd] = IGNORED_GRAY
    stripes = np.add.outer(*map(np.arange, picture.shape[:2])) % 6 < 2
    for ids in np.moveaxis(instances, 2, 0):
        lines = (ids > 0) & borders(ids.astype(np.float32), 5) | is_crowd[ids] & stripes
        picture[(ids == 0) & borders(lines.astype(np.uint8))] = 0
        picture[lines] = table[ids[lines]]
    return picture


def outlined_at(sample: Sample, side: int) -> np.ndarray:
    """A sample's instances, outlined when its longer side is already `side` pixels, so that no outline is lost."""
    image = resized(sample.image, side)
    size = image.shape[1::-1]
    layers = [cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST_EXACT) for ids in np.moveaxis(sample.instances, 2, 0)]
    return outline_instances(image, np.stack(layers, axis=2) if layers else np.zeros((*image.shape[:2], 0), np.int32), sample.crowd)


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """The image (H, W, C) as (h, w, 3), its longer side of `side` pixels."""
    scale = side / max(image.shape[:2])
    size = tuple(max(1, round(n * scale)) for n in image.shape[1::-1])
    return cv2.resize(rgb(image), size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def borders(labels: np.ndarray, size: int = 3) -> np.ndarray:
    """Pixels (H, W) bool of a map, of a type that OpenCV takes, that have another value within size x size around them."""
    kernel = np.ones((size, size), np.uint8)
    return cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)


def lined(picture: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) with a white line along a region (H, W) bool of its image, dark around, so that it is seen on white, too."""
    inside = cv2.resize(region.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    picture = np.where(borders(inside, 5)[..., None], np.uint8(0), picture)
    return np.where(borders(inside)[..., None], np.uint8(255), picture)


def heat_map(image: np.ndarray, values: np.ndarray, strength: float = 0.65) -> np.ndarray:
    """The image in gray under a map (H, W) of numbers, from the lowest in dark violet to the highest in yellow (viridis)."""
    gray = cv2.cvtColor(rgb(image), cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    span = max(float(np.ptp(values)), 1e-6)
    shade = np.round((values - values.min()) / span * 255).astype(np.uint8)
    colors = cv2.applyColorMap(shade, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    return (gray + (colors - gray) * strength).astype(np.uint8)


def error_map(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The image in pale gray, wrong pixels in red, ignored ones white."""
    picture = pale(image)
    picture[(truth != predicted) & (truth != IGNORE)] = (213, 40, 30)
    picture[truth == IGNORE] = 255
    return picture


def pale(image: np.ndarray) -> np.ndarray:
    """The image (H, W, C) in pale gray (H, W, 3), on which colours stand out."""
    gray = cv2.cvtColor(rgb(image), cv2.COLOR_RGB2GRAY)
    return np.repeat((gray // 3 + 140)[..., None].astype(np.uint8), 3, axis=2)
