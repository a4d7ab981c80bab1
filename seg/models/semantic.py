"""Any torch network that maps (B, C, H, W) to class logits, as a `SegmentationModel`."""

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.data.sample import CERTAIN, Prediction
from seg.loading.batch import Batch
from seg.models.base import Scale, Size, Subject
from seg.models.dense import DenseModel

Loss = Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]]
"""Takes logits (B, K, H, W) float and a class map (B, H, W) uint8 in which 255 counts nowhere. Gives a scalar, or named scalars, which
training adds up. Where every pixel is 255, the loss is 0."""


class SemanticModel(DenseModel):
    """Any network that gives logits of classes, as a SegmentationModel.

    Args:
        network: Maps (B, C, h, w) float32 to logits (B, K, ...), or to a dict: logits under "out", logits of auxiliary heads under
            other names.
        loss: See `Loss`.
        class_names: The names of the K classes.
        mean: See `SegmentationModel`, as for std, stride and scale.
        aux_weight: The weight of the loss of each auxiliary head. 0: these heads are not trained.

    Raises:
        ConfigError: The loss does not take logits and a class map.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss | None,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        scale: Scale,
        aux_weight: float,
    ) -> None:
        super().__init__(network, len(class_names), mean, std, stride, scale)
        try:
            inspect.signature(getattr(loss, "forward", loss)).bind(None, None) if loss else None
        except TypeError:
            raise ConfigError(f"loss: {type(loss).__name__} is no loss of logits and class map; choose another, such as loss=ce") from None
        self.loss, self.aux_weight = loss, aux_weight

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """At the size that the network sees, to which the labels are brought by their nearest pixels."""
        heads = self.logits(batch.images)
        labels, size = batch.semantic, heads["out"].shape[-2:]
        if labels.shape[-2:] != size:
            labels = F.interpolate(labels[:, None], size, mode="nearest-exact")[:, 0]
        terms = self._terms(heads.pop("out"), labels)
        for name, logits in heads.items() if self.aux_weight else ():
            total = torch.stack(list(self._terms(logits, labels).values())).sum()
            terms[f"{name}_head" if name in terms else name] = self.aux_weight * total
        return terms

    def _terms(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        assert self.loss is not None, "a model that is only used has no loss"
        given = self.loss(logits, labels)
        return dict(given) if isinstance(given, dict) else {"main": given}

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """The mean logit of the class over the region (Vinogradova et al. 2020, https://arxiv.org/abs/2002.11434)."""
        return subject.mean(self.sized_maps(x, size)["out"][:, subject.category].float())

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        return predictions_of(self.full_logits(images))

    @torch.inference_mode()
    def class_maps(self, images: Tensor) -> Tensor:
        """The most probable class of each pixel, (B, H, W) uint8 on the device; images as in `predict`."""
        return self.full_logits(images).max(dim=1).indices.to(torch.uint8)


def predictions_of(logits: Tensor) -> list[Prediction]:
    """Logits (B, K, H, W) float32 -> the most probable class of each pixel, with its confidence."""
    classes, confidence = (values.cpu().numpy() for values in most_probable(logits))
    return [Prediction(semantic=s, confidence=c) for s, c in zip(classes, confidence.astype(np.uint16), strict=True)]


def most_probable(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K, H, W) float32 -> each pixel's class (B, H, W) uint8 and the softmax's probability of it, int32 in 1/65535.

    Of equal logits the first counts; where they are not finite the confidence is 0. (Not every device knows uint16.)"""
    highest, classes = logits.max(dim=1)  # several times faster than argmax where classes lie in planes
    probability = 1 / (logits - highest[:, None]).exp_().sum(dim=1)
    return classes.to(torch.uint8), probability.mul_(CERTAIN).nan_to_num_(0).round_().to(torch.int32)
