"""Mask classification for classes of pixels: the masks of all queries, each as far as it is of a class, make that class's map."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from seg.data.sample import IGNORE
from seg.loading.batch import Batch
from seg.models.base import Floats, Scale
from seg.models.masks.base import MaskClassification, check_parts
from seg.models.semantic import SemanticModel

LEAST = 1e-6  # of a class in a pixel, whose logarithm is its logit


class Model(MaskClassification, SemanticModel):
    """Each class that an image shows is one object. A class's logit is the logarithm of the sum over queries of class times mask."""

    def __init__(
        self, network: nn.Module, loss: Any, class_names: Sequence[str], mean: Floats, std: Floats, stride: int, scale: Scale
    ) -> None:
        check_parts(network, loss)
        SemanticModel.__init__(self, network, loss, class_names, mean, std, stride, scale, aux_weight=0.0)
        self.num_classes = len(class_names)

    @classmethod
    def num_outputs(cls, class_names: Sequence[str], instances: bool) -> int:
        return len(class_names) + 1  # no object

    def labels(self, batch: Batch, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        classes = batch.semantic[index]
        shown = classes.unique()
        shown = shown[shown != IGNORE]
        return classes[..., None], shown, shown.long(), classes == IGNORE

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        sums = self.class_maps_of(self.network(x))
        return {"out": F.interpolate(sums, x.shape[-2:], mode="bilinear").clamp(min=LEAST).log()}
