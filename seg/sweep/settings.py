"""The section `sweep`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from seg.runtime.settings import Pruner
from seg.settings.section import Count, Named, Positive, Section


class Sampler(Section):
    kind: Literal["tpe", "random"]
    startup_trials: Positive
    seed: Count


class Sweep(Named):
    """space: by key, choices or a range: see seg.sweep.space."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    trials: Positive
    jobs: Positive
    space: dict[str, Any] | None
    sampler: Sampler
    pruner: Pruner
    checkpoints: Literal["best", "all"]
