"""Lightning's hooks: none of ours hides another one of ours, or what Lightning does in it."""

import importlib
import inspect
import pkgutil
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins import Precision
from lightning.pytorch.strategies import Strategy
from torch.utils.data import DataLoader

import seg
from seg.training import private_lightning as private
from seg.training.trainer import quiet

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
        ("Replicated", "configure_ddp"),  # no DistributedDataParallel around the model: a step averages the gradients
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


class Hidden(pl.LightningModule):
    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        return batch.sum().requires_grad_()

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
