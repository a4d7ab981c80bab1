"""Samples as one batch of tensors: what models learn from and metrics compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        instances: B id maps (H, W, L) int16, or int32 where there are more ids; 0 = none.
        categories: B times (N,) int32 class index.
        crowd: B times (N,) bool.
        boxes: B times (N, 4) float32, xyxy half-open pixels, zeros for an id without a pixel. They come from the id maps.
        objects: B times (M,) int64, the places in `boxes` of what is learned: neither a crowd nor without a pixel.
        crowds: B times (K,) int64, the ids of crowds. Both are known on the host, so that a device is not asked for them.
        sizes: B times (height, width) in pixels before padding.
        image_ids: B names.
    """

    images: Tensor
    semantic: Tensor
    instances: list[Tensor]
    categories: list[Tensor]
    crowd: list[Tensor]
    boxes: list[Tensor]
    objects: list[Tensor]
    crowds: list[Tensor]
    sizes: list[tuple[int, int]]
    image_ids: list[str]

    def __len__(self) -> int:
        return len(self.image_ids)

    def to(self, device: Any, non_blocking: bool = False) -> Batch:
        """The same batch on a device, a torch.device or its name. non_blocking: copy from pinned memory while the host goes on."""
        return self._each(lambda t: t.to(device, non_blocking=non_blocking))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value)
            return [change(v) if isinstance(v, Tensor) else v for v in value]

        return Batch(*(changed(getattr(self, f.name)) for f in fields(self)))

    def split(self, most: int) -> list[Batch]:
        """Parts of up to `most` images, in order, whose numbers of images differ by one at most. They keep the padding of the batch."""
        count = -(-len(self) // most)
        bounds = [len(self) * i // count for i in range(count + 1)]
        return [Batch(*(getattr(self, f.name)[start:stop] for f in fields(self))) for start, stop in pairwise(bounds)]

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (torch's data loader calls this by name)."""
        return self._each(lambda t: t.pin_memory() if t.numel() else t)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; smaller ones are padded at the right and bottom, images with 0 and labels with 255."""
    if not samples:
        return Batch(torch.zeros(0, 1, 0, 0, dtype=torch.uint8), torch.zeros(0, 0, 0, dtype=torch.uint8), [], [], [], [], [], [], [], [])
    height, width = (max(s.size[axis] for s in samples) for axis in (0, 1))
    images = _empty((len(samples), height, width, samples[0].image.shape[2]))
    semantic = _empty((len(samples), height, width))
    pixels, classes = images.numpy(), semantic.numpy()
    for i, s in enumerate(samples):
        h, w = s.size
        if (h, w) != (height, width):
            pixels[i], classes[i] = 0, IGNORE
        pixels[i, :h, :w], classes[i, :h, :w] = s.image, s.semantic
    boxes = [boxes_of(s.instances, len(s.categories)).astype(np.float32) for s in samples]
    learned = [np.flatnonzero(~s.crowd & (b[:, 2] > b[:, 0])) for s, b in zip(samples, boxes, strict=True)]
    return Batch(
        images=images.permute(0, 3, 1, 2),
        semantic=semantic,
        instances=[torch.from_numpy(_ids(s, height, width)) for s in samples],
        categories=[torch.from_numpy(s.categories) for s in samples],
        crowd=[torch.from_numpy(s.crowd) for s in samples],
        boxes=[torch.from_numpy(b) for b in boxes],
        objects=[torch.from_numpy(places) for places in learned],
        crowds=[torch.from_numpy(np.flatnonzero(s.crowd) + 1) for s in samples],
        sizes=[s.size for s in samples],
        image_ids=[s.image_id for s in samples],
    )


def _ids(sample: Sample, height: int, width: int) -> np.ndarray:
    """A sample's id map, padded with 0, in the smallest type that it fits."""
    h, w, layers = sample.instances.shape
    kind = np.int16 if len(sample.categories) < 1 << 15 else np.int32
    if (h, w) == (height, width):
        return sample.instances.astype(kind)
    ids = np.zeros((height, width, layers), kind)
    ids[:h, :w] = sample.instances
    return ids


def _empty(shape: tuple[int, ...]) -> Tensor:
    """A uint8 tensor that is to be filled; in a loading process in shared memory, where it would be copied to otherwise."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    return torch.empty(0, dtype=torch.uint8).set_(shared_storage(int(np.prod(shape)))).view(shape)
