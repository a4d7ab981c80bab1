"""`sweep`: trains with settings that a sampler draws, a process each, and keeps the best as an option of conf/experiment."""

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.configure.made import as_made
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError, plural
from seg.runtime.progress import duration
from seg.settings.planned import FILE, filled, refuse_open
from seg.stages.train import load_data, read_augmented
from seg.sweep.processes import OUTPUT, Training, share, start, stop, visible_gpus
from seg.sweep.results import experiment_path, importances, is_ours, save_plot, table, write_experiment, write_trials
from seg.sweep.space import check_overrides, check_space, read_space
from seg.sweep.trials import Trial, Trials
from seg.training.settings import SECTIONS, TrainingSettings
from seg.training.watch.study import PRUNED, library

ROOT = Path("outputs/sweeps")
POLL = 0.2  # seconds between looks at the trainings


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. overrides: they hold for every trial."""

    overrides: Sequence[str] = ()


def run(project: Path, given: Arguments) -> None:
    """Sweep. ConfigError where no trial has a value at the end."""
    conf, overrides = conf_folder(project), given.overrides
    library()
    params = as_made(conf, compose(conf, list(overrides))[0])
    plan = Path(params["paths"]["plan"]) / FILE
    params = filled(params, plan)
    cfg = checked(params)
    space = read_space(cfg.sweep.space)
    check_overrides(overrides, space)
    option = experiment_path(conf, cfg.sweep.study)
    if not is_ours(option):
        fix = f"give the sweep another name, as in sweep.study={cfg.sweep.study}_2, or move the file"
        raise ConfigError(f"conf/experiment/{option.name}: is there, not as a sweep has written it, and would be replaced; {fix}")
    check_space(conf, space, overrides)
    refuse_open(params, tuple(TrainingSettings.model_fields), plan)
    facts = {"settings": {section: params[section] for section in SECTIONS}} | digests(cfg)
    trials = Trials(ROOT / cfg.sweep.study, cfg.sweep, space, facts, cfg.trainer.max_epochs, f"val_{cfg.task.monitor}")
    sweep = Sweep(conf, cfg, trials, list(overrides))
    sweep.work()
    sweep.close()


def digests(cfg: Config) -> dict[str, str]:
    """Of what trials train on; InputError where it is missing."""
    training = TrainingSettings.of(cfg.dump())
    data = load_data(training)
    return {"data": data.info.digest, "augmentation": read_augmented(training, data)["digest"]}


@dataclass(slots=True)
class Sweep:
    """Trainings at once, until no trial is left to take. fixed: the overrides of all of them. program: that trains."""

    conf: Path
    cfg: Config
    trials: Trials
    fixed: list[str]
    program: Sequence[str] = (sys.executable, "-m", "seg", "train")
    running: list[Training] = field(default_factory=list)
    best: int | None = None

    def work(self) -> None:
        """Start trials, and record their ends. Ctrl-C and SIGTERM end them too; they go on when the sweep does."""
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            gpus = visible_gpus() if self.cfg.sweep.jobs > 1 and self.cfg.trainer.accelerator in ("auto", "gpu") else []
            while self._fill(gpus) or self.running:
                time.sleep(POLL)
                for training in [one for one in self.running if one.process.poll() is not None]:
                    self._ended(training)
        finally:
            if self.running:
                print(f"ending {plural(len(self.running), 'training')}; the same command goes on from here", file=sys.stderr, flush=True)
                stop(self.running)
                for training in self.running:
                    self.trials.leave(training.trial, training.seconds)
            signal.signal(signal.SIGTERM, before)

    def _fill(self, gpus: list[str]) -> bool:
        """Start a trial where there is place for one; whether one was taken."""
        if len(self.running) >= self.cfg.sweep.jobs or (trial := self.trials.take()) is None:
            return False
        if self.trials.value_of(trial.folder) is not None:  # the sweep was killed before it saw the end of a training
            self._record(trial, 0.0)
            return True
        print(f"trial {trial.number} starts: {' '.join(trial.overrides)}  ({trial.folder / OUTPUT})", flush=True)
        slot = min(set(range(self.cfg.sweep.jobs)) - {one.slot for one in self.running})
        environment = share(slot, self.cfg.sweep.jobs, self.cfg.trainer.devices, gpus)
        self.running.append(start(trial, slot, self.fixed, environment, self.program))
        return True

    def _ended(self, training: Training) -> None:
        if training.interrupted:
            raise KeyboardInterrupt  # by somebody who meant the sweep: its trial is none that failed
        self.running.remove(training)
        self._record(training.trial, training.seconds, training.error(), training.process.returncode == PRUNED)

    def _record(self, trial: Trial, seconds: float, error: str | None = None, pruned: bool = False) -> None:
        """Tell the study, and say it; a better trial is written at once."""
        self.trials.finish(trial, seconds, error, pruned)
        frozen = next(one for one in self.trials.all() if one.number == trial.number)
        what = {"COMPLETE": f"{self.trials.monitor} {frozen.value}", "PRUNED": f"pruned after epoch {frozen.last_step}"}
        ended = what.get(frozen.state.name, f"failed: {frozen.user_attrs.get('error')}")
        best = self.trials.best()
        better = best is not None and best.number == trial.number
        print(f"trial {trial.number}: {ended}{' (best)' if better else ''}, {duration(trial.seconds + seconds)}", flush=True)
        self._keep()

    def _keep(self) -> None:
        """trials.csv, the best trial as an experiment, and no checkpoints but its own."""
        write_trials(self.trials.folder / "trials.csv", self.trials)
        best = self.trials.best()
        if best is None:
            return
        if self.cfg.sweep.checkpoints == "best":
            for trial in self.trials.all():
                if trial.state.is_finished() and trial.number != best.number:
                    for name in ("best.ckpt", "last.ckpt"):
                        (self.trials.trial_folder(trial.number) / name).unlink(missing_ok=True)
        if best.number != self.best:
            self.best = best.number
            ended = sum(trial.state.is_finished() for trial in self.trials.all())
            found = f"{self.trials.monitor} {best.value}: trial {best.number}, the best of {plural(ended, 'trial')} of "
            found += " ".join(["seg sweep", *self.fixed])
            fixed = [override for override in self.fixed if not override.lstrip("+").startswith("sweep")]
            if not write_experiment(self.conf, self.trials.folder.name, [*fixed, *best.user_attrs["overrides"]], found):
                print(f"conf/experiment/{self.trials.folder.name}.yaml: was edited, so it is left as it is", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Say what came of it."""
        self._keep()
        save_plot(self.trials.folder / "trials.png", self.trials)
        print(*table(self.trials), sep="\n")
        if shares := importances(self.trials):
            print("what decides: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
        print(f"see {self.trials.folder / 'trials.csv'} and trials.png")
        if self.best is None:
            raise ConfigError(f"sweep.study={self.trials.folder.name}: no trial has a value; what each failed of is in the table's errors")
        print(f"the best is conf/experiment/{self.trials.folder.name}.yaml:\n  dvc exp run -S experiment={self.trials.folder.name}")
