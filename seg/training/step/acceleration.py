"""The settings by which a step takes less time or memory: precision, fused optimizers, recomputation, compilation."""

from typing import Any

import torch

from seg.core.environment import in_first_process
from seg.core.errors import ConfigError
from seg.models.base import SegmentationModel
from seg.models.compilation import compile_in_place
from seg.models.hardware import set_float32_matmul
from seg.settings.section import NamedTarget
from seg.training.loading.datamodule import SegmentationData
from seg.training.settings import Trainer
from seg.training.step.recomputation import checkpoint_activations

FUSED = {"cuda": ("SGD", "Adam", "AdamW"), "cpu": ("Adam", "AdamW")}
"""Optimizers of torch that one kernel a device steps faster; on a CPU SGD's takes as long as without."""


def check_acceleration(settings: Trainer, device: torch.device) -> None:
    """Raise ConfigError for what this device, or the strategy, cannot do."""
    if settings.precision == "16-mixed" and device.type == "cpu":
        raise ConfigError("trainer.precision=16-mixed: needs a GPU; on a CPU set trainer.precision=auto, 32-true or bf16-mixed")
    if settings.compile and settings.activation_checkpointing:
        raise ConfigError(
            "trainer.compile=true with trainer.activation_checkpointing=true: torch cannot compile blocks that run again; set one "
            "of them to false (a compiled network keeps fewer activations by itself)"
        )
    if settings.average != "none" and settings.strategy.startswith(("fsdp", "deepspeed")):
        raise ConfigError(
            f"trainer.average={settings.average}: needs the whole network in each rank, which trainer.strategy={settings.strategy} "
            "does not have; set trainer.strategy=ddp, or trainer.average=none"
        )


def accelerate(settings: Trainer, model: SegmentationModel, data: SegmentationData, device: torch.device) -> None:
    """Make a model whose network was checked, and whose parameters are grouped, ready for quick steps."""
    set_float32_matmul(settings.float32_matmul, device)
    if settings.activation_checkpointing:
        size = data.image_sizes()[0][0]
        images, _ = model.network_input(torch.zeros(1, data.info.channels, *size, dtype=torch.uint8))
        checkpoint_activations(model.body, images)
    if settings.compile:
        compile_in_place(model.body, "trainer.compile", print if in_first_process() else lambda _: None)


def chosen_fused(optimizer: NamedTarget, precision: str, device: torch.device) -> NamedTarget:
    """The optimizer with `fused: auto` replaced: whether its kernel gains on this device, and gradients can still be clipped."""
    if optimizer.arguments.get("fused") != "auto":
        return optimizer
    known = optimizer.target.startswith("torch.optim.") and optimizer.target.rpartition(".")[2] in FUSED.get(device.type, ())
    arguments: dict[str, Any] = {**optimizer.arguments, "fused": True if known and precision != "16-mixed" else None}
    return NamedTarget.model_validate({"_target_": optimizer.target, "name": optimizer.name, **arguments})
