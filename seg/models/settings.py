"""The sections `task`, `model` and `finetune`, and those from which a network is built."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seg.settings.section import Count, Named, NamedTarget, Positive, Sections, Target, Targets
from seg.settings.task import Task


class Model(Named):
    task: str | list[str]
    network: Target
    stride: Positive
    scale: Annotated[float, Field(gt=0, le=1)] | Annotated[list[Positive], Field(min_length=2, max_length=2)]
    normalization: Literal["dataset", "imagenet", "checkpoint"]
    weights: str | None
    window: Positive | None = None  # checkpoints of earlier versions have none
    adapter: Target | None = None

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that it can do."""
        return [self.task] if isinstance(self.task, str) else self.task


class Finetune(Named):
    freeze_epochs: Count
    unfreeze_every: Count
    frozen_stages: Count
    frozen_norms: bool
    lr_factor: Annotated[float, Field(gt=0, le=1)]


class Execution(BaseModel):
    """The keys of `trainer` by which a trained network works as it did. A file of another version may lack one."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    float32_matmul: Literal["highest", "high", "medium"] = "high"
    channels_last: bool = True


class NetworkSettings(Sections):
    task: Task
    model: Model
    finetune: Finetune
    loss: NamedTarget
    targets: Targets


class TrainedSettings(NetworkSettings):
    """What a checkpoint says of its network."""

    trainer: Execution


MODEL_ARGUMENTS = ("network", "loss", "class_names", "mean", "std", "stride", "scale", "things")
METRICS_ARGUMENTS = ("class_names", "things")
CLASSES, CHANNELS = ("classes", "num_classes", "out_channels"), ("in_channels", "in_chans")
"""The names by which networks ask for the number of outputs, and of the image's channels."""
NETWORK_ARGUMENTS = CLASSES + CHANNELS
LOSS_ARGUMENTS = ("class_counts",)
"""What the program passes to each `_target_`, where its signature has it."""
