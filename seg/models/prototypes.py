"""Instances of one stage (YOLACT, Bolya et al. 2019) behind the seam: a detector whose boxes have masks, summed of maps that all share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.models.base import Floats, Scale, Size, Subject, box_factor
from seg.models.detection import DetectionModel, Given
from seg.models.roi_masks import prediction_of
from seg.models.yolo import Yolo


class PrototypeModel(DetectionModel):
    """A `Yolo` with prototypes. Its masks are learned and given at points of their boxes, so that nothing is ever N x H x W."""

    def __init__(
        self, network: nn.Module, loss: nn.Module | None, class_names: Sequence[str], mean: Floats, std: Floats, stride: int, scale: Scale
    ) -> None:
        if not isinstance(network, Yolo) or network.maps is None:
            raise ConfigError("model.network: expected seg.models.yolo.Yolo with prototypes=32, for one, whose boxes have masks")
        super().__init__(network, loss, class_names, mean, std, stride, scale)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[Prediction]:
        x, sizes = self.network_input(images)
        stored = (images.shape[-2], images.shape[-1])
        factor = box_factor(stored, sizes[0], x.device)
        return [
            prediction_of(boxes / factor, scores, labels - self.first_label, masks[:, 0], *stored)
            for boxes, scores, labels, masks in self.detections(x, sizes)
        ]

    def detections(self, x: Tensor, sizes: list[tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """As `DetectionModel`, and the probability of each of M x M points of a box to be of the object, (N, 1, M, M) float32."""
        found = []
        for one in self.network(Given(x, sizes)):
            kept = (one["boxes"][:, 2:] > one["boxes"][:, :2]).all(dim=1)
            boxes, scores, labels, masks = (one[name][kept] for name in ("boxes", "scores", "labels", "masks"))
            found.append((boxes, scores, labels, masks[:, None]))
        return found

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """The log-probability of the class, of the cell whose box overlaps the region's most."""
        assert isinstance(self.network, Yolo)
        return self.network.evidence(x, subject.box, subject.category + self.first_label)
