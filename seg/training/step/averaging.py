"""Averages of the weights along the training, by Lightning's WeightAveraging on torch's AveragedModel.

The average is what is validated, compared and kept: Lightning puts it in the network's place for each validation, and writes it as the
checkpoint's state dict, beside the weights that are trained, so that a training goes on from both."""

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from seg.core.private_torch import copy_all, move_towards
from seg.models.finetune import BATCH_NORMS
from seg.training.private_lightning import AveragingBase
from seg.training.resume.history import mean_of_ranks
from seg.training.settings import Trainer
from seg.training.step.limits import Limits


def averaging_of(settings: Trainer, seed: int, limits: Limits) -> list[AveragingBase]:
    """The callback that `trainer.average` asks for, or none."""
    if settings.average == "ema":
        return [MovingAverage(settings.ema.decay, settings.ema.start)]
    return [TailAverage(settings.swa.start, seed, limits)] if settings.average == "swa" else []


class Average(AveragingBase, ABC):
    """An average from a share `start` of the steps on; until then the weights themselves are validated and kept.

    Buffers of whole numbers (indices, counters) are copied; others are averaged like weights."""

    def __init__(self, start: float) -> None:
        super().__init__(use_buffers=True)
        self.start, self.shown = start, False  # whether the average and the weights have changed places

    @property
    def count(self) -> int:
        """Sets of weights that the average is of."""
        return int(self.average_model.n_averaged) if self.average_model else 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.keep_on(trainer.strategy.root_device)  # the module itself is moved there later
        super().setup(trainer, pl_module, stage)
        if self.average_model:
            self.average_model.n_averaged = self.average_model.n_averaged.cpu()  # it is asked for each step: a GPU would be waited for
            self.update_by(self._update)  # torch's copies that number to the GPU, once for each type of tensors

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.first_step = int(self.start * trainer.estimated_stepping_batches)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx >= self.first_step

    @torch.no_grad()
    def _update(self, module: nn.Module) -> None:
        """Take the weights of a step into the average, in a call or two of torch's for all of them."""
        average = self.average_model
        assert average is not None
        ours, theirs = ([*m.parameters(), *m.buffers()] for m in (average.module, module))
        share, count = self.share(), self.count
        floats = [own.is_floating_point() and count > 0 for own in ours]
        copy_all(*([t.detach() for t, is_float in zip(each, floats, strict=True) if not is_float] for each in (theirs, ours)))
        averaged, current = ([t.detach() for t, is_float in zip(each, floats, strict=True) if is_float] for each in (ours, theirs))
        move_towards(averaged, current, share)
        average.n_averaged += 1

    @abstractmethod
    def share(self) -> float:
        """Of the new weights in the average, which is of `count` sets so far."""

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.count:
            self.shown = True
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.count:
            self.shown = False
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.count:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.count:
            super().on_save_checkpoint(trainer, pl_module, checkpoint)
            if self.shown:
                checkpoint[self.STATE], checkpoint[self.TRAINED] = checkpoint[self.TRAINED], checkpoint[self.STATE]

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.AVERAGING in checkpoint:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class MovingAverage(Average):
    """Exponential moving average, updated each step: average = d * average + (1 - d) * weights.

    d is `decay`, but at most (1 + n) / (10 + n) after n updates, so that the first weights are soon forgotten (the warm-up of TensorFlow's
    ExponentialMovingAverage)."""

    def __init__(self, decay: float, start: float) -> None:
        super().__init__(start)
        self.decay = decay

    def share(self) -> float:
        return 1 - min(self.decay, (1 + self.count) / (10 + self.count))


class TailAverage(Average):
    """Stochastic weight averaging (Izmailov et al. 2018): the plain mean of the weights at the end of each epoch.

    The statistics of batch norms that learn are those of the averaged network, found anew by a pass over the epoch's training images, as
    torch's `update_bn` does: means of the epochs' own would belong to none. Frozen ones stay."""

    def __init__(self, start: float, seed: int, limits: Limits) -> None:
        super().__init__(start)
        self.seed, self.limits = seed, limits

    def share(self) -> float:
        return 1 / (self.count + 1)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """At an epoch's last batch, before it is validated."""
        if not trainer.is_last_batch:
            return
        before = self.count
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.count > before:
            self.swap(pl_module)
            renew_norms(trainer, pl_module, self.seed, self.limits)
            self.swap(pl_module)


def renew_norms(trainer: pl.Trainer, pl_module: pl.LightningModule, seed: int, limits: Limits) -> None:
    """Give the batch norms that learn the mean of their statistics over the epoch's batches, of all ranks."""
    model: Any = pl_module.model
    norms = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.training and m.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain mean
    device = pl_module.device
    context = trainer.precision_plugin.forward_context()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.compiler.set_stance("force_eager"), torch.no_grad(), context:
        torch.manual_seed(seed * 1_000_003 + trainer.current_epoch * 1009 + trainer.global_rank)
        loader: Any = trainer.train_dataloader
        batches: Any = loader.batch_sampler or SimpleNamespace(first=(0, 0))  # a loader of one's own may have none
        first, batches.first = batches.first, (0, 0)  # all of the epoch, also where a training goes on within it
        for batch in loader:
            for part in batch.split(limits.training):
                model.losses(part.to(device))
        batches.first = first
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for value in (norm.running_mean, norm.running_var):
            if trainer.world_size > 1 and isinstance(value, Tensor):
                value.copy_(mean_of_ranks(trainer, value))
