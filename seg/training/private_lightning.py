"""All that this project uses of Lightning and is not documented by Lightning. tests/training/test_private_lightning.py fails where a
version changes it.

Tried with lightning 2.6.6."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.callbacks.weight_averaging import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import nn
from torch.optim.swa_utils import AveragedModel


class SubprocessLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher of the further ranks of a machine: `launch` and `kill` may be overridden, `procs` has the processes.

    Tried with lightning 2.6.6."""

    def start_ranks(self) -> None:
        """Start the further ranks. Tried with lightning 2.6.6."""
        self._call_children_scripts()


class WithLauncher:
    """Beside a strategy as a base: has its ranks started by a launcher of ours. Tried with lightning 2.6.6."""

    launcher_class: type[SubprocessLauncher]

    def _configure_launcher(self: Any) -> None:
        self._launcher = self.launcher_class(self.cluster_environment, self.num_processes, self.num_nodes)


class WrappedFSDP(FSDPStrategy):
    """FSDP whose network `wrap` wraps. Tried with lightning 2.6.6."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """The LightningModule as torch's FSDP holds it."""
        raise NotImplementedError

    def _setup_model(self, model: nn.Module) -> nn.Module:
        return self.wrap(model)


class AveragingBase(WeightAveraging):
    """WeightAveraging whose average can be read, and change places with the weights. Tried with lightning 2.6.6."""

    STATE, TRAINED, AVERAGING = "state_dict", "current_model_state", "averaging_state"
    """Keys of its checkpoints: the average (also of checkpoints without one: the weights), the trained weights, the rest."""

    @property
    def average_model(self) -> AveragedModel | None:
        """The average; None before `setup`. Tried with lightning 2.6.6."""
        return self._average_model

    def keep_on(self, device: torch.device) -> None:
        """Where the average lies; to be called before `setup`. Tried with lightning 2.6.6."""
        self._device = device

    def update_by(self, update: Callable[[nn.Module], None]) -> None:
        """Have a function of the trained module update the average, after `setup`. Tried with lightning 2.6.6."""
        if self._average_model:
            self._average_model.update_parameters = update  # type: ignore[method-assign, assignment]

    def swap(self, pl_module: pl.LightningModule) -> None:
        """Have the average and the module's weights change places. Tried with lightning 2.6.6."""
        self._swap_models(pl_module)


def do_not_broadcast_signals(trainer: pl.Trainer) -> None:
    """Leave out what the training loop of several ranks sends before each step, for which it waits until the device has done all that it
    was given: whether rank 0 got SIGTERM. Tried with lightning 2.6.6."""
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def has_stopped(callback: EarlyStopping) -> bool:
    """Whether an EarlyStopping, perhaps as it was restored from a checkpoint, has ended its training. Tried with lightning 2.6.6."""
    return callback.stopping_reason != EarlyStoppingReason.NOT_STOPPED


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """The epochs that are over in a checkpoint of Lightning's trainer. Tried with lightning 2.6.6."""
    return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])


def set_steps_done(checkpoint: dict[str, Any], steps: int) -> None:
    """Write into a checkpoint of Lightning's trainer that `steps` steps of its epoch are done, and its validation not begun.

    Lightning's own state, taken at the end of the last step, skips the validation when it is restored: `_FitLoop.reset`
    (loops/fit_loop.py) takes the epoch for done. A validation that stopped in its first batch is begun anew
    (`_TrainingEpochLoop.advance`, `restarted_mid_evaluation`). Tried with lightning 2.6.6."""
    loops = checkpoint["loops"]["fit_loop"]
    done = dict.fromkeys(("ready", "started", "processed", "completed"), steps)
    batches = loops["epoch_loop.batch_progress"]
    batches["total"] |= dict.fromkeys(done, batches["total"]["ready"])
    batches["current"] |= done
    validation = loops["epoch_loop.val_loop.batch_progress"]
    for count in ("total", "current"):
        validation[count] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
    validation["is_last_batch"] = False
