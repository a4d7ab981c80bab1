"""The section `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.settings.section import Count, Named, Positive, Section, Share, SplitName


class Bootstrap(Section):
    resamples: Count
    level: Annotated[float, Field(gt=0, lt=1)]
    seed: Count


class BoundarySettings(Section):
    width: Annotated[float, Field(gt=0, le=1)]
    tolerance: Annotated[float, Field(ge=0, lt=1000)]


class GalleryImages(Section):
    images: Count
    least_share: Share
    seed: Count


class Evaluate(Named):
    split: SplitName
    checkpoint: Literal["best", "last"]
    batch_size: Positive
    num_overlays: Count
    explained: Count
    score_threshold: Share | None
    bootstrap: Bootstrap
    groups: list[str]
    boundary: BoundarySettings | None
    surface: bool
    calibration_bins: Positive | None
    rand_separates: str | None
    size_bins: Positive
    gallery: GalleryImages
