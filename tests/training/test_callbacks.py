"""What callbacks remember: rates by group, and the best checkpoint of a project that was moved."""

import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from seg.training.resume.checkpoints import Keep
from seg.training.resume.history import History, rates_of

SCORES = [0.1, 0.9, 0.5, 0.4]


class Scored(pl.LightningModule):
    """Its score in each epoch is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def on_train_epoch_end(self) -> None:
        self.log("val_score", SCORES[self.current_epoch])


def fit(folder: Path, epochs: int) -> None:
    """Train to the given epoch, from last.ckpt if there is one."""
    keep = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    callbacks = [Keep(filename="best", monitor="val_score", mode="max", **keep), Keep(filename="last", **keep)]
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=callbacks, logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    last = folder / "last.ckpt"
    trainer.fit(Scored(), torch.utils.data.DataLoader(torch.ones(2, 1)), ckpt_path=last if last.exists() else None, weights_only=True)


@pytest.mark.parametrize("moved", [False, True], ids=["same-place", "moved"])
def test_the_best_checkpoint_stays_the_best(tmp_path: Path, moved: bool) -> None:
    folder = tmp_path / "before/scratch"
    fit(folder, 2)
    if moved:
        folder = shutil.move(folder, tmp_path / "after")
    fit(folder, 4)
    assert sorted(p.name for p in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    epochs = {name: torch.load(folder / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 1, "last": 3}
    assert (tmp_path / "before/scratch").exists() != moved


class Halving(Scored):
    """The rate is halved after each step, of which an epoch has two."""

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@pytest.mark.parametrize("stopped", [False, True], ids=["at-once", "resumed"])
def test_an_epoch_has_the_rate_of_its_last_step(tmp_path: Path, stopped: bool) -> None:
    history = History()
    for epochs in (1, 3) if stopped else (3,):
        history = History()
        keep = Keep(filename="last", dirpath=tmp_path, enable_version_counter=False, save_on_train_epoch_end=True)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=[history, keep],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        last = tmp_path / "last.ckpt"
        data = torch.utils.data.DataLoader(torch.ones(2, 1))
        trainer.fit(Halving(), data, ckpt_path=last if last.exists() else None, weights_only=True)
    assert [row["lr"] for row in history.rows] == [0.05, 0.0125, 0.003125]
    again = History()
    again.load_state_dict(history.state_dict())
    assert (again.rows, again.rates) == (history.rows, {"lr": 0.003125})


def test_rates_are_named_by_group_and_0_while_frozen() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    one = torch.optim.SGD([{"params": list(first.parameters()), "name": "all"}], lr=0.25)
    assert rates_of(one) == {"lr": 0.25}
    groups = [{"params": list(m.parameters()), "name": n, "lr": r} for m, n, r in ((first, "head", 0.1), (second, "stage5", 1 / 3))]
    both = torch.optim.SGD(groups)
    assert rates_of(both) == {"lr_head": 0.1, "lr_stage5": 0.333333}
    second.requires_grad_(False)
    assert rates_of(both) == {"lr_head": 0.1, "lr_stage5": 0.0}
