"""The model to train, its LightningModule and its figures, from a configuration and prepared data."""

from typing import Any

import lightning.pytorch as pl
import torch

from seg.core.environment import in_first_process
from seg.metrics.base import Metrics, metrics_of
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.finetune import Group, make_plan
from seg.settings.targets import build
from seg.training.loading.datamodule import SegmentationData
from seg.training.module import SegmentationModule
from seg.training.settings import SCHEDULER_ARGUMENTS, TrainingSettings
from seg.training.step.batch_size import find_batch_size
from seg.training.step.limits import Limits
from seg.training.step.recomputation import chosen_fused


def make_model(cfg: TrainingSettings, data: SegmentationData) -> SegmentationModel:
    """The model to train, with the weights that it starts from. FSDP keeps another order of weights in memory than it loads, so that a
    training of channels_last would not go on to the same bytes."""
    model = build_model(cfg, data.info, say=print if in_first_process() else lambda _: None)
    return model.to(memory_format=torch.channels_last) if cfg.trainer.channels_last and cfg.trainer.strategy != "fsdp" else model


def build_module(
    cfg: TrainingSettings,
    data: SegmentationData,
    model: SegmentationModel,
    limits: Limits,
    precision: str = "32-true",
    lr_factor: float = 1.0,
    sharded: bool = False,
) -> SegmentationModule:
    """The LightningModule of a model, with everything else that the configuration names. lr_factor: of every learning rate."""
    allow = cfg.targets.allow

    def optimizer(groups: list[Group]) -> Any:
        parts = [{"params": group.parameters, "name": group.name} for group in groups]
        device = groups[0].parameters[0].device
        made = build(chosen_fused(cfg.optimizer, precision, device), allow, "optimizer", {"params": parts})
        for part, group in zip(made.param_groups, groups, strict=True):
            part["lr"] *= group.lr_share * lr_factor
        return made

    def scheduler(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        known: dict[str, Any] = dict.fromkeys(("total_steps", "T_max", "total_iters"), steps)
        known |= {"optimizer": optimizer, "max_lr": [group["lr"] for group in optimizer.param_groups]}
        return build(cfg.scheduler, allow, "scheduler", {name: known[name] for name in SCHEDULER_ARGUMENTS})

    return SegmentationModule(
        model,
        make_plan(model.get_submodule("network"), model, cfg.finetune, data.info.channels, cfg.trainer.max_epochs),
        optimizer,
        scheduler,
        lambda: make_metrics(cfg, data),
        cfg.seed,
        limits,
        cfg.trainer.gradient_clip,
        sharded,
        cfg.trainer.compress_gradients,
    )


def make_limits(cfg: TrainingSettings, data: SegmentationData) -> Limits:
    """How many images a device sees at once: as set, or to be found (auto)."""

    def find(trainer: pl.Trainer, module: pl.LightningModule) -> int:
        assert isinstance(module, SegmentationModule)
        return find_batch_size(trainer, module.model, data, _step_images(data, trainer.world_size))

    return Limits(None if cfg.trainer.batch_size == "auto" else cfg.trainer.batch_size, find)


def check_network(model: SegmentationModel, data: SegmentationData, world_size: int, at_once: int = 0) -> None:
    """Raise ConfigError where the network does not take its images; freeze what is unused. at_once: of a micro-batch; 0: a step's."""
    drawn, predicted = data.image_sizes()
    images = _step_images(data, world_size)
    smallest = images // -(-images // (at_once or images))
    check_sizes(model, data.info.channels, smallest, drawn, [model.seen_at_once(size) for size in predicted])
    freeze_unused(model, data.info.channels, drawn[0])


def _step_images(data: SegmentationData, world_size: int) -> int:
    """Images of an optimizer step on each device."""
    return data.training_batches(data.num_training_images(), 0, world_size).batch_size


def make_metrics(cfg: TrainingSettings, data: SegmentationData, **given: float) -> Metrics:
    """Fresh figures of the task; given: as `metrics_of` takes them."""
    return metrics_of(cfg.task, cfg.targets.allow, data.info, **given)
