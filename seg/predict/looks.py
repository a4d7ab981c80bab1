"""How objects and images look: features of the model's own encoder, which it computes anyway."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seg.models.finetune import find_encoder
from seg.models.tensor_file import tensors_in
from seg.tiles.checkpoint import CheckpointNetwork

STRIDE = 8  # pixels of the image for one of the map of features, about: fine enough for small objects, and no mere edges


class Looks:
    """Remembers the features of the last image that a model predicted."""

    def __init__(self) -> None:
        self.features: Tensor | None = None

    def of(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        """(N, F) float64: the mean features within boxes (N, 4) xyxy of an image of a size; None where the model gives no maps."""
        if self.features is None:
            return None
        maps = self.features[0].float()
        maps = maps - maps.mean(dim=(1, 2), keepdim=True)  # features are 0 or more, so that all would look alike
        height, width = maps.shape[1:]
        scale = np.array([width / size[1], height / size[0]] * 2)
        found = []
        for x1, y1, x2, y2 in boxes * scale:
            left, top = (min(int(v), side - 1) for v, side in ((max(x1, 0), width), (max(y1, 0), height)))
            part = maps[:, top : max(top + 1, round(y2)), left : max(left + 1, round(x2))]
            found.append(part.mean(dim=(1, 2)))
        return torch.stack(found).double().cpu().numpy() if found else np.zeros((0, maps.shape[0]))


@contextmanager
def encoder_maps(network: Any, keep: Callable[[Tensor, list[Tensor]], None]) -> Iterator[None]:
    """Around predictions: `keep` gets what each pass of a checkpoint's encoder takes (B, C, h, w) and the maps (B, F, h', w') that it
    gives; of what is no single checkpoint, or has no encoder or none that gives maps, nothing."""
    found = find_encoder(network.model.get_submodule("network")) if isinstance(network, CheckpointNetwork) else None

    def hook(_: Any, given: Any, output: Any) -> None:
        if maps := [t for t in tensors_in(output) if t.dim() == 4]:
            keep(given[0], maps)

    handle = found[1].register_forward_hook(hook) if found else None
    try:
        yield
    finally:
        if handle:
            handle.remove()


@contextmanager
def looks_of(network: Any) -> Iterator[Looks]:
    """What remembers how objects look while a network predicts one image at a time; without features where it is no single checkpoint."""
    looks = Looks()

    def keep(images: Tensor, maps: list[Tensor]) -> None:
        looks.features = F.normalize(min(maps, key=lambda t: abs(images.shape[2] / t.shape[2] - STRIDE))[:1], dim=1)

    with encoder_maps(network, keep):
        yield looks
