"""The model to train, its LightningModule and its figures, from a configuration and prepared data."""

from typing import Any

import torch

from seg.config import AT_RUN_TIME
from seg.datamodule import SegmentationData, TrainingBatches
from seg.metrics.base import Metrics
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.finetune import Group, make_plan
from seg.schema import Config
from seg.targets import build
from seg.training.acceleration import chosen_fused
from seg.training.module import SegmentationModule
from seg.training.trainer import in_first_process


def make_model(cfg: Config, data: SegmentationData) -> SegmentationModel:
    """The model to train, with the weights that it starts from."""
    model = build_model(cfg, data.info, say=print if in_first_process() else lambda _: None)
    return model.to(memory_format=torch.channels_last) if cfg.trainer.channels_last else model


def build_module(cfg: Config, data: SegmentationData, model: SegmentationModel, precision: str = "32-true") -> SegmentationModule:
    """The LightningModule of a model, with everything else that the configuration names."""
    allow = cfg.targets.allow

    def optimizer(groups: list[Group]) -> Any:
        parts = [{"params": group.parameters, "name": group.name} for group in groups]
        device = groups[0].parameters[0].device
        made = build(chosen_fused(cfg.optimizer, precision, device), allow, "optimizer", {"params": parts})
        for part, group in zip(made.param_groups, groups, strict=True):
            part["lr"] *= group.lr_share
        return made

    def scheduler(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        known: dict[str, Any] = dict.fromkeys(("total_steps", "T_max", "total_iters"), steps)
        known |= {"optimizer": optimizer, "max_lr": [group["lr"] for group in optimizer.param_groups]}
        return build(cfg.scheduler, allow, "scheduler", {name: known[name] for name in AT_RUN_TIME["scheduler"]})

    return SegmentationModule(
        model,
        make_plan(model.get_submodule("network"), model, cfg.finetune, data.info.channels, cfg.trainer.max_epochs),
        optimizer,
        scheduler,
        lambda: make_metrics(cfg, data),
        cfg.seed,
    )


def check_network(model: SegmentationModel, data: SegmentationData, world_size: int) -> None:
    """Raise ConfigError where the network does not take the images that it will see; freeze what its output does not depend on."""
    drawn, predicted = data.image_sizes()
    batch_size = TrainingBatches(data.num_training_images(), data.batch_size, data.seed, 0, world_size).batch_size
    check_sizes(model, data.info.channels, batch_size, drawn, predicted)
    freeze_unused(model, data.info.channels, drawn[0])


def make_metrics(cfg: Config, data: SegmentationData) -> Metrics:
    """Fresh streaming figures of the task."""
    metrics: Metrics = build(cfg.task.metrics, cfg.targets.allow, "task.metrics", {"class_names": [c.name for c in data.info.classes]})
    return metrics
