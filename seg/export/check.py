"""Whether an exported file does what the model does that it was made from: both on the same images, the model in float32 on the CPU."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from seg.core.errors import DataError
from seg.core.textfile import natural_key
from seg.data.imagefile import IMAGE_SUFFIXES, decode_image, read_bytes
from seg.data.rle import Rle
from seg.data.sample import Prediction
from seg.data.store import DatasetInfo, image_of, read_entries, read_info
from seg.export.settings import ExportCheck
from seg.models.base import SegmentationModel
from seg.models.dense import DenseModel
from seg.models.distance import DistanceModel
from seg.predict.exported import ExportedNetwork


@dataclass(slots=True)
class Pixels:
    """What was found. logits: the largest difference, None where the file gives no scores. span: the largest range of a batch's logits.

    relative: the largest difference as a share of its batch's range. pixels: all; near: those whose two highest logits are nearer than
    `near` of the range; differing: of the others, those whose class differs."""

    logits: float | None = None
    span: float = 0.0
    relative: float = 0.0
    pixels: int = 0
    near: int = 0
    differing: int = 0

    def add(self, wanted: Tensor, given: Tensor, near: float) -> None:
        """Count one batch. wanted: logits (B, K, H, W). given: logits of the same shape, or classes (B, H, W) uint8."""
        span = float(wanted.max() - wanted.min())
        if given.dtype != torch.uint8:
            difference = float((wanted - given).abs().nan_to_num(float("inf")).max())
            self.logits, self.span = max(self.logits or 0.0, difference), max(self.span, span)
            self.relative = max(self.relative, difference / span if span else float(difference > 0))
            given = given.argmax(dim=1).to(torch.uint8)
        highest = wanted.topk(2, dim=1).values
        apart = highest[:, 0] - highest[:, 1] > near * span
        self.pixels += apart.numel()
        self.near += int((~apart).sum())
        self.differing += int((apart & (wanted.argmax(dim=1) != given)).sum())

    def line(self) -> str:
        values = "" if self.logits is None else f"logits differ by {self.logits:.1e} at most, in a range of {self.span:.3g}; "
        near = f"{self.near:,} with two classes too near to tell are not counted"
        return f"{values}classes in {self.differing:,} of {self.pixels:,} pixels ({near})"

    def fault(self, limits: ExportCheck) -> str | None:
        """Why the file is refused, or None."""
        if not self.relative <= limits.tolerance:
            return f"a difference of {self.relative:.1e} of the logits' range, more than check.tolerance={limits.tolerance}"
        share = self.differing / max(1, self.pixels - self.near)
        if share > limits.differing:
            return f"another class in {share:.1e} of the pixels, more than check.differing={limits.differing}"
        return None


@dataclass(slots=True)
class Instances:
    """What was found. instances: of both sides. unmatched: those without one like it on the other side. score, box: the largest differences
    of those that have one."""

    instances: int = 0
    unmatched: int = 0
    score: float = 0.0
    box: float = 0.0

    def add(self, wanted: Prediction, given: Prediction, limits: ExportCheck) -> None:
        """Count one image: each instance is matched with one of its class, score, box and mask that has no other yet."""
        free = set(range(len(given.scores)))
        for index, (score, category, box) in enumerate(zip(wanted.scores, wanted.categories, wanted.boxes, strict=True)):
            for other in sorted(free):
                corners = float(abs(given.boxes[other] - box).max())
                apart = float(abs(given.scores[other] - score))
                like = given.categories[other] == category and corners <= limits.box and apart <= limits.tolerance
                if like and _same_mask(wanted.masks[index], given.masks[other], box, limits.tolerance):
                    free.remove(other)
                    self.score, self.box = max(self.score, apart), max(self.box, corners)
                    break
            else:
                self.unmatched += 1
        self.instances += len(wanted.scores) + len(given.scores)
        self.unmatched += len(free)

    def line(self) -> str:
        if not self.instances:
            return "nothing was compared, as neither side found an instance; name images of yours that show some: images=FOLDER"
        alone = f"{self.unmatched:,} of {self.instances:,} instances have none like it on the other side"
        return f"{alone}; the others' scores differ by {self.score:.1e} at most, their boxes by {self.box:.1e} pixels"

    def fault(self, limits: ExportCheck) -> str | None:
        """Why the file is refused, or None."""
        share = self.unmatched / max(1, self.instances)
        if share > limits.unmatched:
            return f"{share:.1%} of the instances have none like it, more than check.unmatched={limits.unmatched}"
        return None


def _same_mask(wanted: Rle, given: Rle, box: np.ndarray, tolerance: float) -> bool:
    """Whether two masks differ in no more pixels than half their box's border has, and this share of what they cover.

    Where the probability of the object is a half, float error decides."""
    both, either = (int(coco_mask.area(coco_mask.merge([wanted, given], intersect=way))) for way in (True, False))
    x1, y1, x2, y2 = box.tolist()
    return either - both <= x2 - x1 + y2 - y1 + tolerance * either


def compare(model: SegmentationModel, network: ExportedNetwork, batches: Iterable[Tensor], limits: ExportCheck) -> Pixels | Instances:
    """Batches (B, C, H, W) uint8 through both."""
    if isinstance(model, DenseModel):
        pixels = Pixels()
        for images in batches:
            with torch.inference_mode():
                wanted = model.full_logits(images)
            if isinstance(model, DistanceModel):
                given, distances = network.maps(images)
                pixels.add(wanted[:, :-1], given, limits.near)
                pixels.relative = max(pixels.relative, float((wanted[:, -1].sigmoid() - distances).abs().nan_to_num(float("inf")).max()))
                continue
            if network.description.gives == "scores":
                given = network.logits(images)
            else:
                given = torch.stack([torch.from_numpy(prediction.semantic) for prediction in network.predict(images)])
            pixels.add(wanted, given, limits.near)
        return pixels
    instances = Instances()
    for images in batches:
        for wanted_one, given_one in zip(model.predict(images), network.predict(images), strict=True):
            instances.add(wanted_one, given_one, limits)
    return instances


LEAST_SIDE = 16  # pixels that the random images' sides are multiples of, and some more, where the stride is smaller
T = TypeVar("T")


def real_images(folder: Path | None, prepared: Path, data: DatasetInfo, count: int, seed: int) -> tuple[str, list[np.ndarray]]:
    """What they are, and up to `count` images (H, W, C) uint8, evenly from those of the folder.

    Without a folder: of the prepared data's test split; where that is missing, or has other channels, drawn with the training's mean
    and std. DataError where the folder has no image."""
    if folder is not None:
        if not folder.is_dir():
            raise DataError(f"images={folder}: is no folder; give one that holds images")
        paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=lambda p: natural_key(p.name))
        if not paths:
            raise DataError(f"images={folder}: holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        return f"images of {folder}", [decode_image(read_bytes(path), data.channels, path) for path in evenly(paths, count)]
    if (prepared / "dataset.json").is_file() and read_info(prepared).channels == data.channels and "test" in read_info(prepared).splits:
        return "images of the test split", stored_images(prepared / "test", count, data.channels)
    return "drawn images", [drawn(data, seed + number) for number in range(count)]


def stored_images(folder: Path, count: int, channels: int) -> list[np.ndarray]:
    """Up to `count` images (H, W, C) uint8, evenly from those of a split of the prepared data."""
    stored = [image_of(folder, entry) for entry in evenly(read_entries(folder), count)]
    return [decode_image(image.read(), channels, image.path) for image in stored]


def drawn(data: DatasetInfo, seed: int, height: int = 203, width: int = 301) -> np.ndarray:
    """A smooth random image (H, W, C) uint8 with the training's mean and standard deviation, but for what is clipped."""
    coarse = np.random.default_rng(seed).standard_normal((height // 16, width // 16, data.channels)).astype(np.float32)
    smooth = np.atleast_3d(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    smooth = (smooth - smooth.mean((0, 1))) / smooth.std((0, 1))
    return np.clip(smooth * data.std + data.mean, 0, 255).astype(np.uint8)


def random_images(channels: int, stride: int, least: tuple[int, int], size: tuple[int, int] | None, seed: int) -> list[Tensor]:
    """Three batches (B, C, H, W) uint8 of noise, of sizes that are no multiples of the stride; or of `size` alone.

    least: (height, width) that none falls below; one of the images is about as small."""
    cell = max(stride, LEAST_SIDE)
    shapes = [(1, 3 * cell + 1, 2 * cell + cell // 2 + 3), (2, 2 * cell + 7, 4 * cell + 5), (1, max(least[0], cell // 2 + 1), 2 * cell + 1)]
    if size is not None:
        shapes = [(1, *size), (2, *size), (3, *size)]
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(0, 256, (b, channels, h, max(w, least[1])), dtype=np.uint8)) for b, h, w in shapes]


def as_batch(image: np.ndarray, size: tuple[int, int] | None) -> Tensor:
    """(H, W, C) uint8 -> (1, C, H, W), resized where only one size is taken."""
    if size is not None:
        image = np.atleast_3d(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].contiguous()


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Up to `count` items, the first among them, at equal distances."""
    number = min(count, len(items))
    return [items[index * len(items) // number] for index in range(number)]
