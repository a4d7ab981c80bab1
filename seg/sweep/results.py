"""The trials of a study as a table on the console, as trials.csv, as pictures, and what each key seems to matter; and the best trial as an
option of conf/experiment: the groups' options and the keys in which it differs from conf/."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from seg.configure.compose import compose
from seg.core.errors import ConfigError
from seg.core.outputs import write_whole
from seg.pictures.sheets import save_figure
from seg.report.tables import aligned, write_rows
from seg.runtime.progress import duration
from seg.sweep.trials import Trials

if TYPE_CHECKING:
    import optuna

SHOWN = 15  # trials of the table
ENOUGH = 8  # finished trials from which importances are shown
STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "unfinished", "WAITING": "waiting"}


def write_trials(path: Path, trials: Trials) -> None:
    """trials.csv: a row a trial; `value` of those that are done, `last_value` of a pruned one's last validation, beside its epoch."""
    rows: list[dict[str, Any]] = []
    for trial in trials.all():
        done, last = trial.state.name == "COMPLETE", trial.last_step
        rows.append(
            {
                "trial": trial.number,
                "state": STATES[trial.state.name],
                "value": trial.value if done else None,
                "last_epoch": last,
                "last_value": None if last is None else trial.intermediate_values[last],
                "seconds": trial.user_attrs.get("seconds"),
                **settings_of(trial, trials),
                "error": trial.user_attrs.get("error"),
            }
        )
    if rows:
        write_rows(path, rows)


def settings_of(trial: "optuna.trial.FrozenTrial", trials: Trials) -> dict[str, str]:
    """What a trial sets, by key, as its training was told; blank where it was killed before it was."""
    said = dict(override.split("=", 1) for override in trial.user_attrs.get("overrides", ()))
    drawn = {d.key: str(trial.params.get(d.key, "")) for d in trials.space}
    return {key: said.get(key, text) for key, text in drawn.items()}


def table(trials: Trials) -> list[str]:
    """Lines: the best trials first, then those that were pruned, then those that failed."""
    order = list(STATES)
    ranked = sorted(trials.all(), key=lambda t: (order.index(t.state.name), -(t.value if t.value is not None else 0.0), t.number))
    rows = [["trial", trials.monitor, *(d.key for d in trials.space), "time"]]
    for trial in ranked[:SHOWN]:
        value = f"{trial.value:.4f}" if trial.state.name == "COMPLETE" else STATES[trial.state.name]
        rows.append([str(trial.number), value, *settings_of(trial, trials).values(), duration(trial.user_attrs.get("seconds", 0.0))])
    return aligned(rows) + ([f"and {len(ranked) - SHOWN} more, in trials.csv"] if len(ranked) > SHOWN else [])


def importances(trials: Trials) -> dict[str, float]:
    """The share of each key in what decides whether a trial is a good one (PED-ANOVA, Watanabe et al. 2023); none of few trials."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    done = [t for t in trials.all() if t.state.name == "COMPLETE"]
    if len(done) < ENOUGH or len(trials.space) < 2 or len({t.value for t in done}) < 2:
        return {}
    return get_param_importances(trials.study, evaluator=PedAnovaImportanceEvaluator())


def save_plot(path: Path, trials: Trials) -> None:
    """Write the picture of the trials that are done, their values over each key's (optuna.visualization); nothing without one."""
    if trials.best() is None:
        return
    from matplotlib import pyplot
    from optuna.visualization.matplotlib import plot_slice

    with pyplot.rc_context(), warnings.catch_warnings(action="ignore"):  # it sets a style, and warns that it is experimental
        axes: Any = plot_slice(trials.study, target_name=trials.monitor)  # or an array of them
        figure = np.atleast_1d(axes)[0].figure
        save_figure(figure, path)
        pyplot.close(figure)


MARK = "# Written by seg sweep, which replaces it as long as it is as written. check="
APART = ("sweep", "experiment", "paths", "runtime", "overrides")
"""Sections that an experiment does not set: they are of the command, not of what is trained."""


def experiment_path(conf: Path, study: str) -> Path:
    """The option of a study's best trial."""
    return conf / "experiment" / f"{study}.yaml"


def is_ours(path: Path) -> bool:
    """Whether a file may be replaced: it is not there, or is as a sweep has written it."""
    if not path.exists():
        return True
    lines = path.read_text(encoding="utf-8").splitlines()
    return len(lines) > 1 and lines[1] == MARK + _check(lines)


def write_experiment(conf: Path, study: str, overrides: Sequence[str], found: str) -> bool:
    """Write conf/experiment/<study>.yaml, which gives what `overrides` give; whether it was written, as it is not where somebody's own is.

    found: of what value, and how, for a comment."""
    path = experiment_path(conf, study)
    if not is_ours(path):
        return False
    content = experiment_of(conf, study, overrides)
    lines = ["# @package _global_", "", f"# dvc exp run -S experiment={study}", f"# {found}"]
    for key, value in content.items():
        inline = None if isinstance(value, dict) else False  # as the other files of conf/ have it
        lines += yaml.safe_dump({key: value}, sort_keys=False, width=1000, default_flow_style=inline).splitlines()
    lines[1] = MARK + _check(lines)
    text = "\n".join(lines) + "\n"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if text != before:
        write_whole(path, text)
    both = (compose(conf, given)[0] for given in ([f"experiment={study}"], list(overrides)))
    made, wanted = ({section: value for section, value in params.items() if section not in APART} for params in both)
    if made != wanted:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
        raise ConfigError(f"{path}: cannot say what {' '.join(overrides)} give; take these overrides themselves")
    return True


def experiment_of(conf: Path, study: str, overrides: Sequence[str]) -> dict[str, Any]:
    wanted, choices = compose(conf, list(overrides))
    groups = {group: option for group, option in choices.items() if group not in APART}
    _, usual = compose(conf, ["~experiment"])  # whose place the file takes
    chosen = {group: option for group, option in groups.items() if option != usual.get(group)}
    base, _ = compose(conf, ["~experiment", *(f"{group}={option}" for group, option in groups.items())])
    content: dict[str, Any] = {"experiment": {"name": study}}
    if chosen:
        content["defaults"] = [{f"override /{group}": option} for group, option in chosen.items()]
    for section, value in wanted.items():
        if section not in APART and (changed := _changed(base[section], value)) is not None:
            content[section] = changed
    return content


def _changed(here: Any, there: Any) -> Any:
    """What of `there` is not as it is `here`; of dicts key by key. None where nothing is."""
    if not isinstance(here, dict) or not isinstance(there, dict):
        return there if here != there else None
    changed: dict[str, Any] = {}
    for key, value in there.items():
        if key not in here or (here[key] != value and value is None):
            changed[key] = value
        elif (inner := _changed(here[key], value)) is not None:
            changed[key] = inner
    return changed or None


def _check(lines: Sequence[str]) -> str:
    """Of all lines but the second, which holds it."""
    return hashlib.sha256("\n".join([lines[0], *lines[2:]]).encode()).hexdigest()[:16]
