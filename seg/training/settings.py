"""The sections of a training."""

from typing import Annotated, Any, Literal

from pydantic import Field

from seg.models.settings import NetworkSettings
from seg.runtime.settings import Paths, Runtime
from seg.settings.section import Count, Named, NamedTarget, Params, Positive, Section, Share


class Ema(Section):
    decay: Annotated[float, Field(ge=0, lt=1)]
    start: Annotated[float, Field(ge=0, lt=1)]


class Swa(Section):
    start: Annotated[float, Field(ge=0, lt=1)]


class Overfit(Section):
    batches: Positive
    figure: Share


class Trainer(Named):
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive | list[Count] | Literal["auto"]
    num_nodes: Positive
    strategy: Literal["auto", "ddp", "fsdp"]
    sync_batchnorm: bool | Literal["auto"]
    compress_gradients: bool
    scale_lr: Literal["none", "linear", "sqrt"]
    reference_batch_size: Positive | None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    float32_matmul: Literal["highest", "high", "medium"]
    channels_last: bool
    compile: bool
    activation_checkpointing: bool
    average: Literal["none", "ema", "swa"]
    ema: Ema
    swa: Swa
    batch_size: Positive | Literal["auto"]
    effective_batch_size: Positive | None
    max_epochs: Positive
    epoch_steps: Positive | None
    validate_every: Positive
    patience: Positive | None
    gradient_clip: Annotated[float, Field(gt=0)] | None
    postprocess: bool
    overfit: Overfit | None


class Pictures(Section):
    every: Positive
    images: Positive
    score_threshold: Share


class Logger(Named):
    """settings: further arguments of the library's own logger."""

    folder: str
    every: Positive
    pictures: Pictures | None
    settings: dict[str, Any]


class TrainingSettings(NetworkSettings):
    MADE = ("data", "augment")
    optimizer: NamedTarget
    scheduler: NamedTarget
    trainer: Trainer
    seed: Count
    logger: Logger
    paths: Paths
    runtime: Runtime


SECTIONS = ("task", "model", "finetune", "loss", "optimizer", "scheduler", "trainer", "seed")
"""The sections that decide what a training makes; dvc.yaml tracks the same."""
OPTIMIZER_ARGUMENTS = ("params",)
SCHEDULER_ARGUMENTS = ("optimizer", "total_steps", "T_max", "total_iters", "max_lr")
"""What the program passes to each `_target_`, where its signature has it."""
NO_EFFECT = ("runtime", "logger", "sweep")
"""Sections that cannot change what training makes, and no other command reads from a checkpoint."""


def kept_settings(cfg: TrainingSettings) -> Params:
    """What a checkpoint holds of the configuration: all but where the data lay, and what cannot change the model."""
    config = cfg.dump() | {"overrides": []}
    config["data"] = config["data"] | {"root": None}
    return {name: value for name, value in config.items() if name not in NO_EFFECT}
