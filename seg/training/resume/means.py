"""Means over an epoch that survive an interruption within it."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor


class RunningMeans:
    """Means of named values, weighted by images: a sum in float32 on the device for each, so that no step waits for it.

    Lightning's own (`self.log(on_epoch=True)`) are not in its checkpoints. These are the same numbers: same sums, same order.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor, count: int) -> None:
        """value: () of any float type, the mean of `count` images."""
        weighted = value.detach().float() * count
        self.sums[name] = self.sums[name] + weighted if name in self.sums else weighted
        self.counts[name] = self.counts.get(name, 0) + count

    def clear(self) -> None:
        self.sums, self.counts = {}, {}

    def means(self, trainer: pl.Trainer) -> dict[str, Tensor]:
        """Of all ranks' images; every rank has as many. All ranks must call it."""
        counts = {name: torch.tensor(count, device=self.sums[name].device) for name, count in self.counts.items()}
        return {name: _reduced(trainer, total) / counts[name] for name, total in self.sums.items()}

    def state(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Names, counts (n) and the sums of each rank (ranks, n) float32, on the CPU. All ranks must call it."""
        sums = torch.stack(list(self.sums.values()))
        every = trainer.strategy.all_gather(sums) if trainer.world_size > 1 else sums[None]
        return {"names": list(self.sums), "counts": list(self.counts.values()), "sums": every.cpu()}

    def load(self, state: dict[str, Any], rank: int, device: torch.device) -> None:
        """Go on from a state, on a rank of as many."""
        self.sums = dict(zip(state["names"], state["sums"][rank].to(device), strict=True))
        self.counts = dict(zip(state["names"], state["counts"], strict=True))


def _reduced(trainer: pl.Trainer, value: Tensor) -> Tensor:
    """The mean over ranks."""
    return torch.as_tensor(trainer.strategy.reduce(value.clone(), reduce_op="mean")) if trainer.world_size > 1 else value


class EpochMeans(Callback):
    """Hands the module's means of an epoch to Lightning at its end; stands before the callbacks that read them."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        means = means_of(pl_module)
        for name, value in means.means(trainer).items():
            pl_module.log(name, value)
        means.clear()


def means_of(module: pl.LightningModule) -> RunningMeans:
    """A module's `means`."""
    means: Any = module.means
    assert isinstance(means, RunningMeans)
    return means
