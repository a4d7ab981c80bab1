"""The section `export`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.runtime.settings import Paths
from seg.settings.section import Count, Named, Positive, Section, Sections, Share, Targets


class ExportCheck(Section):
    images: Positive
    seed: Count
    tolerance: Share
    near: Share
    differing: Share
    box: Annotated[float, Field(ge=0)]
    unmatched: Share


class Export(Named):
    format: Literal["onnx", "openvino", "auto"]
    precision: Literal["float32", "bfloat16", "int8"]
    calibration: Positive
    out: str | None
    argmax: bool
    size: str | None
    images: str | None
    card: str | None
    check: ExportCheck


class ExportSettings(Sections):
    export: Export
    targets: Targets
    paths: Paths
