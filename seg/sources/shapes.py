"""`shapes`: scenes drawn from a seed, with exact semantic and instance truth, made so that colour alone tells nothing.

Discs, rectangles, triangles, thin rods and rings of three sizes touch and overlap on textured, unevenly lit, noisy, dull
ground. The classes share their colours, so that only the outline tells them apart. An instance's mask is its whole
outline, covered parts included: overlap is kept in layers; the class map shows what lies on top."""

from collections.abc import Sequence

import cv2
import numpy as np

from seg.core.errors import ConfigError
from seg.data.labelmaps import layers_from_masks
from seg.data.sample import ClassInfo
from seg.raw.record import Finding, Item, Record
from seg.sources.class_map import instance_sample

KINDS = ("disc", "rectangle", "triangle", "rod", "ring")
RADII = ((8.0, 11.0), (12.5, 16.5), (18.0, 25.0))  # pixels in a scene of 128 x 128: small, medium, large
SHARES = (0.25, 0.35, 0.4)  # of the three sizes
SUBPIXEL_BITS = 4  # OpenCV draws outlines on a grid of 1/16 pixel
ROUND = np.stack([f(np.linspace(0, 2 * np.pi, 48, endpoint=False)) for f in (np.cos, np.sin)], axis=1)  # points of the unit circle
MAX_COVERED = 0.25  # an object may cover this share of another


class Shapes:
    """`num_images` scenes of `size` x `size` pixels; scene i depends on (seed, i, size) alone."""

    with_instances = True

    def __init__(self, num_images: int, size: int, seed: int, classes: Sequence[ClassInfo]) -> None:
        pixels = "32 pixels, or the shapes do not fit"
        for key, value, least, told in (("num_images", num_images, 1, "1"), ("size", size, 32, pixels), ("seed", seed, 0, "0")):
            if value < least:
                raise ConfigError(f"data.source.{key}={value}: expected at least {told}")
        names = [c.name for c in classes]
        if sorted(names) != sorted(("background", *KINDS)):
            raise ConfigError(f"data.classes: shapes draws background, {', '.join(KINDS)}; got {', '.join(names)}")
        self.findings: list[Finding] = []
        self.num_images, self.size, self.seed = num_images, size, seed
        self.background = names.index("background")
        self.categories = [names.index(kind) for kind in KINDS]

    def items(self) -> list[Item]:
        return [Item(f"{number:06d}", files=(str(number),)) for number in range(self.num_images)]

    def read(self, item: Item) -> Record:
        rng = np.random.default_rng([self.seed, int(item.files[0]), self.size])
        ground = (rng.uniform(75, 180) + rng.uniform(-18, 18, 3)).astype(np.float32)
        palette = rng.integers(30, 226, (4, 3)).astype(np.float32)  # of all classes
        scene = _texture(rng, (self.size, self.size), self.size, ground, float(rng.uniform(4, 11)))
        masks, categories = list[np.ndarray](), list[int]()
        visible: list[int] = []  # pixels of each mask that no later one covers
        for _ in range(int(rng.integers(7, 13))):
            kind = int(rng.integers(len(KINDS)))
            if (mask := self._place(rng, KINDS[kind], masks, visible)) is None:
                continue
            _paint(rng, scene, mask, _distinct(rng, palette[int(rng.integers(len(palette)))], ground))
            masks.append(mask)
            categories.append(self.categories[kind])
        scene *= _light(rng, self.size)[..., None]
        scene += rng.standard_normal(scene.shape, np.float32) * np.float32(rng.uniform(3, 8))
        ids, none = layers_from_masks(masks, self.size, self.size), np.zeros(len(categories))
        image = np.clip(np.rint(scene), 0, 255).astype(np.uint8)
        return Record(instance_sample(item.image_id, image, ids, np.array(categories), none, self.background))

    def _place(self, rng: np.random.Generator, kind: str, masks: list[np.ndarray], visible: list[int]) -> np.ndarray | None:
        """A mask of the kind at a place where every object stays recognisable, or None after ten tries."""
        areas = [int(np.count_nonzero(other)) for other in masks]
        for _ in range(10):
            low, high = RADII[int(rng.choice(len(RADII), p=SHARES))]
            radius = float(rng.uniform(low, high)) * self.size / 128
            center = rng.uniform(0.9 * radius, self.size - 0.9 * radius, 2)
            mask = _outline(rng, kind, center, radius, self.size)
            area = int(np.count_nonzero(mask))
            covered = [int(np.count_nonzero(mask & other)) for other in masks]
            if area < 12 or any(c > MAX_COVERED * min(area, a) for c, a in zip(covered, areas, strict=True)):
                continue
            left = [v - c for v, c in zip(visible, covered, strict=True)]
            if any(v < (1 - MAX_COVERED) * a for v, a in zip(left, areas, strict=True)):
                continue
            visible[:] = [*left, area]
            return mask
        return None


def _outline(rng: np.random.Generator, kind: str, center: np.ndarray, radius: float, size: int) -> np.ndarray:
    """A filled outline (size, size) bool."""
    canvas = np.zeros((size, size), np.uint8)
    turn = float(rng.uniform(0, 2 * np.pi))
    if kind == "rectangle":
        points = _corners(center, turn, radius, radius * float(rng.uniform(0.4, 0.7)))
    elif kind == "rod":
        points = _corners(center, turn, radius * 1.5, max(0.9, radius * 0.1))
    elif kind == "triangle":
        angles = turn + np.array([0.0, 2.1, 4.2]) + rng.uniform(-0.2, 0.2, 3)
        points = center + radius * 1.15 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        points = _circle(center, radius)
    _fill(canvas, points, 1)
    if kind == "ring":
        _fill(canvas, _circle(center, radius * float(rng.uniform(0.45, 0.65))), 0)
    return canvas.astype(bool)


def _circle(center: np.ndarray, radius: float) -> np.ndarray:
    return center + radius * ROUND


def _corners(center: np.ndarray, turn: float, half_length: float, half_width: float) -> np.ndarray:
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    return center + signs[:, :1] * half_length * along + signs[:, 1:] * half_width * across


def _fill(canvas: np.ndarray, points: np.ndarray, value: int) -> None:
    fixed = np.rint(points * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], value, lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)


def _paint(rng: np.random.Generator, scene: np.ndarray, mask: np.ndarray, color: np.ndarray) -> None:
    """Lay a textured, slightly translucent surface with soft edges over the scene, within the mask's surroundings."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    rows, columns = slice(max(0, y - 2), y + height + 2), slice(max(0, x - 2), x + width + 2)
    part = scene[rows, columns]
    surface = _texture(rng, part.shape[:2], len(scene), color, float(rng.uniform(3, 9)))
    alpha = cv2.GaussianBlur(mask[rows, columns].astype(np.float32), (3, 3), 0.6)[..., None] * np.float32(rng.uniform(0.88, 1.0))
    part += (surface - part) * alpha


def _texture(rng: np.random.Generator, shape: tuple[int, int], size: int, color: np.ndarray, strength: float) -> np.ndarray:
    """(*shape, 3) float32: a colour under blotches of two scales, 6 and 24 of them along a scene of `size` pixels."""
    surface = np.full((*shape, 3), color, np.float32)
    for cells in (6, 24):
        height, width = (max(2, round(cells * side / size)) for side in shape)
        grain = rng.standard_normal((height, width), np.float32) * np.float32(strength)
        surface += cv2.resize(grain, shape[::-1], interpolation=cv2.INTER_CUBIC)[..., None]
    return surface


def _distinct(rng: np.random.Generator, color: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """The colour, moved away from the ground's where the two can hardly be told apart."""
    for _ in range(20):
        if np.abs(color - ground).max() >= 80:
            break
        color = rng.integers(30, 226, 3).astype(np.float32)
    return color


def _light(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) float32 around 1: a slope across the scene and a soft spot."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    turn = float(rng.uniform(0, 2 * np.pi))
    slope = float(rng.uniform(0.1, 0.6)) * (np.cos(turn) * x + np.sin(turn) * y)
    cx, cy = rng.uniform(-0.4, 0.4, 2)
    spot = float(rng.uniform(-0.3, 0.3)) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.08)
    return (1 + slope + spot).astype(np.float32)
