"""The section `describe`."""

from typing import Annotated

from pydantic import Field

from seg.settings.section import Positive, Section


class Describe(Section):
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None
