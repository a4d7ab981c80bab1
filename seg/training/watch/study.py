"""The study of a sweep: a file that several processes, on several machines, read and append to (Optuna's JournalStorage).

The sweep opens it, and so does each training that it starts.
"""

import logging
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg.core.errors import ConfigError
from seg.runtime.settings import Pruner

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
EPOCHS = "max_epochs"
"""The study's attribute: the most epochs that a trial may train."""
PRUNED = 3
"""The exit code of a training that was pruned."""


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
