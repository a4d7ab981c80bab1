"""The section `predict`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.runtime.settings import Shown
from seg.settings.section import Count, Device, Named, Positive, Section, Sections, Share, Targets


class Polygons(Section):
    tolerance: Annotated[float, Field(ge=0)]
    min_area: Positive


class TilingSettings(Section):
    overlap: Annotated[float, Field(ge=0, lt=1)]
    sigma: Annotated[float, Field(gt=0)]
    margin: Count
    padding: Literal["reflect", "edge"]
    min_iou: Share


class Predict(Named):
    outputs: list[str]
    batch_size: Positive
    score_threshold: Share | None
    views: Annotated[list[str], Field(min_length=1)]
    merge: Literal["probabilities", "logits"]
    fusion_iou: Share
    polygons: Polygons
    tile: Positive | None
    tiling: TilingSettings
    accelerator: Device | None
    devices: Positive | Literal["auto"]
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] | None
    compile: bool


class PredictSettings(Sections):
    predict: Predict
    targets: Targets
    runtime: Shown
