"""The figures of every epoch, as they become history.csv: means that survive an interruption within it, and the rows of all epochs."""

import csv
import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from seg.core.outputs import whole_file


class RunningMeans:
    """Means of named values, weighted by images: a sum in float32 on the device for each, so that no step waits for it.

    Lightning's own (`self.log(on_epoch=True)`) are not in its checkpoints. These are the same numbers: same sums, same order."""

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
        return {name: mean_of_ranks(trainer, total) / counts[name] for name, total in self.sums.items()}

    def state(self, trainer: pl.Trainer) -> dict[str, Any]:
        """Names, counts (n) and the sums of each rank (ranks, n) float32, on the CPU. All ranks must call it."""
        sums = torch.stack(list(self.sums.values()))
        every = trainer.strategy.all_gather(sums) if trainer.world_size > 1 else sums[None]
        return {"names": list(self.sums), "counts": list(self.counts.values()), "sums": every.cpu()}

    def load(self, state: dict[str, Any], rank: int, device: torch.device) -> None:
        """Go on from a state, on a rank of as many."""
        self.sums = dict(zip(state["names"], state["sums"][rank].to(device), strict=True))
        self.counts = dict(zip(state["names"], state["counts"], strict=True))


def mean_of_ranks(trainer: pl.Trainer, value: Tensor) -> Tensor:
    return torch.as_tensor(trainer.strategy.reduce(value.clone(), reduce_op="mean")) if trainer.world_size > 1 else value


class EpochMeans(Callback):
    """Hands the module's means of an epoch to Lightning at its end; stands before the callbacks that read them."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for name, value in pl_module.means.means(trainer).items():
            pl_module.log(name, value)
        pl_module.means.clear()


def figures_of(trainer: pl.Trainer) -> dict[str, float]:
    """The figures of the epoch that ends; Lightning keeps those of the last validation on in epochs without one."""
    validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    return {name: float(value) for name, value in trainer.callback_metrics.items() if validated or not name.startswith("val_")}


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of each parameter group, "lr", or "lr_<name>" where there are several; 0 while a group is frozen."""
    groups = optimizer.param_groups
    learns = [any(p.requires_grad for p in group["params"]) for group in groups]
    rates = [float(f"{group['lr']:.6g}") if awake else 0.0 for group, awake in zip(groups, learns, strict=True)]
    return {"lr" if len(groups) == 1 else f"lr_{group['name']}": rate for group, rate in zip(groups, rates, strict=True)}


class History(Callback):
    """Every epoch's figures. They live in the checkpoint, so a resumed run has the rows from before it was interrupted.

    rates: of the latest step. Once it is taken the optimizer has the next step's."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.rates: dict[str, float] = {}

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer) -> None:
        self.rates = rates_of(optimizer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {name: round(value, 6) for name, value in sorted(figures_of(trainer).items())}
        self.rows.append({"epoch": trainer.current_epoch + 1} | self.rates | figures)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "rates": self.rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.rates = list(state_dict["rows"]), dict(state_dict["rates"])

    def write(self, path: Path) -> None:
        """history.csv: a row an epoch; a figure that an epoch lacks is left blank."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        with whole_file(path, len(text.getvalue()), "free space, then the same command goes on") as file:
            file.write(text.getvalue().encode())
