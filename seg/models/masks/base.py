"""What the adapters of mask classification share: they differ in what is an object, and in what a prediction is made of."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.loading.batch import Batch
from seg.models.base import SegmentationModel, Size, Subject
from seg.models.masks.loss import MaskLoss, Truth
from seg.models.masks.networks import QueryNetwork


class MaskClassification(SegmentationModel):
    """A QueryNetwork behind the seam; `num_classes` are those that it tells apart, without "no object"."""

    network: nn.Module
    loss: Any
    num_classes: int
    first = 0
    """The class of the network's first output."""

    @abstractmethod
    def labels(self, batch: Batch, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`ids`, `wanted`, `classes` and `ignored` of an image's Truth."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        x, sizes = self.network_input(batch.images, batch.sizes)
        truths = [Truth(*self.labels(batch, i), self._pixels(batch.sizes[i], size, x), batch.sizes[i]) for i, size in enumerate(sizes)]
        assert self.loss is not None, "a model that is only used has no loss"
        return self.loss(self.network(x), truths)

    def class_maps_of(self, given: Any) -> Tensor:
        """(B, K, h, w): the sum over queries of class times mask. given: what the network gave."""
        classes, masks = given["classes"][-1].float(), given["masks"][-1].float()
        return torch.einsum("bqc,bqhw->bchw", classes.softmax(dim=-1)[..., :-1], masks.sigmoid())

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """The mean over the region of how far all queries together are for the class."""
        sums = self.class_maps_of(self.network(x))[:, subject.category - self.first, None]
        return subject.mean(F.interpolate(sums, x.shape[-2:], mode="bilinear")[:, 0, : size[0], : size[1]])

    def _pixels(self, stored: Size, seen: Size, x: Tensor) -> Tensor:
        """The network's image (width, height) in stored pixels."""
        height, width = (side * old / new for side, old, new in zip(x.shape[-2:], stored, seen, strict=True))
        return torch.tensor([width, height], dtype=torch.float32).to(x.device, non_blocking=True)

    def learned(self, given: Any) -> Any:
        return given

    def check_body(self, given: Any, size: Size) -> None:
        found = given["classes"][-1].shape[-1]
        if found != self.num_classes + 1:
            raise ConfigError(f"model.network: gives {found} classes, expected {self.num_classes} and one for no object")


def check_parts(network: nn.Module, loss: Any) -> None:
    """Raise ConfigError where a network or a loss is of another kind of model."""
    if not isinstance(network, QueryNetwork):
        wanted = "masks with classes, as seg.models.masks.networks.query_network gives"
        raise ConfigError(f"model.network: gave a {type(network).__name__}, expected {wanted}")
    if not isinstance(loss, MaskLoss | None):
        raise ConfigError(f"loss: {type(loss).__name__} is none of masks and classes; set loss=masks")


def lookup(ids: Tensor, wanted: Sequence[int] | Tensor) -> Tensor:
    """(H, W) bool: where one of the ids (H, W, L) is wanted."""
    return torch.isin(ids, torch.as_tensor(wanted, device=ids.device, dtype=ids.dtype)).any(dim=2)
