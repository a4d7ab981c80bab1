"""The section `serve`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.runtime.settings import Paths
from seg.settings.section import Named, Positive, Sections


class Serve(Named):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    workers: Positive
    batch: Positive | Literal["auto"]
    token: Annotated[str, Field(min_length=1)] | None
    hosts: list[str]
    samples: str | None
    max_bytes: Positive
    max_pixels: Positive
    timeout: Annotated[float, Field(gt=0)]
    waiting: Positive


class ServeSettings(Sections):
    serve: Serve
    paths: Paths
