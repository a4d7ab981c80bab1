"""What is exported: the whole way from stored pixels to the outputs, in operations that hold for any size of image.

`seg.models.base.network_input` asks whether an image must be scaled or padded, and an exported graph cannot ask: here both are always
done, and change nothing where there is nothing to do. `seg.export.check` holds that the two agree."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.models.base import SegmentationModel, scaled_size
from seg.models.dense import DenseModel
from seg.models.detector import DetectorModel
from seg.models.instance import InstanceModel


class Graph(nn.Module):
    """Of a copy of a model in evaluation mode."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False)
        for module in list(self.model.modules()):
            for name, pooling in module.named_children():
                if isinstance(pooling, nn.AdaptiveAvgPool2d) and (bins := _sides(pooling.output_size)) not in (None, (1, 1)):
                    setattr(module, name, BinnedMean(bins))
        self.eval()

    def seen(self, images: Tensor) -> tuple[Tensor, Any, Any]:
        """Images as stored -> the network's input, and its (height, width) before padding."""
        model = self.model
        x = (images.float() - model.mean) / model.std
        if model.scale != 1:
            x = F.interpolate(x, scaled_size(images.shape[-2], images.shape[-1], model.scale), mode="bilinear", antialias=True)
        height, width = x.shape[-2:]
        # the last pixel is repeated up to a multiple of the stride
        ends = ((side + model.stride - 1) // model.stride * model.stride for side in (height, width))
        rows, columns = (torch.arange(end).clamp(max=side - 1) for end, side in zip(ends, (height, width), strict=True))
        return (x if model.stride == 1 else x[:, :, rows[:, None], columns]), height, width


class SemanticGraph(Graph):
    """Images (B, C, H, W) uint8 -> logits (B, K, H, W) float32; with argmax, classes (B, H, W) uint8."""

    model: DenseModel

    def __init__(self, model: DenseModel, argmax: bool = False) -> None:
        super().__init__(model)
        self.argmax = argmax

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits = self.logits(images)
        return logits.argmax(dim=1).to(torch.uint8) if self.argmax else logits

    def logits(self, images: Tensor) -> Tensor:
        x, height, width = self.seen(images)
        logits = F.interpolate(self.model.maps(x)["out"], x.shape[-2:], mode="bilinear")[..., :height, :width]
        return logits if self.model.scale == 1 else F.interpolate(logits, images.shape[-2:], mode="bilinear")


class DistanceGraph(SemanticGraph):
    """Images (B, C, H, W) uint8 -> logits (B, K, H, W) float32 of no object and the classes, and distances (B, H, W) float32 in 0..1."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.logits(images)
        return outputs[:, :-1], outputs[:, -1].sigmoid()


class InstanceGraph(Graph):
    """One image (1, C, H, W) uint8 -> its instances or boxes, as `seg.predict.description.Description` has them."""

    model: InstanceModel | DetectorModel

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x, height, width = self.seen(images)
        boxes, scores, labels, *masks = self.model.detections(x, [(height, width)])[0]
        # tensors while a graph is traced, which torch.tensor would make constants of
        y, x = (torch.as_tensor(seen) / torch.as_tensor(stored) for seen, stored in zip((height, width), images.shape[-2:], strict=True))
        return boxes / torch.stack([x, y, x, y]), scores, labels - self.model.first_label, *(mask[:, 0] for mask in masks)


class BinnedMean(nn.Module):
    """torch.nn.AdaptiveAvgPool2d, (B, C, H, W) -> (B, C, *bins), as products with a matrix of each side's bins.

    torch's exporter to ONNX would take the bins of the example's size for those of every size."""

    def __init__(self, bins: tuple[int, int]) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (_bins(side, bins) for side, bins in zip(x.shape[-2:], self.bins, strict=True))
        return rows.to(x.device) @ x @ columns.to(x.device).T


def _bins(side: Any, bins: int) -> Tensor:
    """(bins, side) float32: the share of each of `side` cells in the mean of each bin; bins overlap where they have to."""
    number, cell = torch.arange(bins)[:, None], torch.arange(side)
    start, stop = number * side // bins, ((number + 1) * side + bins - 1) // bins
    return ((cell >= start) & (cell < stop)).float() / (stop - start)


def _sides(output_size: Any) -> tuple[int, int] | None:
    """Both sides of what torch's pooling gives, or None where it keeps one as it is."""
    sides = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    return None if None in sides else (int(sides[0]), int(sides[1]))
