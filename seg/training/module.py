"""The one LightningModule: it trains and validates any SegmentationModel."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from seg.batch import Batch
from seg.errors import ConfigError
from seg.metrics.base import Metrics
from seg.models.base import SegmentationModel
from seg.models.finetune import Group, Plan


class SegmentationModule(pl.LightningModule):
    """plan: which parameters learn in which epoch. make_optimizer: their groups -> optimizer, with a parameter group for each.
    make_scheduler: (optimizer, total steps) -> scheduler, stepped each batch.

    make_metrics: fresh streaming figures. monitor: the figure by which checkpoints are compared.
    """

    last_losses: dict[str, Tensor]
    """"loss" and its terms of the latest training step, scalars on the device, for those who watch."""

    def __init__(
        self,
        model: SegmentationModel,
        plan: Plan,
        make_optimizer: Callable[[list[Group]], torch.optim.Optimizer],
        make_scheduler: Callable[[torch.optim.Optimizer, int], Any],
        make_metrics: Callable[[], Metrics],
        seed: int,
    ) -> None:
        super().__init__()
        self.model, self.plan = model, plan
        self.make_optimizer, self.make_scheduler, self.make_metrics, self.seed = (
            make_optimizer,
            make_scheduler,
            make_metrics,
            seed,
        )

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.plan.groups)
        scheduler = self.make_scheduler(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By norm. Lightning's own refuses fused optimizers under bf16 too, where no scaler stands in the way."""
        if not gradient_clip_val:
            return
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if scaled and getattr(optimizer, "_step_supports_amp_scaling", False):
            raise ConfigError(
                "optimizer.fused=true with trainer.precision=16-mixed: gradients cannot be clipped; set optimizer.fused=false"
            )
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], gradient_clip_val)

    def on_train_epoch_start(self) -> None:
        self.plan.start_epoch(self.model, self.current_epoch)
        # A run that is resumed at this epoch draws the same dropout as one that was never interrupted.
        torch.manual_seed(self.seed * 1_000_003 + self.current_epoch * 1009 + self.global_rank)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        terms = self.model.losses(batch)
        total = torch.stack(list(terms.values())).sum()
        shown = {"loss": total} | ({} if len(terms) == 1 else {f"{name}_term": value for name, value in terms.items()})
        self.last_losses = {name: value.detach() for name, value in shown.items()}
        for name, value in shown.items():
            self.log(f"train_{name}", value.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch))
        return total

    def on_validation_epoch_start(self) -> None:
        self.metrics = self.make_metrics()

    def validation_step(self, batch: Batch, _: int) -> None:
        self.metrics.update(batch, self.model.predict(batch.images))

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            self.metrics.load_states(self._of_all_ranks(self.metrics.state().to(self.device)))
        for name, value in self.metrics.figures().items():
            self.log(f"val_{name}", torch.tensor(value, dtype=torch.float64).float())

    def _of_all_ranks(self, state: Tensor) -> list[Tensor]:
        """A tensor (n,) of each rank, in their order, though n differ."""
        lengths = torch.as_tensor(self.all_gather(torch.tensor([len(state)], device=self.device))).flatten().tolist()
        padded = torch.zeros(max(lengths), dtype=state.dtype, device=self.device)
        padded[: len(state)] = state
        gathered = torch.as_tensor(self.all_gather(padded))
        return [row[:length] for row, length in zip(gathered, lengths, strict=True)]
