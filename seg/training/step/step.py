"""An optimizer step of a training, which any number of ranks take together. A rank is one of the processes that train one model.

`Step.take` does in every rank:

1. remember what a forward pass changes beside gradients (`Snapshot`);
2. for each micro-batch, of at most `limits.training` images: copy it to the device, forward under autocast, backward;
3. average the gradients over the ranks, which begins during the last backward pass of 2 (`Exchange`);
4. ask whether memory ran out in any rank; if so, all go back to the state of 1 and repeat 2 with half as many images at once;
5. have Lightning call the optimizer: it takes off the scale of 16-mixed and calls the module's hook, which clips the gradients;
6. step the learning rate."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.core.private_torch import copy_all
from seg.loading.batch import Batch
from seg.models.base import SegmentationModel
from seg.models.dry_run import ONE_VALUE
from seg.models.hardware import is_out_of_memory, recover, summary
from seg.training.step.exchange import Exchange
from seg.training.step.limits import ADVICE, Limits

Backward = Callable[[dict[str, Tensor], float], None]
"""(a micro-batch's losses by name, its share of the images) differentiates its share."""


def named_losses(model: SegmentationModel, batch: Batch) -> dict[str, Tensor]:
    """{"loss": the sum of the model's terms}, and each as "<name>_term" where there are several."""
    terms = model.losses(batch)
    total = torch.stack(list(terms.values())).sum()
    return {"loss": total} | ({} if len(terms) == 1 else {f"{name}_term": value for name, value in terms.items()})


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Copy a batch to the device. A GPU copies from page-locked memory while the program goes on."""
    return batch.to(device, non_blocking=device.type == "cuda")


class Step:
    """The optimizer steps of a training. compressed: whether ranks exchange gradients as bf16."""

    def __init__(
        self, trainer: pl.Trainer, model: SegmentationModel, limits: Limits, device: torch.device, backward: Backward, compressed: bool
    ) -> None:
        self.trainer, self.model, self.limits, self.device, self.backward = trainer, model, limits, device, backward
        self.exchange, self.before = Exchange(model, compressed), Snapshot(model, device)
        # Ranks whose batch norms wait for each other cannot stop in the middle of a step, one of them alone.
        self.repeatable = self.exchange.num_ranks == 1 or not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())

    def take(self, batch: Batch, optimizer: LightningOptimizer) -> dict[str, Tensor]:
        """Take the step of a batch; returns the means of its losses over this rank's images. Not under autocast, which is for forward
        passes alone."""
        losses = self.gradients(batch, optimizer)
        try:
            optimizer.step()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
            raise ConfigError(f"out of memory in the optimizer, whatever the number of images at once ({problem}); {ADVICE}") from None
        scheduler: Any = self.trainer.lr_scheduler_configs[0].scheduler
        scheduler.step()
        return losses

    def gradients(self, batch: Batch, optimizer: LightningOptimizer) -> dict[str, Tensor]:
        """Leave the gradients of the mean loss over the batches of all ranks; returns the means over this rank's images.

        Micro-batches count by their images, so the mean of losses that are means over images is exact. Where one rank runs out of
        memory, all repeat the step with half as many images at once."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.before.take()
        while True:
            optimizer.zero_grad()
            self.exchange.begin(parameters)
            means, problem = self._attempt(batch)
            if problem is not None:
                self._forget(optimizer)
            if self.exchange.finish(problem is not None):
                return means
            if problem is None:
                self._forget(optimizer)
            largest = max(len(micro_batch) for micro_batch in batch.split(self.limits.training))
            images = len(batch) * self.exchange.num_ranks
            line = self.limits.halve_training(largest, problem or "in another rank", self.trainer.global_step, images)
            if self.trainer.is_global_zero:
                print(line, flush=True)

    def _forget(self, optimizer: LightningOptimizer) -> None:
        """Undo an attempt, and give back the memory that it took."""
        optimizer.zero_grad()
        self.before.restore()
        recover(self.device)

    def _attempt(self, batch: Batch) -> tuple[dict[str, Tensor], str | None]:
        """The means, and None; or what the error said, if memory ran out."""
        means: dict[str, Tensor] = {}
        micro_batches = batch.split(self.limits.training)
        try:
            for micro_batch in micro_batches:
                share = len(micro_batch) / len(batch)
                given = to_device(micro_batch, self.device)
                with self.trainer.precision_plugin.forward_context():
                    losses = named_losses(self.model, given)
                if micro_batch is micro_batches[-1]:
                    self.exchange.last()
                self.backward(losses, share)
                means = {n: means[n] + share * v.detach() if n in means else share * v.detach() for n, v in losses.items()}
        except (RuntimeError, MemoryError, ValueError) as error:
            if ONE_VALUE in str(error):
                raise ConfigError(
                    f"{len(micro_batch)} image at once: batch normalisation cannot learn from one value a channel, and more do not fit; "
                    f"{ADVICE}"
                ) from None
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
        else:
            return means, None
        if not self.repeatable:
            raise ConfigError(
                f"out of memory with {len(micro_batch)} images at once ({problem}), in one of several ranks whose batch norms share their "
                "statistics, so that the step cannot be repeated; set a smaller trainer.batch_size"
            )
        return means, problem


class Snapshot:
    """What a forward pass changes in a model beside gradients: its buffers, and the state of torch's random numbers."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.generators = model, [torch] + ([torch.get_device_module(device)] if device.type in ("cuda", "mps") else [])
        self.buffers: list[Tensor] = []
        self.copies: list[Tensor] = []

    def take(self) -> None:
        """Remember the present state."""
        self.random = [generator.get_rng_state() for generator in self.generators]
        buffers = sorted(self.model.buffers(), key=lambda b: str(b.dtype))
        if len(buffers) != len(self.buffers) or any(a is not b for a, b in zip(buffers, self.buffers, strict=True)):
            self.buffers, self.copies = buffers, [b.clone() for b in buffers]
        copy_all(self.buffers, self.copies)

    def restore(self) -> None:
        """Go back to it."""
        for generator, state in zip(self.generators, self.random, strict=True):
            generator.set_rng_state(state)
        copy_all(self.copies, self.buffers)
