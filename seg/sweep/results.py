"""The trials of a study as a table on the console, as trials.csv, and what each key seems to matter."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg.report.tables import write_rows
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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines + ([f"and {len(ranked) - SHOWN} more, in trials.csv"] if len(ranked) > SHOWN else [])


def importances(trials: Trials) -> dict[str, float]:
    """The share of each key in what decides whether a trial is a good one (PED-ANOVA, Watanabe et al. 2023); none of few trials."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    done = [t for t in trials.all() if t.state.name == "COMPLETE"]
    if len(done) < ENOUGH or len(trials.space) < 2 or len({t.value for t in done}) < 2:
        return {}
    return get_param_importances(trials.study, evaluator=PedAnovaImportanceEvaluator())
