"""The gradients of an optimizer step, a micro-batch at a time; and the step once more, with smaller ones, where memory runs out."""

from collections.abc import Callable

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from seg.core.errors import ConfigError
from seg.data.sample import Prediction
from seg.loading.batch import Batch
from seg.models.base import SegmentationModel
from seg.models.dry_run import ONE_VALUE
from seg.training.settings import Trainer
from seg.training.step.exchange import Exchange
from seg.training.step.limits import Limits
from seg.training.step.memory import ADVICE, is_out_of_memory, recover, summary


def check_strategy(trainer: pl.Trainer, settings: Trainer) -> None:
    """Raise ConfigError where steps of micro-batches are asked for, and each process holds a part of the network alone."""
    if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy) or settings.effective_batch_size is None:
        return
    raise ConfigError(
        f"trainer.effective_batch_size={settings.effective_batch_size}: trainer.strategy={settings.strategy} splits the network, which a "
        "step of micro-batches cannot; set trainer.effective_batch_size=null, or trainer.strategy=ddp"
    )


def named_losses(model: SegmentationModel, batch: Batch) -> dict[str, Tensor]:
    """{"loss": the sum of the model's terms}, and each as "<name>_term" where there are several."""
    terms = model.losses(batch)
    total = torch.stack(list(terms.values())).sum()
    return {"loss": total} | ({} if len(terms) == 1 else {f"{name}_term": value for name, value in terms.items()})


class Accumulation:
    """The steps of a training. backward: (a micro-batch's losses by name, its share of the images) differentiates their sum's share."""

    def __init__(
        self,
        trainer: pl.Trainer,
        model: SegmentationModel,
        limits: Limits,
        device: torch.device,
        backward: Callable[[dict[str, Tensor], float], None],
    ) -> None:
        self.trainer, self.model, self.limits, self.device, self.backward = trainer, model, limits, device, backward
        self.exchange, self.before = Exchange(), Snapshot(model, device)
        # Processes whose batch norms wait for each other cannot stop in the middle of a step, one of them alone.
        self.repeatable = self.exchange.count == 1 or not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())

    def gradients(self, batch: Batch, optimizer: LightningOptimizer) -> dict[str, Tensor]:
        """Leave the gradients of the mean loss over the batches of all processes; returns the means over this one's images.

        Micro-batches count by their images, so the mean of losses that are means over images is exact. No process waits for another
        before all have been through their images: where one runs out of memory, all repeat the step with half as many at once.
        """
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.before.take()
        while True:
            optimizer.zero_grad()
            means, problem = self._attempt(batch)
            failed, *present = self.exchange.any_of([problem is not None, *(p.grad is not None for p in parameters)])
            if not failed:
                self.exchange.average_gradients(parameters, present)
                self.exchange.share_buffers(self.model)
                return means
            optimizer.zero_grad()
            self.before.restore()
            recover(self.device)
            largest = max(len(part) for part in batch.split(self.limits.training))
            images = len(batch) * self.exchange.count
            line = self.limits.halve_training(largest, problem or "in another process", self.trainer.global_step, images)
            if self.trainer.is_global_zero:
                print(line, flush=True)

    def _attempt(self, batch: Batch) -> tuple[dict[str, Tensor], str | None]:
        """The means, and None; or what the error said, if memory ran out."""
        means: dict[str, Tensor] = {}
        strategy = self.trainer.strategy
        try:
            for part in batch.split(self.limits.training):
                share = len(part) / len(batch)
                given = part.to(self.device, non_blocking=self.device.type == "cuda")
                with self.trainer.precision_plugin.forward_context():
                    losses = named_losses(self.model, given)
                if isinstance(strategy, ParallelStrategy):
                    with strategy.block_backward_sync():
                        self.backward(losses, share)
                else:
                    self.backward(losses, share)
                means = {n: means[n] + share * v.detach() if n in means else share * v.detach() for n, v in losses.items()}
        except (RuntimeError, MemoryError, ValueError) as error:
            if ONE_VALUE in str(error):
                raise ConfigError(
                    f"{len(part)} image at once: batch normalisation cannot learn from one value a channel, and more do not fit; {ADVICE}"
                ) from None
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
        else:
            return means, None
        if not self.repeatable:
            raise ConfigError(
                f"out of memory with {len(part)} images at once ({problem}), in one of several processes whose batch norms share their "
                "statistics, so that the step cannot be repeated; set a smaller trainer.batch_size"
            )
        return means, problem


class Snapshot:
    """What a forward pass changes in a model beside gradients: its buffers, and the state of torch's random numbers."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.generators = model, [torch] + ([torch.get_device_module(device)] if device.type in ("cuda", "mps") else [])
        self.buffers: list[Tensor] = []
        self.kept: list[Tensor] = []

    def take(self) -> None:
        """Remember the present state."""
        self.random = [generator.get_rng_state() for generator in self.generators]
        buffers = sorted(self.model.buffers(), key=lambda b: str(b.dtype))
        if len(buffers) != len(self.buffers) or any(a is not b for a, b in zip(buffers, self.buffers, strict=True)):
            self.buffers, self.kept = buffers, [b.clone() for b in buffers]
        self._copy(self.buffers, self.kept)

    def restore(self) -> None:
        """Go back to it."""
        for generator, state in zip(self.generators, self.random, strict=True):
            generator.set_rng_state(state)
        self._copy(self.kept, self.buffers)

    def _copy(self, source: list[Tensor], target: list[Tensor]) -> None:
        """All tensors of a type in one call: a network has hundreds of small ones, and this happens in every step."""
        start = 0
        for stop in range(1, len(source) + 1):
            if stop == len(source) or source[stop].dtype != source[start].dtype:
                torch._foreach_copy_(target[start:stop], source[start:stop])
                start = stop


def predict(model: SegmentationModel, images: Tensor, limits: Limits, device: torch.device) -> list[Prediction]:
    """Predictions of a batch of any size, in parts of at most `limits.evaluation` images."""
    done: list[Prediction] = []
    while len(done) < len(images):
        part = images[len(done) : len(done) + limits.evaluation]
        try:
            done += model.predict(part.to(device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = summary(error)
        else:
            continue
        recover(device)
        print(limits.halve_evaluation(len(part), problem), flush=True)
    return done
