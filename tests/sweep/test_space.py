"""sweep.space: what is read from it, and what a slip is answered with."""

from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from conftest import ROOT, MakeConfig

from seg.core.errors import ConfigError
from seg.sweep import space
from seg.sweep.space import Choice, Range, check_overrides, check_space, most_epochs, overrides_of, read_space, rows

CONF = ROOT / "conf"


def test_ranges_choices_and_nested_keys() -> None:
    space = read_space(
        {
            "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
            "model": ["unet_small", "unet"],
            "trainer": {"batch_size": {"low": 4, "high": 16, "step": 4}, "patience": [None, 3]},
            "model.network.decoder_channels": [[64, 32], [32, 16]],
        }
    )
    assert space == [
        Range("optimizer.lr", 1e-4, 0.1, None, True),
        Choice("model", ("unet_small", "unet")),
        Range("trainer.batch_size", 4, 16, 4, False),
        Choice("trainer.patience", ("null", "3")),
        Choice("model.network.decoder_channels", ("[64,32]", "[32,16]")),
    ]


def test_what_a_trial_draws_is_written_as_overrides() -> None:
    space = read_space(
        {"optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True}, "seed": {"low": 2, "high": 8, "step": 3}, "model": ["a", "b"]}
    )
    drawn: Any = SimpleNamespace(
        suggest_float=lambda key, low, high, step, log: 0.012345678901,
        suggest_int=lambda key, low, high, step, log: high,
        suggest_categorical=lambda key, texts: texts[1],
    )
    assert overrides_of(space, drawn) == ["optimizer.lr=0.0123457", "seed=8", "model=b"]


def test_whole_numbers_stay_whole_and_within_their_steps() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    (dimension,) = read_space({"trainer.batch_size": {"low": 4, "high": 16, "step": 4}})
    assert {dimension.suggest(study.ask()) for _ in range(40)} == {"4", "8", "12", "16"}


def test_the_most_epochs_of_any_trial() -> None:
    assert most_epochs(read_space({"trainer.max_epochs": {"low": 2, "high": 9}}), 5) == 9
    assert most_epochs(read_space({"trainer.max_epochs": [20, 3]}), 5) == 20
    assert most_epochs(read_space({"seed": [1, 2]}), 5) == 5


@pytest.mark.parametrize(
    ("section", "answer"),
    [
        (None, "sweep.space is empty: say what may vary"),
        ({}, "sweep.space is empty: say what may vary"),
        ({"optimizer.lr": 0.1}, "sweep.space.optimizer.lr=0.1: expected a list of choices, or a range such as {low: 0.1, high: 1.0}"),
        ({"optimizer.lr": []}, "sweep.space.optimizer.lr=[]: expected a list of choices"),
        ({"optimizer.lr": {"lwo": 1, "hihg": 2}}, "sweep.space.optimizer.lr.lwo=1: expected a list of choices, or a range such as"),
        ({"optimizer.lr": {"lwo": 1, "hihg": 2}}, "did you mean 'low'?"),
        ({"optimizer.lr": {"low": 1, "hihg": 2}}, "unknown key sweep.space.optimizer.lr.hihg: did you mean 'high'?"),
        ({"optimizer.lr": {"low": 1}}, "sweep.space.optimizer.lr.high is missing"),
        ({"optimizer.lr": {"low": "a", "high": 2}}, "sweep.space.optimizer.lr.low='a': expected"),
        ({"optimizer.lr": {"low": 2, "high": 1}}, "expected low below high"),
        ({"optimizer.lr": {"low": 0, "high": 1, "log": True}}, "expected low above 0 where log is true"),
        ({"optimizer.lr": {"low": 1, "high": 2, "log": True, "step": 1}}, "expected either step or log"),
        ({"optimizer.lr": {"low": 0.1, "high": 0.4, "step": 0.2}}, "expected high to be a number of steps from low"),
        ({"model": ["unet", "unet"]}, "sweep.space.model=['unet', 'unet']: has a choice twice"),
        ({"optimizer.lr": [1, 2], "optimizer": {"lr": [3]}}, "sweep.space.optimizer.lr: is there twice"),
    ],
)
def test_a_slip_in_the_space(section: Any, answer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_space(section)
    assert answer in str(caught.value)
    assert "\n" not in str(caught.value)


def test_steps_that_binary_numbers_miss_are_steps_all_the_same() -> None:
    assert read_space({"loss.label_smoothing": {"low": 0.0, "high": 0.3, "step": 0.1}})


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        (["model=unet,fcn"], "model=unet,fcn: a sweep's choices stand in sweep.space, as in 'sweep.space={model: [...]}'"),
        (["~loss.label_smoothing"], "~loss.label_smoothing: an experiment, as which the best trial is kept, can only set keys"),
        (["hydra.run.dir=x"], "hydra.run.dir=x: seg sweep sets it for each trial"),
        (["optimizer.lr=0.1"], "optimizer.lr=0.1: optimizer.lr varies in sweep.space; leave it out here or there"),
    ],
)
def test_overrides_that_no_trial_can_keep(overrides: list[str], answer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_overrides(["seed=1", *overrides], read_space({"optimizer.lr": [0.1, 0.2]}))
    assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("section", "fixed", "answer"),
    [
        ({"optimizer.lrr": [1, 2]}, [], "unknown key optimizer.lrr: did you mean 'lr'?"),
        (
            {"optimzer.lr": [1, 2]},
            [],
            "sweep.space.optimzer.lr: trials differ in what a training reads; expected",
        ),
        ({"augment": ["light", "none"]}, [], "sweep.space.augment: trials differ in what a training reads"),
        ({"task": ["semantic", "instance"]}, [], "sweep.space.task: trials differ in what a training reads"),
        ({"model": ["unte", "unet"]}, [], "model=unte: no such option; did you mean 'unet'?"),
        pytest.param(
            {"model": ["unet", "mask_rcnn"]}, [], "model=mask_rcnn: is for task=instance, but task=semantic", marks=pytest.mark.slow
        ),
        pytest.param(
            {"trainer.batch_size": {"low": 0, "high": 8}}, [], "trainer.batch_size=0: expected greater than 0", marks=pytest.mark.slow
        ),
        pytest.param(
            {"trainer.batch_size": {"low": 0.5, "high": 8}}, [], "trainer.batch_size=0.5: expected integer", marks=pytest.mark.slow
        ),
        pytest.param(
            {"loss.label_smoothing": {"low": 0.0, "high": 1.0}},
            ["loss=ce"],
            "loss.label_smoothing=1.0: expected less than 1",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"optimizer": ["sgd", "adamw"], "optimizer.momentum": [0.5, 0.9]}, [], "unknown key optimizer.momentum", marks=pytest.mark.slow
        ),
        pytest.param({"optimizer.momentum": [0.5, 0.9]}, ["optimizer=adamw"], "unknown key optimizer.momentum", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_what_no_training_takes_is_refused(section: Any, fixed: list[str], answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(space, "check_signatures", seen.append if "label" not in str(section) else space.check_signatures)
    with pytest.raises(ConfigError) as caught:
        check_space(CONF, read_space(section), fixed)
    assert answer in str(caught.value)


def test_every_combination_of_options_is_composed_with_every_value() -> None:
    space = read_space(
        {"model": ["unet", "fcn"], "optimizer": ["sgd", "adamw"], "optimizer.lr": {"low": 0.1, "high": 0.3}, "seed": [1, 2, 3]}
    )
    found = rows(CONF, space)
    assert {tuple(row[:2]) for row in found} == {(f"model={m}", f"optimizer={o}") for m in ("unet", "fcn") for o in ("sgd", "adamw")}
    assert {text for row in found for text in row[2:]} == {"optimizer.lr=0.1", "optimizer.lr=0.3", "seed=1", "seed=2", "seed=3"}
    assert len(found) == 4 * 3


def test_of_many_options_each_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "COMBINATIONS", 3)
    found = rows(CONF, read_space({"model": ["unet", "fcn", "fpn"], "optimizer": ["sgd", "adamw"]}))
    assert {text for row in found for text in row} == {"model=unet", "model=fcn", "model=fpn", "optimizer=sgd", "optimizer=adamw"}
    assert len(found) == 3


@pytest.mark.slow
def test_the_space_that_comes_with_the_project_is_one(make_config: MakeConfig) -> None:
    cfg = make_config("sweep=sgd")
    check_space(CONF, read_space(cfg.sweep.space), ["sweep=sgd", "optimizer=sgd", "scheduler=onecycle"])
    assert cfg.sweep.study == "sgd"
