"""The section `plan`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from seg.settings.section import Section

MOST_FOLDS = 10


def _is_number_of_folds(value: object) -> object:
    if value is not None and (type(value) is not int or not 2 <= value <= MOST_FOLDS):
        raise ValueError(f"2 to {MOST_FOLDS} folds, or null for none")
    return value


class PlanSettings(Section):
    """minutes: of a training on this machine, or of those of all folds together. pretrained: whether a hub is asked for weights. keep:
    whether a plan stays that was made for the same data and settings. folds: how many models are trained, each without another part of the
    images; None: there are no folds."""

    minutes: Annotated[float, Field(gt=0)] | Literal["auto"]
    pretrained: bool | Literal["auto"]
    keep: bool
    folds: Annotated[int | None, BeforeValidator(_is_number_of_folds)]
