"""Samples as one batch of tensors: what models learn from and metrics compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from seg.core.private_torch import shared_storage
from seg.data.labelmaps import boxes_of
from seg.data.sample import IGNORE, Sample


@dataclass(slots=True)
class Batch:
    """Samples as tensors, padded at the right and bottom to one size.

    Attributes:
        images: (B, C, H, W) uint8 as stored, 0 where padded.
        semantic: (B, H, W) uint8 class index, 255 where padded.
        instances: B id maps (H, W, L) int32; 0 = none.
        categories: B times (N,) int32 class index.
        crowd: B times (N,) bool.
        boxes: B times (N, 4) float32, xyxy half-open pixels, zeros for an id without a pixel. They come from the id maps.
        sizes: B times (height, width) in pixels before padding.
        image_ids: B names.
    """

    images: Tensor
    semantic: Tensor
    instances: list[Tensor]
    categories: list[Tensor]
    crowd: list[Tensor]
    boxes: list[Tensor]
    sizes: list[tuple[int, int]]
    image_ids: list[str]

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: Any, non_blocking: bool = False) -> Batch:
        """The same batch on a device.

        Args:
            device: A torch.device, or its name.
            non_blocking: Whether to copy from pinned memory while the host goes on.
        """

        def move(t: Tensor) -> Tensor:
            return t.to(device, non_blocking=non_blocking)

        return Batch(
            move(self.images),
            move(self.semantic),
            [move(t) for t in self.instances],
            [move(t) for t in self.categories],
            [move(t) for t in self.crowd],
            [move(t) for t in self.boxes],
            self.sizes,
            self.image_ids,
        )

    def split(self, most: int) -> list[Batch]:
        """Cut the batch into parts, in order. The parts keep the padding of the batch.

        Args:
            most: The largest number of images of a part.

        Returns:
            The parts. Their numbers of images differ by one at most.
        """
        count = -(-len(self) // most)
        bounds = [len(self) * i // count for i in range(count + 1)]
        return [Batch(*(getattr(self, f.name)[start:stop] for f in fields(self))) for start, stop in pairwise(bounds)]

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (torch's data loader calls this by name)."""
        self.images, self.semantic = self.images.pin_memory(), self.semantic.pin_memory()
        return self


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; smaller ones are padded at the right and bottom, images with 0 and labels with 255."""
    if not samples:
        return Batch(torch.zeros(0, 1, 0, 0, dtype=torch.uint8), torch.zeros(0, 0, 0, dtype=torch.uint8), [], [], [], [], [], [])
    height, width = (max(s.size[axis] for s in samples) for axis in (0, 1))
    images = _empty((len(samples), height, width, samples[0].image.shape[2]))
    semantic = _empty((len(samples), height, width))
    pixels, classes = images.numpy(), semantic.numpy()
    for i, s in enumerate(samples):
        h, w = s.size
        if (h, w) != (height, width):
            pixels[i], classes[i] = 0, IGNORE
        pixels[i, :h, :w], classes[i, :h, :w] = s.image, s.semantic
    return Batch(
        images=images.permute(0, 3, 1, 2),
        semantic=semantic,
        instances=[torch.from_numpy(_padded(s.instances, height, width)) for s in samples],
        categories=[torch.from_numpy(s.categories) for s in samples],
        crowd=[torch.from_numpy(s.crowd) for s in samples],
        boxes=[torch.from_numpy(boxes_of(s.instances, len(s.categories)).astype(np.float32)) for s in samples],
        sizes=[s.size for s in samples],
        image_ids=[s.image_id for s in samples],
    )


def _padded(instances: np.ndarray, height: int, width: int) -> np.ndarray:
    h, w, layers = instances.shape
    if (h, w) == (height, width):
        return instances
    ids = np.zeros((height, width, layers), np.int32)
    ids[:h, :w] = instances
    return ids


def _empty(shape: tuple[int, ...]) -> Tensor:
    """A uint8 tensor that is to be filled; in a loading process in shared memory, where it would be copied to otherwise."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.empty(0, dtype=torch.uint8).set_(shared_storage(int(np.prod(shape)))).view(shape)
