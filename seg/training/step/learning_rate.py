"""The learning rate for the batch that an optimizer step really has (linear: Goyal et al. 2017; square root: Krizhevsky 2014)."""

from seg.core.errors import ConfigError
from seg.training.settings import Trainer
from seg.training.step.limits import images_per_device


def step_batch_size(trainer: Trainer, world_size: int) -> int:
    """Images of an optimizer step over all devices."""
    return images_per_device(trainer, world_size) * world_size


def lr_factor(trainer: Trainer, world_size: int) -> float:
    """By what optimizer.lr is multiplied: images of a step / trainer.reference_batch_size, its square root, or 1."""
    if trainer.scale_lr == "none":
        return 1.0
    if trainer.reference_batch_size is None:
        raise ConfigError(
            f"trainer.scale_lr={trainer.scale_lr}: set trainer.reference_batch_size to the images a step for which optimizer.lr was found"
        )
    ratio = step_batch_size(trainer, world_size) / trainer.reference_batch_size
    return ratio if trainer.scale_lr == "linear" else ratio**0.5


def described(trainer: Trainer, world_size: int, lr: float | None) -> str | None:
    """A line on what was made of the learning rate; None where it stays as it is."""
    factor = lr_factor(trainer, world_size)
    if factor == 1:
        return None
    made = "" if lr is None else f": {lr:.6g} becomes {lr * factor:.6g}"
    rule = "" if trainer.scale_lr == "linear" else ", square root"
    images = step_batch_size(trainer, world_size)
    return f"learning rate times {factor:.4g}{made} ({images} images a step, against {trainer.reference_batch_size}{rule})"
