"""Values that say `auto`, and the file that has a value for each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from seg.configure.compose import compose
from seg.core.environment import conf_folder
from seg.core.errors import ConfigError
from seg.settings.planned import (
    ALWAYS,
    EXAMPLES,
    OF_NETWORK,
    READ,
    SECTIONS,
    PlanFile,
    filled,
    merged,
    open_keys,
    params_of,
    read_plan,
    refuse_open,
    settings_digest,
    with_examples,
    with_value,
    write_plan,
)
from seg.settings.section import Params, value_at

Compose = Callable[..., Params]
UNET = {"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnet18"}
SGD = {"name": "sgd", "_target_": "torch.optim.SGD", "momentum": 0.9, "lr": 0.05}
VALUES: Params = {
    "plan": {"minutes": 30.0, "pretrained": True},
    "model": {
        "name": "unet",
        "network": UNET,
        "adapter": None,
        "stride": 32,
        "scale": 0.5,
        "window": None,
        "normalization": "imagenet",
        "weights": "imagenet",
    },
    "loss": {"name": "ce", "_target_": "seg.models.losses.CrossEntropy"},
    "optimizer": SGD,
    "scheduler": {"name": "onecycle", "_target_": "torch.optim.lr_scheduler.OneCycleLR", "pct_start": 0.15},
    "trainer": {"precision": "bf16-mixed", "batch_size": 8, "max_epochs": 30, "epoch_steps": 50},
    "augment": {"crop": {"size": [256, 256], "foreground": 0.33}, "transforms": [{"_target_": "albumentations.HorizontalFlip", "p": 0.5}]},
    "evaluate": {"batch_size": 4},
}
REASONS = dict.fromkeys(
    [
        *("plan.minutes", "plan.pretrained", "model.scale", "trainer.batch_size", "augment.crop", "model.window", "augment.transforms"),
        *("augment.copy_paste.p", "loss", "model.adapter", "model.network", "model.name", "model.stride"),
        *("model.weights", "model.normalization"),
        *(
            "trainer.precision",
            "optimizer",
            "optimizer.lr",
            "scheduler",
            "trainer.epoch_steps",
            "trainer.max_epochs",
            "evaluate.batch_size",
        ),
    ],
    "because: so — ü",
)
PLAN = PlanFile({"task": "semantic", "data": "d", "settings": "s"}, with_value(VALUES, "augment.copy_paste", {"p": 0.0}), REASONS)


@pytest.fixture(scope="module")
def composed() -> Compose:
    """conf/ with overrides; groups are composed once, as that takes long, and nobody changes them."""
    known: dict[tuple[str, ...], Params] = {}

    def of(*overrides: str) -> Params:
        groups = tuple(o for o in overrides if "." not in o.partition("=")[0])
        if groups not in known:
            known[groups] = compose(conf_folder(ROOT), list(groups))[0]
        params = known[groups]
        for key, _, value in (o.partition("=") for o in overrides if o not in groups):
            params = with_value(params, key, yaml.safe_load(value))
        return params

    return of


def autos(node: Any, key: str = "") -> list[str]:
    """Every key whose value is `auto`."""
    if isinstance(node, dict):
        return [found for name, child in node.items() for found in autos(child, f"{key}.{name}" if key else name)]
    return [key] if node == "auto" else []


def test_each_planned_value_of_conf_is_open(composed: Compose) -> None:
    """And an `auto` of conf/ that is not open is another stage's word, or a part of a section that is open."""
    params = composed()
    wanted = open_keys(params)
    assert set(EXAMPLES) - set(wanted) == {"task.metrics.max_detections", "task.monitor"}
    assert set(open_keys(composed("task=instance"))) == set(EXAMPLES) | set(OF_NETWORK) | {"trainer.effective_batch_size"}
    others = {key for key in autos(params) if key not in wanted and key.rpartition(".")[0] not in wanted}
    of_training = {"trainer.accelerator", "trainer.strategy", "trainer.sync_batchnorm"}
    assert {key for key in others if key.partition(".")[0] in READ} == of_training | {"trainer.name", "augment.name"}


def test_nested_keys_come_after_what_they_lie_in(composed: Compose) -> None:
    wanted = open_keys(composed())
    assert wanted.index("optimizer") < wanted.index("optimizer.lr")
    assert all(wanted.index("model.network") < wanted.index(key) for key in OF_NETWORK)


@pytest.mark.parametrize(
    ("overrides", "gone"),
    [
        (["optimizer=adamw"], {"optimizer", "optimizer.lr"}),
        (["optimizer.lr=0.1"], {"optimizer.lr"}),
        (["trainer.max_epochs=3"], {"trainer.max_epochs"}),
        (["loss=dice"], {"loss"}),
        (["trainer.batch_size=4"], {"trainer.batch_size", "trainer.effective_batch_size"}),
        (["trainer.effective_batch_size=32"], {"trainer.batch_size", "trainer.effective_batch_size"}),
        (["model=unet_small"], {*(k for k in EXAMPLES if k.startswith("model.") and k != "model.window"), *OF_NETWORK}),
        (["model=unet_small", "trainer.max_epochs=3"], {"trainer.max_epochs", "trainer.precision", *OF_NETWORK}),
        (["augment=light"], {"augment.transforms", "augment.copy_paste.p"}),
        (["augment.crop=null", "model.window=null"], {"augment.crop", "model.window"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_person_set_is_not_open(overrides: list[str], gone: set[str], composed: Compose) -> None:
    before, after = set(open_keys(composed())), set(open_keys(composed(*overrides)))
    assert after <= before
    assert before - after >= gone
    assert all(key.startswith("model.") for key in before - after - gone)


def test_a_single_argument_of_a_network_may_be_open(composed: Compose, tmp_path: Path) -> None:
    params = composed("task=instance", "model=mask_rcnn_small", "model.network.anchor_sizes=auto", "model.window=null")
    wanted = open_keys(params)
    assert "model.network.anchor_sizes" in wanted
    assert "model.network" not in wanted
    assert "model.network.aspect_ratios" not in wanted
    assert with_examples(params)["model"]["network"]["anchor_sizes"] == []
    with pytest.raises(ConfigError, match=r"^model\.network\.anchor_sizes=auto: there is no .*plan\.yaml; run `dvc repro plan`, or set"):
        refuse_open(params, ("model",), tmp_path / "plan.yaml")


def test_without_a_plan_images_are_seen_whole_where_all_else_is_set(composed: Compose, tmp_path: Path) -> None:
    given = composed("experiment=shapes", "augment.crop=auto", "model.window=auto", "evaluate.batch_size=auto")
    found = filled(given, tmp_path / "plan.yaml")
    assert (found["augment"]["crop"], found["model"]["window"], found["evaluate"]["batch_size"]) == (None, None, 1)
    refuse_open(found, ("augment", "model", "evaluate"), tmp_path / "plan.yaml")
    rest = filled(composed(), tmp_path / "plan.yaml")
    assert (rest["model"]["network"], rest["trainer"]["epoch_steps"]) == ("auto", "auto")


def test_minutes_alone_plan_nothing() -> None:
    assert open_keys({"plan": {"minutes": "auto", "pretrained": "auto", "keep": False}, "model": {"scale": 1.0}}) == []


def test_examples_leave_nothing_open_but_what_training_decides(composed: Compose) -> None:
    params = composed()
    shown = with_examples(params)
    assert open_keys(shown) == []
    assert shown["trainer"]["precision"] == "auto"
    assert shown["optimizer"]["lr"] == 0.1
    assert shown["seed"] == params["seed"]
    assert params["model"]["network"] == "auto"  # untouched
    assert with_examples(composed("optimizer.lr=0.7"))["optimizer"]["lr"] == 0.7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_plan(tmp_path / "plan.yaml", PLAN)
    return tmp_path / "plan.yaml"


def test_a_plan_fills_what_is_open(path: Path, composed: Compose) -> None:
    params = composed()
    found = filled(params, path)
    for key in REASONS:
        assert value_at(found, key) == (SGD if key == "optimizer" else value_at(PLAN.values, key))
    assert found["planned"] == REASONS
    assert found["trainer"]["effective_batch_size"] is None
    assert found["augment"]["preview"] == params["augment"]["preview"]
    refuse_open(found, ("task", "model", "loss", "optimizer", "scheduler", "trainer", "augment", "evaluate"), path)


def test_a_person_s_values_stay(path: Path, composed: Compose) -> None:
    found = filled(composed("optimizer.lr=0.7", "model.scale=0.25", "loss.label_smoothing=0.1", "trainer.batch_size=2"), path)
    assert found["optimizer"] == SGD | {"lr": 0.7}
    assert (found["model"]["scale"], found["trainer"]["batch_size"]) == (0.25, 2)
    assert found["loss"] == VALUES["loss"] | {"label_smoothing": 0.1}
    assert not {"optimizer.lr", "model.scale", "trainer.batch_size"} & found["planned"].keys()


def test_epochs_that_a_person_set_are_passes(path: Path, composed: Compose) -> None:
    found = filled(composed("trainer.max_epochs=7"), path)
    assert (found["trainer"]["max_epochs"], found["trainer"]["epoch_steps"]) == (7, None)
    assert "trainer.epoch_steps" not in found["planned"]
    assert filled(composed("trainer.max_epochs=7", "trainer.epoch_steps=9"), path)["trainer"]["epoch_steps"] == 9


def test_params_of_takes_no_more_than_is_wanted(composed: Compose) -> None:
    found = params_of(composed(), ["model.scale", "task.metrics.max_detections"], PLAN)
    assert found["planned"] == {"model.scale": REASONS["model.scale"]}
    assert (found["model"]["scale"], found["model"]["stride"]) == (0.5, "auto")


def test_where_there_is_no_plan_values_stay_open(tmp_path: Path, composed: Compose) -> None:
    params, path = composed(), tmp_path / "plan.yaml"
    left = {key for key in open_keys(filled(params, path)) if key in EXAMPLES}
    assert left == {key for key in open_keys(params) if key in EXAMPLES} - {*ALWAYS} | {"trainer.epoch_steps"}
    with pytest.raises(ConfigError) as error:
        refuse_open(params, ("trainer", "paths"), path)
    assert str(error.value) == (f"trainer.precision=auto: there is no {path}; run `dvc repro plan`, or set trainer.precision yourself")
    refuse_open(params, ("paths", "seed"), path)


def test_a_value_that_the_plan_lacks_is_named(path: Path, composed: Compose) -> None:
    write_plan(path, PlanFile(PLAN.made_for, PLAN.values, {k: v for k, v in REASONS.items() if k != "model.scale"}))
    with pytest.raises(
        ConfigError, match=rf"^model\.scale=auto: {path} has no value for it; run `dvc repro plan`, or set model\.scale yourself$"
    ):
        refuse_open(filled(composed(), path), ("model",), path)


def test_a_plan_of_another_task_is_refused(path: Path, composed: Compose) -> None:
    with pytest.raises(ConfigError, match="was made for task=semantic, but task=instance; run `dvc exp run -S task=instance`"):
        filled(composed("task=instance"), path)


def test_nothing_open_reads_no_plan(path: Path) -> None:
    path.write_text("{")
    params = {"model": {"scale": 1.0}}
    assert filled(params, path) is params


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1, 2]",
        b"made_for: {}",
        b"{",
        b"\xff\xfe",
        b"made_for: {}\nreasons: []",
        b"made_for: {}\nreasons: {}\nmodel: 3",
        b"just words",
    ],
)
def test_a_damaged_plan_is_one_line(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_plan(path)
    said = str(error.value)
    assert said.startswith(f"{path}: is not a plan (")
    assert said.endswith("); delete it, then run `dvc repro plan`")
    assert "\n" not in said


def test_a_plan_is_read_as_it_was_written(path: Path) -> None:
    assert read_plan(path) == PlanFile(PLAN.made_for, {name: PLAN.values.get(name, {}) for name in SECTIONS}, PLAN.reasons)
    before = path.read_bytes()
    write_plan(path, read_plan(path))
    assert path.read_bytes() == before
    assert before.startswith(b"# Written by `seg plan`")


def test_sections_are_always_there(path: Path) -> None:
    """dvc.yaml names them."""
    write_plan(path, PlanFile({"task": "semantic"}, {}, {}))
    content = yaml.safe_load(path.read_text())
    assert {name: content[name] for name in SECTIONS} == {name: {} for name in SECTIONS}


@pytest.mark.parametrize("section", READ)
def test_digest_of_the_settings_moves_with_what_a_plan_reads(section: str, composed: Compose) -> None:
    params = composed()
    assert settings_digest({**params, section: {**params[section], "further": 1}}) != settings_digest(params)


def test_digest_of_the_settings_moves_with_nothing_else(composed: Compose) -> None:
    params = composed()
    for section in sorted(set(params) - {*READ, "evaluate"}):
        assert settings_digest({**params, section: "other"}) == settings_digest(params)
    assert settings_digest(with_value(params, "evaluate.batch_size", 3)) != settings_digest(params)
    assert settings_digest(with_value(params, "evaluate.score_threshold", 0.123)) == settings_digest(params)
    assert settings_digest(with_value(params, "plan.keep", True)) == settings_digest(params)
    assert settings_digest(with_value(params, "plan.minutes", 3.0)) != settings_digest(params)


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("auto", {"name": "a"}, {"name": "a"}),
        ({"name": "auto", "_target_": "auto", "lr": "auto"}, SGD, SGD),
        ({"name": "auto", "_target_": "auto", "lr": 1.0}, SGD, SGD | {"lr": 1.0}),
        ({"name": "auto", "_target_": "auto", "decay": 2}, SGD, SGD | {"decay": 2}),
        ({"name": "auto", "_target_": "auto", "fused": "auto"}, SGD, SGD | {"fused": "auto"}),
        ({"a": 1}, 3, 3),
        (None, 3, 3),
    ],
    ids=str,
)
def test_merged_keeps_what_a_person_set(before: Any, value: Any, after: Any) -> None:
    assert merged(before, value) == after


def test_values_at_keys() -> None:
    params: Params = {"a": {"b": {"c": 1}}, "d": 2}
    assert [value_at(params, key) for key in ("a.b.c", "d", "a.x.c", "d.e", "z")] == [1, 2, None, None, None]
    changed = with_value(params, "a.b.e", 3)
    assert changed == {"a": {"b": {"c": 1, "e": 3}}, "d": 2}
    assert with_value({"a": "auto"}, "a.b", 1) == {"a": {"b": 1}}
    assert params == {"a": {"b": {"c": 1}}, "d": 2}
