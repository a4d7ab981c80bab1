"""A training that is a trial of a sweep: it tells the study each validation's figure, and ends where the study's pruner gives it up."""

import sys
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from seg.core.environment import in_first_process
from seg.core.scratch import Scratch
from seg.training.resume.history import figures_of
from seg.training.settings import TrainingSettings
from seg.training.watch.study import PRUNED, open_study, trial_of


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
    """A Reporter where the training is a trial."""
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
