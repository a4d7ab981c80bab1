"""A training that is a trial: what it reports, and when it ends."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import MakeConfig

from seg.training.watch.study import EPOCHS, PRUNED, Reporter, end_if_pruned, open_study, reporters, trial_of

MEDIAN = ("sweep.pruner.startup_trials=2", "sweep.pruner.warmup_epochs=1", "trainer.max_epochs=4")


def trainer_at(epoch: int, figure: float | None, reporter: Reporter) -> Any:
    """What the callback sees of Lightning's trainer at the end of an epoch, counted from 1."""
    strategy = SimpleNamespace(broadcast=lambda value: value, barrier=lambda: None)
    metrics = {"train_loss": torch.tensor(1.0)} | ({} if figure is None else {"val_miou": torch.tensor(figure)})
    return SimpleNamespace(
        current_epoch=epoch - 1,
        max_epochs=4,
        check_val_every_n_epoch=1,
        callback_metrics=metrics,
        is_global_zero=True,
        should_stop=False,
        strategy=strategy,
        callbacks=[reporter],
    )


def train(reporter: Reporter, figures: list[float | None]) -> int:
    """Epochs until the trainer is asked to stop."""
    for epoch, figure in enumerate(figures, start=1):
        trainer = trainer_at(epoch, figure, reporter)
        reporter.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
        if trainer.should_stop:
            return epoch
    return len(figures)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    return folder


def test_a_trial_below_the_median_ends_early_but_not_in_the_warm_up(folder: Path, make_config: MakeConfig) -> None:
    cfg = make_config(*MEDIAN, f"runtime.trial={folder}/trials/0")
    open_study(folder, cfg.sweep.pruner).set_user_attr(EPOCHS, 4)
    study = open_study(folder, cfg.sweep.pruner)
    for number, (figures, wanted) in enumerate(
        [
            ([0.5, 0.6, 0.7, 0.8], 4),
            ([0.4, 0.5, 0.6, 0.7], 4),
            ([0.1, 0.7, 0.7, 0.7], 4),  # bad in the warm-up alone
            ([0.1, 0.2, 0.9, 0.9], 2),  # still bad after it
            ([0.9, None, 0.9, 0.1], 4),  # an epoch without validation; and after the last epoch there is nothing to prune
        ]
    ):
        assert study.ask().number == number
        own = cfg.model_copy(update={"runtime": cfg.runtime.model_copy(update={"trial": f"{folder}/trials/{number}"})})
        (reporter,) = reporters(own)
        assert isinstance(reporter, Reporter)
        assert train(reporter, figures) == wanted, number
        told = next(t for t in study.get_trials(deepcopy=False) if t.number == number).intermediate_values
        said = {epoch: v for epoch, v in enumerate(figures[:wanted], start=1) if v is not None}
        assert told == pytest.approx(said)
        assert reporter.pruned == (wanted == 2)
        study.tell(number, None if reporter.pruned else max(told.values()), state=None if not reporter.pruned else _pruned())


def _pruned() -> Any:
    import optuna

    return optuna.trial.TrialState.PRUNED


def test_a_resumed_trial_may_report_an_epoch_again(folder: Path, make_config: MakeConfig) -> None:
    cfg = make_config(f"runtime.trial={folder}/trials/0")
    study = open_study(folder, cfg.sweep.pruner)
    study.ask()
    train(Reporter(cfg), [0.5, 0.6])
    train(Reporter(cfg), [0.5, 0.6, 0.7])
    assert trial_of(study, 0)._cached_frozen_trial.intermediate_values == pytest.approx({1: 0.5, 2: 0.6, 3: 0.7})


def test_a_pruned_training_ends_with_its_own_exit_code_and_leaves_nothing() -> None:
    reporter, cleared = Reporter.__new__(Reporter), []
    scratch: Any = SimpleNamespace(clear=lambda: cleared.append(True))
    trainer = trainer_at(2, 0.1, reporter)
    reporter.pruned = False
    end_if_pruned(trainer, scratch)
    assert not cleared
    reporter.pruned = True
    with pytest.raises(SystemExit) as ended:
        end_if_pruned(trainer, scratch)
    assert (ended.value.code, cleared) == (PRUNED, [True])
    trainer.is_global_zero = False
    with pytest.raises(SystemExit) as ended:
        end_if_pruned(trainer, scratch)
    assert (ended.value.code, cleared) == (0, [True])


def test_other_trainings_report_to_nobody(make_config: MakeConfig) -> None:
    assert reporters(make_config()) == []
