"""Any torch network that maps (B, C, H, W) to maps of the same image, behind the seam: what semantic models and `distance` share; and to
class logits, as a `SegmentationModel`."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.data.sample import CERTAIN, Prediction
from seg.loading.batch import Batch
from seg.models.base import Scale, SegmentationModel, Size, Subject
from seg.models.losses.sum import Sum

Loss = Callable[[Tensor, Tensor], Tensor | dict[str, Tensor]]
"""Takes logits (B, K, H, W) float and a class map (B, H, W) uint8 in which 255 counts nowhere. Gives a scalar, or named scalars, which
training adds up. Where every pixel is 255, the loss is 0."""


class DenseModel(SegmentationModel):
    """A network of which each pixel gets `channels` outputs: it maps (B, C, h, w) float32 to (B, channels, ...), or to a dict with these
    under "out", and those of auxiliary heads under other names.
    """

    def __init__(self, network: nn.Module, channels: int, mean: Sequence[float], std: Sequence[float], stride: int, scale: Scale) -> None:
        super().__init__(mean, std, stride, scale)
        self.network, self.channels = network, channels

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) uint8 as stored -> {"out": (B, channels, h, w)} at the size at which the network sees them, and the outputs
        of each auxiliary head under its name."""
        x, (size, *_) = self.network_input(images)
        return self.sized_maps(x, size)

    def sized_maps(self, x: Tensor, size: Size) -> dict[str, Tensor]:
        """As `maps`, at the size (height, width) that the images have in x without padding."""
        heads = self.maps(x)
        sized = {n: v if v.shape[-2:] == x.shape[-2:] else F.interpolate(v, x.shape[-2:], mode="bilinear") for n, v in heads.items()}
        return {name: value[..., : size[0], : size[1]] for name, value in sized.items()}

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """What the network says of its input, as maps: (B, channels, ...) under "out", and those of auxiliary heads."""
        given = self.network(x)
        return given if isinstance(given, dict) else {"out": given}

    def full_logits(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) uint8 as stored -> the outputs (B, channels, H, W) float32 at their size."""
        logits = self.logits(images)["out"]
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear")
        return logits.float()

    @property
    def body(self) -> nn.Module:
        return self.network

    def check_body(self, given: Any, size: Size) -> None:
        name = f"model.network: {type(self.network).__name__}"
        heads = given if isinstance(given, dict) else {"out": given}
        if "out" not in heads or not all(isinstance(logits, Tensor) and logits.ndim == 4 for logits in heads.values()):
            raise ConfigError(f"{name} gives {_kind(given)}, expected logits (B, K, h, w), or a dict with them under 'out'")
        for head, logits in heads.items():
            if logits.shape[1] != self.channels:
                raise ConfigError(f"{name} gives {logits.shape[1]} channels ('{head}'), expected {self.channels}, {self.channels_are}")
            (height, width), (h, w) = size, logits.shape[-2:]
            if not _lie_on(height / h, width / w):
                raise ConfigError(
                    f"{name} gives logits of {h}x{w} for images of {height}x{width}, so they would lie beside the labels; "
                    "set model.network.upsampling, or choose an encoder whose features are the image's size divided by 2, 4, 8, ..."
                )

    channels_are = "one a class"  # what the outputs of a pixel are, in words

    @torch.inference_mode()
    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        attention_maps: Callable[[Tensor], dict[str, Tensor]] | None = getattr(self.network, "attention_maps", None)
        if attention_maps is None:
            return {}
        x, ((height, width), *_) = self.network_input(images)
        seen = {name: a[..., :height, :width].float() for name, a in attention_maps(x).items()}
        return {name: F.interpolate(a, images.shape[-2:], mode="bilinear")[:, 0] for name, a in seen.items()}


def _lie_on(*ratios: float) -> bool:
    """Whether the image's sides are the same multiple of the logits', to 5 %: what is cut at the edge shifts the rest by less."""
    times = {max(1, round(ratio)) for ratio in ratios}
    return len(times) == 1 and all(abs(ratio / max(1, round(ratio)) - 1) <= 0.05 for ratio in ratios)


def _kind(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor of shape {tuple(given.shape)}"
    return f"a dict of {', '.join(map(str, given))}" if isinstance(given, dict) else f"a {type(given).__name__}"


class SemanticModel(DenseModel):
    """Any network that gives logits of classes, as a SegmentationModel.

    Args:
        network: Maps (B, C, h, w) float32 to logits (B, K, ...), or to a dict: logits under "out", logits of auxiliary heads under
            other names.
        loss: See `Loss`.
        class_names: The names of the K classes.
        mean: See `SegmentationModel`, as for std, stride and scale.
        std: See mean.
        stride: See mean.
        scale: See mean.
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

    def learned(self, given: Any) -> Any:
        return given if self.aux_weight or not isinstance(given, dict) else given["out"]

    def start_epoch(self, epoch: int) -> None:
        if isinstance(self.loss, Sum):
            self.loss.start_epoch(epoch)

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

    Of equal logits the first counts; where they are not finite the confidence is 0. (Not every device knows uint16.)
    """
    highest, classes = logits.max(dim=1)  # several times faster than argmax where classes lie in planes
    probability = 1 / (logits - highest[:, None]).exp_().sum(dim=1)
    return classes.to(torch.uint8), probability.mul_(CERTAIN).nan_to_num_(0).round_().to(torch.int32)
