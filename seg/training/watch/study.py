"""The study of a sweep: a file that several processes, on several machines, read and append to (Optuna's JournalStorage).

The sweep opens it, and so does each training that it starts: that tells the study each validation's figure, and ends where the study's
pruner gives it up."""

import logging
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg.core.environment import in_first_process
from seg.core.errors import ConfigError
from seg.core.scratch import Scratch
from seg.runtime.settings import Pruner
from seg.training.resume.history import figures_of
from seg.training.settings import TrainingSettings

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
EPOCHS = "max_epochs"  # the study's attribute: the most epochs that a trial may train
PRUNED = 3  # the exit code of a training that was pruned


def library() -> Any:
    """Optuna, made silent; ConfigError with the command that installs it."""
    try:
        optuna = import_module("optuna")
    except ImportError:
        raise ConfigError("seg sweep: needs the package optuna; pip install -e '.[sweep]'") from None
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna\b.*")  # of what is experimental, and of epochs that a resumed trial reports again
    return optuna


def open_study(folder: Path, pruner: Pruner, sampler: "optuna.samplers.BaseSampler | None" = None) -> "optuna.Study":
    """The study in a folder of outputs/sweeps, begun where there is none. It has its pruner once its attribute EPOCHS is set."""
    optuna = library()
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    study: Any = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=folder.name,
        direction="maximize",
        load_if_exists=True,
        sampler=sampler or optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.NopPruner(),
    )
    if most := study.user_attrs.get(EPOCHS):
        study.pruner = _pruner(optuna, pruner, most)
    return study


def trial_of(study: "optuna.Study", number: int) -> "optuna.Trial":
    """A trial that has not ended, whoever began it."""
    found = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
    return library().Trial(study, found._trial_id)


def _pruner(optuna: Any, settings: Pruner, max_epochs: int) -> Any:
    """Steps are epochs, counted from 1. Optuna's median pruner lets a trial be while step < n_warmup_steps."""
    if settings.kind == "median":
        return optuna.pruners.MedianPruner(settings.startup_trials, settings.warmup_epochs + 1)
    if settings.kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min(settings.min_epochs, max_epochs), max_epochs, settings.reduction_factor)
    return optuna.pruners.NopPruner()


class Reporter(Callback):
    """Reports from rank 0; all ranks end together. Optuna keeps the first report of an epoch that a resumed training repeats."""

    def __init__(self, cfg: TrainingSettings) -> None:
        self.key, self.pruned = f"val_{cfg.task.monitor}", False
        if in_first_process():
            folder = Path(str(cfg.runtime.trial))
            self.trial = trial_of(open_study(folder.parents[1], cfg.runtime.pruner), int(folder.name))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = figures_of(trainer)
        if self.key not in figures:
            return
        pruned = False
        if trainer.is_global_zero:
            epoch = trainer.current_epoch + 1
            self.trial.report(figures[self.key], epoch)
            pruned = epoch < (trainer.max_epochs or epoch) and self.trial.should_prune()
        self.pruned = bool(trainer.strategy.broadcast(pruned))
        trainer.should_stop = trainer.should_stop or self.pruned


def reporters(cfg: TrainingSettings) -> list[Callback]:
    return [Reporter(cfg)] if cfg.runtime.trial else []


def end_if_pruned(trainer: pl.Trainer, scratch: Scratch) -> None:
    """Exit with PRUNED where the pruner gave the trial up: there is nothing to write, and nothing to go on from."""
    if not any(isinstance(callback, Reporter) and callback.pruned for callback in trainer.callbacks):  # type: ignore[attr-defined]
        return
    if trainer.is_global_zero:
        print(f"pruned after epoch {trainer.current_epoch}: other trials of the sweep were better by then", flush=True)
        scratch.clear()
    trainer.strategy.barrier()
    sys.exit(PRUNED if trainer.is_global_zero else 0)  # Lightning would end rank 0, had another rank failed
