"""Images on which an exported file is compared with the model that it was made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from seg.core.errors import DataError
from seg.core.textfile import natural_key
from seg.data.imagefile import IMAGE_SUFFIXES, decode_image, read_bytes
from seg.data.store import DatasetInfo, read_entries, read_info

LEAST_SIDE = 16  # pixels that the random images' sides are multiples of, and some more, where the stride is smaller

T = TypeVar("T")


def real_images(folder: Path | None, prepared: Path, data: DatasetInfo, count: int, seed: int) -> tuple[str, list[np.ndarray]]:
    """What they are, and up to `count` images (H, W, C) uint8, evenly from those of the folder.

    Without a folder: of the prepared data's test split; where that is missing, or has other channels, drawn with the training's mean
    and std. DataError where the folder has no image.
    """
    if folder is not None:
        if not folder.is_dir():
            raise DataError(f"images={folder}: is no folder; give one that holds images")
        paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=lambda p: natural_key(p.name))
        if not paths:
            raise DataError(f"images={folder}: holds no image; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
        return f"images of {folder}", [decode_image(read_bytes(path), data.channels, path) for path in evenly(paths, count)]
    if (prepared / "dataset.json").is_file() and read_info(prepared).channels == data.channels and "test" in read_info(prepared).splits:
        entries = evenly(read_entries(prepared / "test"), count)
        paths = [prepared / "test" / entry.stored_in / "images" / entry.file for entry in entries]
        return "images of the test split", [decode_image(read_bytes(path), data.channels, path) for path in paths]
    return "drawn images", [drawn(data, seed + number) for number in range(count)]


def drawn(data: DatasetInfo, seed: int, height: int = 203, width: int = 301) -> np.ndarray:
    """A smooth random image (H, W, C) uint8 with the training's mean and standard deviation, but for what is clipped."""
    coarse = np.random.default_rng(seed).standard_normal((height // 16, width // 16, data.channels)).astype(np.float32)
    smooth = np.atleast_3d(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    smooth = (smooth - smooth.mean((0, 1))) / smooth.std((0, 1))
    return np.clip(smooth * data.std + data.mean, 0, 255).astype(np.uint8)


def random_images(channels: int, stride: int, least: tuple[int, int], size: tuple[int, int] | None, seed: int) -> list[Tensor]:
    """Three batches (B, C, H, W) uint8 of noise, of sizes that are no multiples of the stride; or of `size` alone.

    least: (height, width) that none falls below; one of the images is about as small.
    """
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
