"""Figures of boxes: COCO's average precision of boxes, and the matching of instances whose masks are their boxes, filled.

A true box is that around an instance's pixels. Sizes (small, medium, large) are those of the instances, as COCO's files have them."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from seg.data.labelmaps import boxed
from seg.data.sample import Prediction
from seg.loading.batch import Batch
from seg.metrics.base import ImageScore
from seg.metrics.instance import InstanceMetrics


class DetectionMetrics(InstanceMetrics):
    """As of instances, without what compares masks."""

    OF_CLASS: ClassVar[Mapping[str, Sequence[str]]] = {"box": ("ap", "ap50", "ap75")}

    def update(self, batch: Batch, predictions: Sequence[Prediction]) -> list[ImageScore]:
        return super().update(batch, [boxed(p, size) for p, size in zip(predictions, batch.sizes, strict=True)])
