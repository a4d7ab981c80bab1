"""The section `export`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.settings.section import Count, Named, Positive, Section, Share


class ExportCheck(Section):
    images: Positive
    seed: Count
    tolerance: Share
    near: Share
    differing: Share
    box: Annotated[float, Field(ge=0)]
    unmatched: Share


class Export(Named):
    format: Literal["onnx", "torch_export", "openvino"]
    out: str | None
    argmax: bool
    size: str | None
    images: str | None
    check: ExportCheck
