"""What predicts, whatever file it came from: one seam for checkpoints, exported files, ensembles and views of an image."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Prediction, Range
from seg.models.checkpoint import LoadedCheckpoint, restore
from seg.models.compilation import compile_in_place
from seg.models.hardware import choose_precision, device_of, set_float32_matmul
from seg.models.semantic import SemanticModel, predictions_of


@dataclass(frozen=True, slots=True)
class Facts:
    """What one must know of a network to use it.

    task: semantic or instance. channels: of its images, RGB where there are three. stride: of its coarsest features, in pixels that it
    sees. data_range: the values of images deeper than 8 bit that become 0 and 255, as data.range has it.
    """

    task: str
    classes: tuple[ClassInfo, ...]
    channels: int
    stride: int
    data_range: Range


def facts_of(checkpoint: LoadedCheckpoint) -> Facts:
    """Of a checkpoint, whose task may have a name of its own."""
    trained, data = checkpoint.settings, checkpoint.data
    task = "instance" if trained.task.instances else "semantic"
    return Facts(task, tuple(data.classes), data.channels, trained.model.stride, data.range)


class Network(Protocol):
    """Takes images (B, C, H, W) uint8 as they are stored, on any device and of any size; normalises and pads by itself."""

    @property
    def facts(self) -> Facts: ...

    def logits(self, images: Tensor) -> Tensor:
        """Of a semantic network: (B, K, H, W) float32, on its own device."""
        ...

    def predict(self, images: Tensor) -> list[Prediction]:
        """One Prediction an image, of the same size."""
        ...


class CheckpointNetwork:
    """A checkpoint's model on a device, in the precision of its training.

    accelerator and precision: as in the configuration's trainer, whose values are taken where they are None. compiled: by torch.compile.
    """

    def __init__(
        self, checkpoint: LoadedCheckpoint, accelerator: str | None = None, precision: str | None = None, compiled: bool = False
    ) -> None:
        trainer = checkpoint.settings.trainer
        self.device = device_of(accelerator or trainer.accelerator)
        self.precision = choose_precision(precision or trainer.precision, self.device)
        self.model = restore(checkpoint).to(self.device)
        set_float32_matmul(trainer.float32_matmul, self.device)
        if trainer.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        if compiled:
            compile_in_place(self.model.body, "predict.compile")
        self.facts = facts_of(checkpoint)
        self._task = checkpoint.settings.task.name

    def logits(self, images: Tensor) -> Tensor:
        if not isinstance(self.model, SemanticModel):
            raise ConfigError(
                f"the task {self._task}: its model, {type(self.model).__name__}, gives no scores of every class, which probabilities, "
                "views, tiles and several models need; leave these out"
            )
        with torch.inference_mode(), self._autocast():
            return self.model.full_logits(images.to(self.device))

    def predict(self, images: Tensor) -> list[Prediction]:
        if isinstance(self.model, SemanticModel):
            return predictions_of(self.logits(images))
        with self._autocast():
            return self.model.predict(images.to(self.device))

    def attention_maps(self, images: Tensor) -> dict[str, Tensor]:
        """As `seg.models.base.SegmentationModel.attention_maps`."""
        with self._autocast():
            return self.model.attention_maps(images.to(self.device))

    def _autocast(self) -> torch.autocast:
        kind = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=self.precision != "32-true")
