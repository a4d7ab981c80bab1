"""Instances of one stage (YOLACT, Bolya et al. 2019) behind the seam: a detector whose boxes have masks, summed of maps that all share."""

from typing import Any

from torch import Tensor

from seg.core.errors import ConfigError
from seg.models.base import Size, Subject
from seg.models.detector import DetectorModel


class PrototypeModel(DetectorModel):
    """A `seg.models.yolo.Yolo` with prototypes. Masks are learned and given at points of their boxes, so that none is ever H x W."""

    def check_body(self, given: Any, size: Size) -> None:
        if getattr(self.network, "maps", None) is None:
            raise ConfigError("model.network: expected seg.models.yolo.Yolo with prototypes=16, for one, whose boxes have masks")

    def evidence(self, x: Tensor, size: Size, subject: Subject) -> Tensor:
        """The log-probability of the class, of the cell whose box overlaps the region's most."""
        said: Tensor = self.network.evidence(x, subject.box, subject.category + self.first_label)  # type: ignore[operator]
        return said
