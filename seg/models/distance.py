"""Instances from the bottom up: a dense network says of each pixel its class and how far it is from its object's edge; objects are the
basins of these distances.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.data.sample import IGNORE, Prediction
from seg.loading.batch import Batch
from seg.models.base import Scale, Size, first_label
from seg.models.dense import DenseModel
from seg.models.losses.distance import DistanceLoss
from seg.models.watershed import distance_map, prediction_of_maps


class DistanceModel(DenseModel):
    """Any network of maps, for objects that do not overlap: each pixel belongs to one object or none.

    network: maps (B, C, h, w) float32 to (B, K + 1, ...): logits of no object, for which a first class `background` stands, and of each
    class, and one of the distance. loss: None where the model is only used. peak: how far a peak of the distances, which are shares of 0 to
    1, must rise above the pass to a higher one to be an object's core; less cuts objects at weaker necks. ConfigError where the loss is of
    another model, or peak is no share.
    """

    channels_are = "one for no object, one a class and one for the distance"

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module | None,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        scale: Scale,
        peak: float,
    ) -> None:
        self.first_label = first_label(class_names)
        super().__init__(network, self.num_outputs(class_names, True), mean, std, stride, scale)
        if not isinstance(loss, DistanceLoss | None):
            raise ConfigError(f"loss: {type(loss).__name__} learns no distances; set loss=distance, which holds one of classes as well")
        if not 0 < peak < 1:
            raise ConfigError(f"model.adapter.peak={peak}: expected a share between 0 and 1, such as 0.15")
        self.loss, self.peak = loss, peak

    @classmethod
    def num_outputs(cls, class_names: Sequence[str], instances: bool) -> int:
        return super().num_outputs(class_names, instances) + 1

    def learned(self, given: object) -> object:
        return given["out"] if isinstance(given, dict) else given

    def start_epoch(self, epoch: int) -> None:
        if self.loss is not None:
            self.loss.start_epoch(epoch)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """At the size that the network sees, to which the labels are brought by their nearest pixels."""
        outputs = self.logits(batch.images)["out"]
        size = (outputs.shape[-2], outputs.shape[-1])
        labels, distances = zip(*(self.targets(batch, index, size) for index in range(len(batch))), strict=True)
        device = outputs.device
        assert self.loss is not None, "a model that is only used has no loss"
        terms: dict[str, Tensor] = self.loss(outputs, torch.stack(labels).to(device), torch.stack(distances).to(device))
        return terms

    def targets(self, batch: Batch, index: int, size: Size) -> tuple[Tensor, Tensor]:
        """The labels (h, w) uint8 of an image at a size, 0 for no object and 255 for what counts nowhere, and its distances (h, w) float32.

        Where objects overlap, the topmost counts. A crowd is neither an object nor none.
        """
        instances, (height, width) = batch.instances[index], batch.semantic.shape[-2:]
        rows, columns = (((np.arange(new) + 0.5) * old / new).astype(np.int64) for new, old in zip(size, (height, width), strict=True))
        ids = instances.cpu().numpy()[rows[:, None], columns]
        top = ids.max(axis=2, initial=0)
        crowd = batch.crowd[index].cpu().numpy()
        label_of = np.concatenate([[0], np.where(crowd, IGNORE, batch.categories[index].cpu().numpy() + self.first_label)]).astype(np.uint8)
        labels = label_of[top]
        stored = batch.semantic[index].cpu().numpy()[rows[:, None], columns]
        if not self.first_label:  # without a class `background` the class map has 255 wherever there is no object
            labels[(top == 0) & (stored == IGNORE)] = IGNORE
        seen = batch.sizes[index]
        labels[rows >= seen[0]], labels[:, columns >= seen[1]] = IGNORE, IGNORE
        return torch.from_numpy(labels), torch.from_numpy(distance_map(top))

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        outputs = self.full_logits(images)
        return [prediction_of_logits(one[:-1], one[-1].sigmoid(), self.peak, self.first_label) for one in outputs]


def prediction_of_logits(logits: Tensor, distance: Tensor, peak: float, first_label: int) -> Prediction:
    """The objects of an image, from its logits (K, H, W) and distances (H, W) in 0..1; see `seg.models.watershed.prediction_of_maps`."""
    probabilities = logits.softmax(dim=0).nan_to_num()
    return prediction_of_maps(probabilities.cpu().numpy(), distance.nan_to_num().cpu().numpy(), peak, first_label)
