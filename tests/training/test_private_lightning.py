"""What is used of Lightning beyond its documentation still does what it is used for.

Averages and their checkpoints are tested in test_averaging.py, the launcher that a trainer has in test_trainer.py.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from seg.training import private_lightning as private

STEPS = 4


class Module(pl.LightningModule):
    """Notes the epochs and steps that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[str] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
        self.seen.append(f"epoch {self.current_epoch} step {number}")
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, _: int) -> None:
        self.seen.append(f"validation of {self.current_epoch}")
        self.log("score", 1.0)


class Loader(DataLoader):
    """Yields from step `first` on in the first epoch that it is asked for."""

    first = 0

    def __iter__(self) -> Any:
        batches = list(super().__iter__())[self.first :]
        self.first = 0
        return iter(batches)


def fit(folder: Path, module: pl.LightningModule, *callbacks: Callback, first: int = 0, epochs: int = 2, resume: Path | None = None) -> Any:
    silent: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), num_sanity_val_steps=0, default_root_dir=folder, **silent
    )
    loader = Loader(torch.ones(STEPS, 1))
    loader.first = first
    trainer.fit(module, loader, DataLoader(torch.ones(1, 1)), ckpt_path=resume, weights_only=True)
    return trainer


class Saves(Callback):
    """Writes a checkpoint at a step, said to be of that step."""

    def __init__(self, path: Path, epoch: int, step: int) -> None:
        self.path, self.at, self.step = path, (epoch, step), step

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        if (trainer.current_epoch, given[-1] + 1) == self.at:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        private.set_steps_done(checkpoint, self.step)


@pytest.mark.parametrize("step", [1, 3, STEPS])
def test_a_training_goes_on_at_the_step_that_the_loops_state_names(tmp_path: Path, step: int) -> None:
    """Also at an epoch's last step, whose validation is still to come."""
    path, whole, rest = tmp_path / "within.ckpt", Module(), Module()
    fit(tmp_path, whole, Saves(path, 1, step), epochs=3)
    assert private.epochs_done(torch.load(path, weights_only=True)) == 1
    fit(tmp_path, rest, first=step, epochs=3, resume=path)
    assert rest.seen == whole.seen[STEPS + 1 + step :]


def test_early_stopping_says_that_it_stopped(tmp_path: Path) -> None:
    callback = EarlyStopping("score", patience=1, mode="max", check_on_train_epoch_end=False)
    assert not private.has_stopped(callback)
    fit(tmp_path, Module(), callback, epochs=9)
    assert private.has_stopped(callback)
    restored = EarlyStopping("score", patience=1, mode="max", check_on_train_epoch_end=False)
    restored.load_state_dict(callback.state_dict())
    assert private.has_stopped(restored)


class Started(private.SubprocessLauncher):
    """Notes what it is asked for; its ranks end at once."""

    def launch(self, function: Any, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.start_ranks()
        return [process.wait() for process in self.procs]


def test_a_launcher_starts_the_further_ranks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each with its LOCAL_RANK, which ends it here with that exit code."""
    script = tmp_path / "rank.py"
    script.write_text("import os; raise SystemExit(10 + int(os.environ['LOCAL_RANK']))")
    monkeypatch.setattr("sys.argv", [str(script)])
    monkeypatch.setattr("__main__.__spec__", None)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")  # the launcher sets them; the old values come back
    monkeypatch.delenv("LOCAL_RANK")
    launcher = Started(LightningEnvironment(), 3, 1)
    assert launcher.launch(None) == [11, 12]


def test_what_lightning_asks_strategies_and_averages_for_is_ours() -> None:
    wrapped = nn.Identity()
    assert type("Own", (private.WrappedFSDP,), {"wrap": lambda *_: wrapped})()._setup_model(nn.Linear(1, 1)) is wrapped
    average = private.AveragingBase()
    assert average.average_model is None
    average.keep_on(torch.device("meta"))
    average.setup(SimpleNamespace(), Module(), "fit")  # type: ignore[arg-type]
    assert {p.device.type for p in average.average_model.parameters()} == {"meta"}
