"""What callbacks remember: rates by group, and the best checkpoint of a project that was moved."""

import shutil
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from seg.training.resume.checkpoints import Keep
from seg.training.resume.history import rates_of

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


def test_rates_are_named_by_group_and_0_while_frozen() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    one = torch.optim.SGD([{"params": list(first.parameters()), "name": "all"}], lr=0.25)
    assert rates_of(one) == {"lr": 0.25}
    groups = [{"params": list(m.parameters()), "name": n, "lr": r} for m, n, r in ((first, "head", 0.1), (second, "stage5", 1 / 3))]
    both = torch.optim.SGD(groups)
    assert rates_of(both) == {"lr_head": 0.1, "lr_stage5": 0.333333}
    second.requires_grad_(False)
    assert rates_of(both) == {"lr_head": 0.1, "lr_stage5": 0.0}
