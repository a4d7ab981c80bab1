"""Small images with true and predicted instances, made from dense masks, for the tests of instance figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask

from seg.data.labelmaps import layers_from_masks
from seg.data.rle import Rle
from seg.data.sample import Prediction, Sample
from seg.loading.batch import Batch, collate


def rle_of(mask: np.ndarray) -> Rle:
    """pycocotools' own run lengths of a dense mask (H, W)."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def box(height: int, width: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    """A mask (height, width) that is True in rows y1..y2 and columns x1..x2, half-open."""
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


@dataclass
class Scene:
    """One image: true masks with their categories and crowd flags, predicted masks with their categories and scores."""

    image_id: str
    size: tuple[int, int]
    truth: list[np.ndarray] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    predicted_categories: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    def add(self, mask: np.ndarray, category: int = 1, crowd: bool = False) -> "Scene":
        self.truth.append(mask)
        self.categories.append(category)
        self.crowd.append(crowd)
        return self

    def predict(self, mask: np.ndarray, category: int = 1, score: float = 0.9) -> "Scene":
        ys, xs = np.nonzero(mask)
        self.predicted.append(mask)
        self.predicted_categories.append(category)
        self.scores.append(score)
        self.boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0])
        return self

    @property
    def sample(self) -> Sample:
        instances = layers_from_masks(self.truth, *self.size)
        image = np.zeros((*self.size, 3), np.uint8)
        semantic = np.zeros(self.size, np.uint8)
        return Sample(self.image_id, image, semantic, instances, np.array(self.categories, np.int32), np.array(self.crowd, bool))

    @property
    def prediction(self) -> Prediction:
        return Prediction(
            scores=np.array(self.scores, np.float32),
            categories=np.array(self.predicted_categories, np.int32),
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            masks=[rle_of(m) for m in self.predicted],
        )


def batch_of(scenes: Sequence[Scene]) -> tuple[Batch, list[Prediction]]:
    return collate([s.sample for s in scenes]), [s.prediction for s in scenes]


def random_scenes(seed: int, number: int = 12, classes: int = 3, side: int = 120, crowds: bool = True) -> list[Scene]:
    """Shapes of all of COCO's sizes that overlap, categories 1..classes, found well, badly, twice or not at all, with scores that tie.

    The last class is never true, images without truth, predictions or both occur, and ids are in another order than images.
    """
    rng = np.random.default_rng(seed)
    scenes = []
    for index in rng.permutation(number).tolist():
        size = (side - int(rng.integers(10)), side + int(rng.integers(10)))
        scene = Scene(f"image{index}", size)
        for _ in range(int(rng.integers(7)) if rng.random() < 0.85 else 0):
            mask, category = _shape(rng, size), int(rng.integers(1, classes))
            scene.add(mask, category, crowd=crowds and rng.random() < 0.15)
            for _ in range(int(rng.integers(3))):
                shift = tuple((rng.integers(-4, 5, size=2) * (rng.random() < 0.7)).tolist())
                moved = np.roll(mask, shift, axis=(0, 1))
                scene.predict(moved, category if rng.random() < 0.8 else int(rng.integers(1, classes + 1)), round(rng.random(), 1))
        for _ in range(int(rng.integers(3))):
            scene.predict(_shape(rng, size), int(rng.integers(1, classes + 1)), round(rng.random(), 1))
        for corners in scene.boxes:  # a model's boxes are not quite those of its masks
            low, high = rng.random(2), rng.random(2)
            corners[:] = [corners[0] - low[0], corners[1] - low[1], corners[2] + high[0], corners[3] + high[1]]
        if rng.random() < 0.15:
            scene.predicted, scene.predicted_categories, scene.scores, scene.boxes = [], [], [], []
        scenes.append(scene)
    return scenes


def _shape(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    extent = np.minimum(rng.choice([1, 8, 25, 45, 100]) + rng.integers(0, 8, size=2), size)
    y, x = (int(rng.integers(max(1, s - e + 1))) for s, e in zip(size, extent, strict=True))
    mask = box(*size, y, x, y + int(extent[0]), x + int(extent[1]))
    if rng.random() < 0.5:  # a corner is missing, so that the mask's area is not its box's
        mask[y : y + int(extent[0]) // 2, x : x + int(extent[1]) // 2] = False
    return mask
