"""The trials of a study: which one is next, who has it, and how it ended.

A lock file in each trial's folder is held by the process that has the trial, and by the training that it started: where nobody
holds it and the trial has no end, its process was killed, and whoever asks next takes it over."""

import csv
import fcntl
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from seg.core.errors import ConfigError
from seg.sweep.settings import Sweep
from seg.sweep.space import Dimension, most_epochs, overrides_of
from seg.training.watch.study import EPOCHS, JOURNAL, library, open_study, trial_of

if TYPE_CHECKING:
    import optuna

HISTORY = "history.csv"
FACTS = "settings"  # the study's attribute that says of which settings and data it is


@dataclass(slots=True)
class Trial:
    """A trial that this process has. seconds: spent on it before, by processes that were killed."""

    number: int
    folder: Path
    overrides: list[str]
    lock: IO[str]
    seconds: float


class Trials:
    """The trials of a sweep, in a folder whose name is the study's.

    facts: what all of them share, by name. max_epochs: that a trial trains, unless the space says so. monitor: the column of
    history.csv whose greatest value is a trial's. ConfigError where the study was begun with other facts or another space."""

    def __init__(
        self, folder: Path, sweep: Sweep, space: Sequence[Dimension], facts: Mapping[str, Any], max_epochs: int, monitor: str
    ) -> None:
        self.folder, self.sweep, self.space, self.monitor = folder, sweep, space, monitor
        said = {"space": dict(str(dimension).split(": ", 1) for dimension in space)}
        now = json.loads(json.dumps(said | dict(facts)))
        library()
        folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            _mend(folder / JOURNAL)
            study = open_study(folder, sweep.pruner)
            begun = study.user_attrs.get(FACTS)
            if begun is None:
                study.set_user_attr(EPOCHS, most_epochs(space, max_epochs))
                study.set_user_attr(FACTS, now)
        if begun is not None and begun != now:
            fix = f"give this sweep a name of its own, as in sweep.study={folder.name}_2, or remove that folder"
            raise ConfigError(f"sweep.study={folder.name}: {folder} was begun with other settings ({_difference(begun, now)}); {fix}")
        self.study = open_study(folder, sweep.pruner)

    def take(self) -> Trial | None:
        """A trial whose process was killed, or else a new one; None where all are done or with other processes."""
        running = library().trial.TrialState.RUNNING
        with self._alone():
            known = self.all()
            for frozen in known:
                if frozen.state == running and (lock := self._lock(frozen.number)):
                    return self._taken(frozen.number, lock, frozen.user_attrs.get("seconds", 0.0))
            if len(known) >= self.sweep.trials:
                return None
            number = self.study.ask().number
            lock = self._lock(number)
            assert lock, "a trial that was not there has no lock"
            return self._taken(number, lock, 0.0)

    def _taken(self, number: int, lock: IO[str], seconds: float) -> Trial:
        """With its overrides. Each trial has a sampler of its own seed, so that a study that goes on draws what an unbroken one would."""
        study = open_study(self.folder, self.sweep.pruner, self._sampler(number))
        return Trial(number, self.trial_folder(number), overrides_of(self.space, trial_of(study, number)), lock, seconds)

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        samplers, settings = library().samplers, self.sweep.sampler
        seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
        if settings.kind == "random":
            return samplers.RandomSampler(seed)
        return samplers.TPESampler(n_startup_trials=settings.startup_trials, multivariate=True, constant_liar=True, seed=seed)

    def finish(self, trial: Trial, seconds: float, error: str | None = None, pruned: bool = False) -> None:
        """Record how a trial ended: with an error, pruned, or else with the value in its history."""
        states = library().trial.TrialState
        value = None if error or pruned else self.value_of(trial.folder)
        if value is None and not error and not pruned:
            error = f"{trial.folder / HISTORY}: has no value of {self.monitor}"
        kept = trial_of(self.study, trial.number)
        kept.set_user_attr("seconds", round(trial.seconds + seconds, 1))
        kept.set_user_attr("overrides", trial.overrides)
        if error:
            kept.set_user_attr("error", error)
        self.study.tell(trial.number, value, states.FAIL if error else states.PRUNED if pruned else states.COMPLETE)
        trial.lock.close()

    def leave(self, trial: Trial, seconds: float) -> None:
        """Give a trial up that did not end: the next process takes it over."""
        trial_of(self.study, trial.number).set_user_attr("seconds", round(trial.seconds + seconds, 1))
        trial.lock.close()

    def value_of(self, folder: Path) -> float | None:
        """The best validation figure of a training that has ended; None where it has not, or has none."""
        try:
            with open(folder / HISTORY, encoding="utf-8", newline="") as file:
                values = [float(row[self.monitor]) for row in csv.DictReader(file) if row.get(self.monitor)]
        except FileNotFoundError:
            return None
        return max((value for value in values if not math.isnan(value)), default=None)

    def all(self) -> list["optuna.trial.FrozenTrial"]:
        """By number."""
        return self.study.get_trials(deepcopy=False)

    def best(self) -> "optuna.trial.FrozenTrial | None":
        """The finished trial with the greatest value; of several the first."""
        ended = [trial for trial in self.all() if trial.state == library().trial.TrialState.COMPLETE]
        return max(ended, key=lambda trial: (trial.value, -trial.number), default=None)

    def trial_folder(self, number: int) -> Path:
        return self.folder / "trials" / str(number)

    def _lock(self, number: int) -> IO[str] | None:
        """A trial's lock, unless another process has it."""
        folder = self.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "w", encoding="utf-8")  # noqa: SIM115 - it is held as long as the trial
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process takes a trial of this study."""
        with open(self.folder / "lock", "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _mend(journal: Path) -> None:
    """Cut a last line off that a power cut left without its end: Optuna would append to it, and then refuse the file."""
    if not journal.exists() or journal.read_bytes()[-1:] in (b"", b"\n"):
        return
    lock = library().storages.journal.JournalFileSymlinkLock(str(journal))  # another process may be in the midst of a line
    lock.acquire()
    try:
        content = journal.read_bytes()
        with open(journal, "r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first fact that differs, in words."""
    for name in now:
        a, b = before.get(name), now[name]
        if isinstance(b, dict) and isinstance(a, dict):
            for key in [*b, *a]:
                if a.get(key) != b.get(key):
                    return f"{name}: {key} was {a.get(key, 'not there')}, is {b.get(key, 'not there')}"
        if a != b:
            return f"{name} was {a}, is {b}"
    return "what they are of"
