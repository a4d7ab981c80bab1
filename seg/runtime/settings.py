"""The sections `runtime` and `paths`: how this machine works, and where it writes. They change no result."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from seg.settings.section import Count, Device, Positive, Section, Share

Engines = Literal["local", "ray"]
Address = Annotated[str, Field(pattern=r"^(auto|(ray://)?[^/\s]+:[0-9]+)$")]


class Divergence(Section):
    every: Positive
    window: Annotated[int, Field(ge=10)]
    factor: Annotated[float, Field(gt=1)]
    steps: Positive


class Pruner(Section):
    kind: Literal["median", "hyperband", "none"]
    startup_trials: Count
    warmup_epochs: Count
    min_epochs: Positive
    reduction_factor: Annotated[int, Field(ge=2)]


class Runtime(Section):
    engine: Engines
    address: Address | None
    workers: Count | Literal["auto"]
    threads: Positive | Literal["auto"]
    device: Device | None
    cache: Annotated[Literal["auto", "none", "memory"], BeforeValidator(lambda kind: "memory" if kind == "memmap" else kind)]
    """`memmap`, a file on disk, was a kind of its own in files of former versions."""
    cache_gb: Annotated[float, Field(gt=0)]
    progress: Literal["auto", "bar", "lines", "none"]
    save_minutes: Annotated[float, Field(ge=0)] | None
    trial: str | None
    pruner: Pruner
    data_wait: Share
    divergence: Divergence | None


class Shown(BaseModel):
    """The keys of `runtime` that a command on a finished model reads."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    engine: Engines
    address: Address | None
    threads: Positive | Literal["auto"]
    progress: Literal["auto", "bar", "lines", "none"]


class Paths(Section):
    prepare: str
    doctor: str
    augment: str
    train: str
    evaluate: str
    divide: str
    fold: str
    folds: str
    review: str
    marks: str
    plan: str
