"""What is used of Lightning beyond its documentation still does what it is used for, and no hook of ours hides another.

Averages and their checkpoints are tested in test_averaging.py, the launcher that a trainer has in test_trainer.py.
"""

import importlib
import inspect
import os
import pkgutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.plugins import Precision
from lightning.pytorch.strategies import Strategy
from torch import nn
from torch.utils.data import DataLoader

import seg
from seg.training import private_lightning as private
from seg.training.trainer import quiet

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
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    launcher.limit_threads()
    assert torch.get_num_threads() == threads
    monkeypatch.delenv("OMP_NUM_THREADS")
    launcher.limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == str(torch.get_num_threads())
    torch.set_num_threads(threads)


def test_what_lightning_asks_strategies_and_averages_for_is_ours() -> None:
    wrapped = nn.Identity()
    assert type("Own", (private.WrappedFSDP,), {"wrap": lambda *_: wrapped})()._setup_model(nn.Linear(1, 1)) is wrapped
    average = private.AveragingBase()
    assert average.average_model is None
    average.keep_on(torch.device("meta"))
    average.setup(SimpleNamespace(), Module(), "fit")  # type: ignore[arg-type]
    assert {p.device.type for p in average.average_model.parameters()} == {"meta"}


BASES = (pl.LightningModule, pl.LightningDataModule, Callback, Strategy, CheckpointIO, Precision, private.SubprocessLauncher)


def ours() -> list[type]:
    """All classes of the package that extend one of Lightning's."""
    for room in ("training", "runtime"):
        for module in pkgutil.walk_packages([str(Path(seg.__path__[0]) / room)], f"seg.{room}."):
            importlib.import_module(module.name)

    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    return sorted(
        {kind for base in BASES for kind in below(base) if kind.__module__.startswith("seg.")}, key=lambda kind: kind.__qualname__
    )


def overridden(kind: type, base: type) -> set[str]:
    """The names of a Lightning class that a class of ours defines, itself or through a class of ours."""
    own = {name for each in kind.__mro__ if each.__module__.startswith("seg.") for name in vars(each)}
    return {name for name in own & set(dir(base)) if not name.startswith("_")}


def test_no_hook_of_the_datamodule_hides_the_modules() -> None:
    """Lightning calls the one of the two that copies a batch to the device on the DataModule alone, if it is there."""
    kinds = ours()
    modules = [kind for kind in kinds if issubclass(kind, pl.LightningModule)]
    data = [kind for kind in kinds if issubclass(kind, pl.LightningDataModule)]
    assert modules
    assert data
    for module in modules:
        for one in data:
            assert not overridden(module, pl.LightningModule) & overridden(one, pl.LightningDataModule)


def test_what_lightning_does_in_a_hook_is_done_by_the_class_that_overrides_it() -> None:
    """A method that overrides a parent's calls it, where the parent's does anything; a few replace it on purpose.

    LightningModule's and LightningDataModule's own are there to be replaced.
    """
    on_purpose = {
        ("Launcher", "launch"),  # starts a look-out in place of Lightning's
        ("_Ranks", "validation_step"),  # the ranks validate unequal numbers of batches, so DDP may not be in between
        ("Sharded", "mixed_precision_config"),
        ("Sharded", "load_checkpoint"),  # Lightning's unpickles
        ("WholeCheckpointIO", "save_checkpoint"),  # Lightning's writes to another disk first
    }
    hidden = set()
    for kind in ours():
        foreign = [each for each in kind.__mro__ if each.__module__.startswith("lightning") and ".core." not in each.__module__]
        own = [each for each in kind.__mro__ if each.__module__.startswith("seg.") and each.__module__ != private.__name__]
        for owner, name, method in ((each, *item) for each in own for item in vars(each).items()):
            parents = [vars(each)[name] for each in foreign if name in vars(each)]
            if name.startswith("__") or not parents or not does_anything(parents[0]):
                continue
            if f"super().{name}" not in inspect.getsource(getattr(method, "fget", None) or method):
                hidden.add((owner.__name__, name))
    assert hidden == on_purpose


def does_anything(method: Any) -> bool:
    """Whether there is code in a method beside its docstring."""
    code = getattr(getattr(method, "fget", None) or method, "__code__", None)
    if code is None:
        return False
    named = code.co_names or any(isinstance(value, int | float | dict | tuple) for value in code.co_consts)
    return bool(named)


def test_a_class_of_ours_takes_no_private_name_of_lightnings() -> None:
    for kind in ours():
        if kind.__module__ == private.__name__:
            continue
        foreign = {name for each in kind.__mro__ if not each.__module__.startswith("seg.") for name in vars(each)}
        names = {name for name in vars(kind) if name.startswith("_") and not name.endswith("__") and name != "_abc_impl"}
        assert not names & foreign, kind


class Hides(pl.LightningDataModule):
    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch

    def train_dataloader(self) -> Any:
        return DataLoader(torch.ones(1, 1))


class Hidden(Module):
    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        raise AssertionError


def test_lightnings_warning_of_a_hidden_hook_is_heard() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        quiet()
        trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        trainer.fit(Hidden(), Hides())
    assert [str(warning.message).split(".")[0] for warning in heard] == [
        "You have overridden `transfer_batch_to_device` in both `LightningModule` and `LightningDataModule`"
    ]
