"""How many images a device sees at once, in training and in validation; and the learning rate for the images of a step."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.models.base import SegmentationModel
from seg.models.hardware import in_parts
from seg.models.semantic import SemanticModel
from seg.tiles.network import Facts
from seg.tiles.tiled import in_window
from seg.training.settings import Trainer

T = TypeVar("T")
ADVICE = "use smaller images or crops (augment), a smaller model.scale, trainer.precision=bf16-mixed, or a smaller encoder or model"
"""What helps where memory runs out even with a single image at once."""


def images_per_device(trainer: Trainer, world_size: int) -> int:
    """Images of an optimizer step on each device; ConfigError where the devices cannot have equal numbers of them."""
    if trainer.effective_batch_size is None:
        assert trainer.batch_size != "auto"  # check_batch_sizes
        return trainer.batch_size
    share, rest = divmod(trainer.effective_batch_size, world_size)
    if rest or not share:
        near = [n for n in (share * world_size, (share + 1) * world_size) if n]
        problem = f"trainer.effective_batch_size={trainer.effective_batch_size}: {world_size} devices cannot share so many images equally"
        raise ConfigError(f"{problem}; expected a multiple of the number of devices, such as {' or '.join(map(str, near))}")
    return share


def check_batch_sizes(trainer: Trainer) -> None:
    """Raise ConfigError where the machine's memory would decide what a step is made of."""
    if trainer.batch_size == "auto" and trainer.effective_batch_size is None:
        problem = "trainer.batch_size=auto: the images of an optimizer step, and the result with them, would depend on the machine's memory"
        raise ConfigError(f"{problem}; set trainer.effective_batch_size to the number of images that a step is made of, over all devices")


def check_strategy(trainer: pl.Trainer, settings: Trainer) -> None:
    """Raise ConfigError where steps of micro-batches are asked for, and each rank holds only a part of the network."""
    if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy) or settings.effective_batch_size is None:
        return
    raise ConfigError(
        f"trainer.effective_batch_size={settings.effective_batch_size}: trainer.strategy={settings.strategy} splits the network, which a "
        "step of micro-batches cannot; set trainer.effective_batch_size=null, or trainer.strategy=ddp"
    )


class Limits(Callback):
    """The most images at once, in training and in evaluation. Halved where memory runs out, and kept in checkpoints.

    find: gives both where they are not known (trainer.batch_size=auto), once the network is on its device; a training that is
    resumed knows what the interrupted one found."""

    def __init__(self, at_once: int | None, find: Callable[[pl.Trainer, pl.LightningModule], int]) -> None:
        self.training, self.evaluation, self._find = at_once or 0, at_once or 0, find

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.training:
            self.training = self.evaluation = self._find(trainer, pl_module)

    def halve_training(self, tried: int, problem: str, step: int, images: int) -> str:
        """After `tried` images at once did not fit, of the `images` of a step: the line to be said of it; ConfigError at a single image."""
        self.training = _half(tried, problem, "training")
        return (
            f"out of memory in step {step + 1}, which is repeated: {self.training} images at once from now on, not {tried} ({problem}); "
            f"trainer.batch_size={self.training} with trainer.effective_batch_size={images} starts so"
        )

    def halve_evaluation(self, tried: int, problem: str) -> str:
        """The same for images that are predicted."""
        self.evaluation = _half(tried, problem, "validation")
        return (
            f"out of memory in validation: {self.evaluation} images at once from now on, not {tried} ({problem}); "
            f"trainer.batch_size={self.evaluation} starts so"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"training": self.training, "evaluation": self.evaluation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.training, self.evaluation = state_dict["training"], state_dict["evaluation"]


def _half(tried: int, problem: str, where: str) -> int:
    if tried <= 1:
        raise ConfigError(f"out of memory in {where} with a single image at once ({problem}); {ADVICE}")
    return tried // 2


def predict(model: SegmentationModel, images: Tensor, limits: Limits, device: torch.device) -> list[Prediction]:
    """Predictions of a batch of any size, of images that are larger than the model's window in tiles."""
    return in_window(Limited(model, limits, device), limits.evaluation).predict(images)


class Limited:
    """A model as a `seg.tiles.network.Network`: at most `limits.evaluation` images are on the device at once, and half as many where
    memory runs out."""

    def __init__(self, model: SegmentationModel, limits: Limits, device: torch.device) -> None:
        self.model, self.limits, self.device = model, limits, device
        task = "semantic" if isinstance(model, SemanticModel) else "instance" if model.things is None else "panoptic"
        self.facts = Facts(task, (), model.mean.shape[1], model.stride, None, model.window, things=tuple(model.things or ()))

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        assert isinstance(self.model, SemanticModel)
        return torch.cat(list(self._parts(images, self.model.full_logits)))

    def predict(self, images: Tensor) -> list[Prediction]:
        return list(chain.from_iterable(self._parts(images, self.model.predict)))

    def class_maps(self, images: Tensor) -> Tensor | None:
        """(B, H, W) uint8 on the device; None of a model that has none, or where images are larger than its window."""
        size = (images.shape[-2], images.shape[-1])
        if not isinstance(self.model, SemanticModel) or self.model.seen_at_once(size) != size:
            return None
        return torch.cat(list(self._parts(images, self.model.class_maps)))

    def _parts(self, images: Tensor, answer: Callable[[Tensor], T]) -> Iterator[T]:
        def halved(tried: int, problem: str) -> int:
            print(self.limits.halve_evaluation(tried, problem), flush=True)
            return self.limits.evaluation

        return in_parts(images, self.device, self.limits.evaluation, answer, halved)


def lr_factor(trainer: Trainer, world_size: int) -> float:
    """By what optimizer.lr is multiplied: images of a step / trainer.reference_batch_size (Goyal et al. 2017), its square root (Krizhevsky
    2014), or 1."""
    if trainer.scale_lr == "none":
        return 1.0
    if trainer.reference_batch_size is None:
        raise ConfigError(
            f"trainer.scale_lr={trainer.scale_lr}: set trainer.reference_batch_size to the images a step for which optimizer.lr was found"
        )
    ratio = images_per_device(trainer, world_size) * world_size / trainer.reference_batch_size
    return ratio if trainer.scale_lr == "linear" else ratio**0.5


def described_lr(trainer: Trainer, world_size: int, lr: float | None) -> str | None:
    """A line on what was made of the learning rate; None where it stays as it is."""
    factor = lr_factor(trainer, world_size)
    if factor == 1:
        return None
    made = "" if lr is None else f": {lr:.6g} becomes {lr * factor:.6g}"
    rule = "" if trainer.scale_lr == "linear" else ", square root"
    images = images_per_device(trainer, world_size) * world_size
    return f"learning rate times {factor:.4g}{made} ({images} images a step, against {trainer.reference_batch_size}{rule})"
