"""The section `plan`."""

from typing import Annotated, Literal

from pydantic import Field

from seg.settings.section import Section


class PlanSettings(Section):
    """minutes: of a training on this machine. pretrained: whether a hub is asked for weights. keep: whether a plan stays that was made for
    the same data and settings."""

    minutes: Annotated[float, Field(gt=0)] | Literal["auto"]
    pretrained: bool | Literal["auto"]
    keep: bool
