"""The one LightningModule, which trains and validates any SegmentationModel, and what a configuration makes of it and its model."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel

from seg.core.environment import in_first_process
from seg.core.errors import ConfigError
from seg.loading.batch import Batch
from seg.metrics.base import ClassMapCounts, Metrics, metrics_of
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.finetune import Group, Plan, make_plan
from seg.settings.targets import build
from seg.training.loading.datamodule import SegmentationData
from seg.training.resume.history import RunningMeans
from seg.training.settings import SCHEDULER_ARGUMENTS, TrainingSettings
from seg.training.step.batch_size import find_batch_size
from seg.training.step.exchange import share_buffers
from seg.training.step.limits import Limited, Limits, predict
from seg.training.step.recomputation import chosen_fused
from seg.training.step.step import Step, named_losses, to_device


class SegmentationModule(pl.LightningModule):
    """plan: which parameters learn in which epoch. make_optimizer: their groups -> optimizer, with a parameter group for each.
    make_scheduler: (optimizer, total steps) -> scheduler, stepped each batch.

    make_metrics: fresh streaming figures. means: of the epoch's losses, which `EpochMeans` logs at its end. limits: images at once; what a
    loader gives as one batch is one optimizer step. gradient_clip: largest norm of a step's gradient, or None. sharded: whether
    each rank holds only a part of the network: then a step is one pass, and Lightning's own. compressed: as in `Step`."""

    last_losses: dict[str, Tensor]  # "loss" and its terms of the latest training step, scalars on the device, for those who watch

    def __init__(
        self,
        model: SegmentationModel,
        plan: Plan,
        make_optimizer: Callable[[list[Group]], torch.optim.Optimizer],
        make_scheduler: Callable[[torch.optim.Optimizer, int], Any],
        make_metrics: Callable[[], Metrics],
        seed: int,
        limits: Limits,
        gradient_clip: float | None,
        sharded: bool = False,
        compressed: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        self.make_optimizer, self.make_scheduler, self.make_metrics = make_optimizer, make_scheduler, make_metrics
        self.means = RunningMeans()
        self.seed, self.limits, self.gradient_clip, self.compressed = seed, limits, gradient_clip, compressed
        self.automatic_optimization = sharded  # else `Step` takes the steps

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.plan.groups)
        scheduler = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients by norm. Lightning's own clipping refuses fused optimizers even where no scaler of 16-mixed is in use."""
        if not self.gradient_clip:
            return
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if scaled and any(group.get("fused") for group in optimizer.param_groups):  # these take off the scale only in their step
            what = "optimizer.fused=true with trainer.precision=16-mixed: gradients cannot be clipped"
            raise ConfigError(f"{what}; set optimizer.fused=false")
        if isinstance(model := self.trainer.strategy.model, FullyShardedDataParallel):
            model.clip_grad_norm_(self.gradient_clip)  # the norm over all shards
        else:
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], self.gradient_clip)

    def on_fit_start(self) -> None:
        self.step = Step(self.trainer, self.model, self.limits, self.device, self._backward, self.compressed)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Keep the batch on the host: `Step` and `predict` copy as many images to the device as it takes at once."""
        return batch

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # where a training goes on within an epoch, that does not start

    def on_train_epoch_start(self) -> None:
        self.plan.start_epoch(self.model, self.current_epoch)
        self.model.start_epoch(self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """A training that goes on at this step draws the same dropout as one that was never interrupted."""
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """An optimizer step; where the strategy shards the network, its losses, and Lightning does the rest."""
        if self.automatic_optimization:
            losses = named_losses(self.model, to_device(batch, self.device))
        else:
            with torch.autocast(self.device.type, enabled=False):  # Lightning calls this method under autocast
                optimizer = self.optimizers()
                assert isinstance(optimizer, LightningOptimizer)
                losses = self.step.take(batch, optimizer)
        self.last_losses = {name: value.detach() for name, value in losses.items()}
        for name, value in losses.items():
            self.means.add(f"train_{name}", value, len(batch))
        return losses["loss"]

    def _backward(self, losses: dict[str, Tensor], share: float) -> None:
        self.last_losses = {name: value.detach() for name, value in losses.items()}
        self.manual_backward(losses["loss"] * share)

    def on_validation_epoch_start(self) -> None:
        """By now an average of the weights has taken their place, where there is one."""
        if not self.automatic_optimization:
            share_buffers(self.model)
        self.metrics = self.make_metrics()

    def validation_step(self, batch: Batch, _: int) -> None:
        if not len(batch):  # a rank may have none
            return
        if isinstance(self.metrics, ClassMapCounts):
            maps = Limited(self.model, self.limits, self.device).class_maps(batch.images)
            if maps is not None:
                self.metrics.count(batch, maps)
                return
        self.metrics.update(batch, predict(self.model, batch.images, self.limits, self.device))

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            self.metrics.load_states(self._of_all_ranks(self.metrics.state().to(self.device)))
        for name, value in self.metrics.figures().items():
            self.log(f"val_{name}", torch.tensor(value, dtype=torch.float64).float())

    def _of_all_ranks(self, state: Tensor) -> list[Tensor]:
        """A tensor (n,) of each rank, in their order, though n differ; as numbers, since objects would be pickled."""
        lengths = torch.as_tensor(self.all_gather(torch.tensor([len(state)], device=self.device))).flatten().tolist()
        padded = torch.zeros(max(lengths), dtype=state.dtype, device=self.device)
        padded[: len(state)] = state
        gathered = torch.as_tensor(self.all_gather(padded))
        return [row[:length] for row, length in zip(gathered, lengths, strict=True)]


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """A seed for torch, of 63 bits."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


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
        lambda: metrics_of(cfg.task, allow, data.info),
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
    """Raise ConfigError where the network does not take the images that it will see; freeze what its output does not depend on.

    at_once: the most images of a micro-batch; 0: all of a step."""
    drawn, predicted = data.image_sizes()
    images = _step_images(data, world_size)
    smallest = images // -(-images // (at_once or images))
    check_sizes(model, data.info.channels, smallest, drawn, [model.seen_at_once(size) for size in predicted])
    freeze_unused(model, data.info.channels, drawn[0])


def _step_images(data: SegmentationData, world_size: int) -> int:
    """Images of an optimizer step on each device."""
    return data.training_batches(data.num_training_images(), 0, world_size).batch_size
