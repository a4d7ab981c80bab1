"""The stage `plan` on a prepared data set."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from scripts import lines_of

from seg.configure.compose import compose
from seg.core.environment import conf_folder
from seg.core.errors import DataError
from seg.data.store import read_info
from seg.plan import costs, planner
from seg.plan.rules.length import Cost
from seg.settings.planned import FILE, SECTIONS, filled, read_plan, refuse_open, settings_digest, with_examples, with_value
from seg.settings.section import Params, value_at
from seg.stages import plan as stage
from seg.training.settings import TrainingSettings

TASKS = ("semantic", "instance")


@pytest.fixture(scope="module")
def composed(prepared: Path) -> dict[str, Params]:
    return {
        task: compose(conf_folder(ROOT), [f"task={task}", f"paths.prepare={prepared}", "plan.minutes=0.01", "trainer.accelerator=cpu"])[0]
        for task in TASKS
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, in which no plan is kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEG_SCRATCH", raising=False)
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No step is timed: each takes as many seconds as its network's encoder has letters; those that were asked for are listed."""
    timed: list[str] = []

    def measure(params: Params, info: Any, samples: Any, precision: str, device: Any, devices: int) -> Cost:
        assert "auto" not in (params["model"]["network"], params["model"]["scale"], params["augment"]["crop"])
        timed.append(f"{params['model']['network']['encoder_name']} {precision}")
        return Cost(0.01 * len(params["model"]["network"]["encoder_name"]), 0.01, 1e6)

    monkeypatch.setattr(planner, "measure", measure)
    monkeypatch.setattr(planner, "busy_share", lambda: 0.0)
    return timed


def run(params: Params, out: Path) -> bytes:
    stage.run(stage.Settings.of(params), out)
    return (out / FILE).read_bytes()


def test_the_plan_that_the_project_brings_is_of_its_rules_and_settings() -> None:
    """Else the first `dvc repro` would make another; `seg plan -cn pipeline`, on a machine that does nothing else, makes it anew."""
    made_for = read_plan(ROOT / FILE).made_for
    assert made_for["rules"] == stage.rules_digest()
    assert made_for["settings"] == settings_digest(compose(conf_folder(ROOT), [])[0])


@pytest.mark.parametrize("task", TASKS)
def test_a_plan_is_measured_and_trains(
    task: str,
    composed: dict[str, Params],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if task == "instance":  # whose steps take long; a slow test times them
        request.getfixturevalue("quick")
    monkeypatch.setattr(costs, "SECONDS", 0.0)
    params = composed[task]
    run(params, project)
    found = filled(params, project / FILE)
    refuse_open(found, (*TrainingSettings.model_fields, "augment", "evaluate"), project / FILE)
    cfg = TrainingSettings.of(found)
    assert (cfg.model.scale, cfg.model.window, cfg.model.weights) == (1.0, None, None)  # 48 x 48 pixels
    assert cfg.trainer.batch_size == 4
    assert cfg.trainer.precision == "auto"  # of the drawn example, whose plan goes to machines of every kind
    assert cfg.trainer.epoch_steps is not None
    assert cfg.trainer.epoch_steps * cfg.trainer.max_epochs == pytest.approx(100, rel=0.2)
    plan = read_plan(project / FILE)
    assert list(plan.values) == list(SECTIONS)
    if task == "instance":  # 0.08 s at first, 1.8 times as long once proposals find objects
        assert " steps of 0.14 s " in plan.reasons["trainer.epoch_steps"]
    assert plan.reasons["plan.pretrained"] == "the drawn example learns in minutes from scratch"
    assert "plan.minutes" not in plan.reasons  # which is set
    printed = capsys.readouterr().out
    for key, reason in plan.reasons.items():
        assert f"\n{key} = {stage.shown(value_at(plan.values, key))}\n" in f"\n{printed}"
        assert reason.split()[0] in printed
    assert f"{project / FILE}: {len(plan.reasons)} values; set one yourself" in printed


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_training_goes_by_a_plan(task: str, composed: dict[str, Params], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of the planned network on planned augmentations, in one epoch as a person set it."""
    from seg.stages import augment, train

    monkeypatch.setattr(costs, "SECONDS", 0.0)
    params = with_value(composed[task], "trainer.max_epochs", 1)
    for key, value in {"trainer.batch_size": 3, "paths.augment": "augmented", "runtime.progress": "none", "runtime.workers": 0}.items():
        params = with_value(params, key, value)
    run(params, project)
    found = filled(params, project / FILE)
    augment.run(augment.Settings.of(found), project / "augmented")
    assert 0 <= train.run(TrainingSettings.of(found), project / "trained") <= 1
    assert (project / "trained/best.ckpt").is_file()


def test_keep_leaves_a_plan_alone_and_brings_former_ones_back(
    composed: dict[str, Params], project: Path, quick: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    keep = with_value(composed["semantic"], "plan.keep", True)
    other = with_value(keep, "plan.minutes", 0.5)
    first = run(keep, project)
    timed = len(quick)
    assert timed
    assert run(keep, project) == first
    assert len(quick) == timed
    assert "plan.yaml: stays, as it was made for these data and settings" in capsys.readouterr().out
    second = run(other, project)
    assert second != first
    assert len(quick) > timed
    timed = len(quick)
    assert run(keep, project) == first
    assert "plan.yaml: is again the one that was made for these data and settings" in capsys.readouterr().out
    (project / FILE).unlink()  # as DVC may do
    assert run(other, project) == second
    assert len(quick) == timed
    assert read_plan(project / FILE).made_for["settings"] == settings_digest(other)
    run(with_value(keep, "plan.keep", False), project)  # by hand: anew
    assert len(quick) > timed


def test_another_machine_makes_no_other_plan(
    composed: dict[str, Params], project: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is slower, has less memory, and knows of no kept plan."""
    keep = with_value(composed["semantic"], "plan.keep", True)
    first = run(keep, project)
    shutil.rmtree(stage.kept_plans(project))
    monkeypatch.setattr(planner, "measure", lambda *_: Cost(5.0, 1.0, 1e9))
    monkeypatch.setattr(planner, "available_memory", lambda: 1 << 20)
    assert run(keep, project) == first
    assert run(with_value(keep, "plan.keep", False), project) != first  # by hand: anew


def test_a_plan_of_other_data_or_rules_is_not_kept(
    composed: dict[str, Params], project: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = with_value(composed["semantic"], "plan.keep", True)
    run(keep, project)
    for name in ("rules_digest", "settings_digest"):
        timed = len(quick)
        monkeypatch.setattr(stage, name, lambda *_: "other")
        run(keep, project)
        assert len(quick) > timed


def test_a_person_s_values_stay_and_have_no_reason(composed: dict[str, Params], project: Path, quick: list[str]) -> None:
    params = composed["semantic"]
    for key, value in {"optimizer.lr": 0.7, "model.scale": 1, "trainer.max_epochs": 3, "augment.transforms": []}.items():
        params = with_value(params, key, value)
    run(params, project)
    plan, found = read_plan(project / FILE), filled(params, project / FILE)
    assert not {"optimizer.lr", "model.scale", "trainer.max_epochs", "augment.transforms"} & plan.reasons.keys()
    assert (found["optimizer"]["lr"], found["optimizer"]["_target_"]) == (0.7, "torch.optim.SGD")
    assert (found["model"]["scale"], found["trainer"]["max_epochs"], found["trainer"]["epoch_steps"]) == (1, 3, None)
    assert found["augment"]["transforms"] == []
    TrainingSettings.of(found)


def test_the_larger_network_is_taken_where_the_time_allows(composed: dict[str, Params], project: Path, quick: list[str]) -> None:
    """ResNet-18 has 8 letters: 0.08 s a step, so 1800 steps and 15 passes take 2.8 minutes."""
    chosen = {}
    for minutes in (2.0, 4.0):
        run(with_value(composed["semantic"], "plan.minutes", minutes), project)
        plan = read_plan(project / FILE)
        chosen[minutes] = plan.values["model"]["network"]["encoder_name"], plan.values["model"]["stride"]
        assert "ResNet-18 takes 0.08 s a step" in plan.reasons["model.network"]
        assert len(quick) == len(set(quick))  # each once
        quick.clear()
    assert chosen == {2.0: ("tu-resnet10t", 16), 4.0: ("resnet18", 32)}


@pytest.mark.parametrize(("busy", "said"), [(0.8, True), (0.2, False)])
def test_a_busy_machine_is_told(
    busy: float,
    said: bool,
    composed: dict[str, Params],
    project: Path,
    quick: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(planner, "busy_share", lambda: busy)
    run(composed["semantic"], project)
    assert capsys.readouterr().out.count("plan: other programs take 80% of the processors, so a step takes longer") == said


@pytest.mark.parametrize(("fast", "plain", "chosen"), [(0.8, 1.0, "bf16-mixed"), (0.97, 1.0, "32-true"), (2.0, 1.0, "32-true")])
def test_the_quicker_precision_is_taken(
    fast: float, plain: float, chosen: str, composed: dict[str, Params], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "read_info", lambda folder: replace(read_info(folder), settings={}))  # as data that are not drawn
    monkeypatch.setattr(planner, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(planner, "measure", lambda *arguments: Cost(fast if arguments[3] == "bf16-mixed" else plain, 0.1, 1.0))
    run(composed["semantic"], project)
    plan = read_plan(project / FILE)
    assert plan.values["trainer"]["precision"] == chosen
    assert plan.reasons["trainer.precision"] == f"a step takes {fast:.2g} s in bf16-mixed and {plain:.2g} s in 32-true"
    monkeypatch.setattr(planner, "has_fast_bf16", lambda device: False)
    run(composed["semantic"], project)
    assert read_plan(project / FILE).values["trainer"]["precision"] == "32-true"


def test_weights_of_the_project_are_taken_with_their_normalisation(composed: dict[str, Params], project: Path, quick: list[str]) -> None:
    (project / "weights").mkdir()
    (project / "weights/tu-resnet10t.pt").touch()
    run(composed["semantic"], project)
    plan = read_plan(project / FILE)
    assert (plan.values["model"]["weights"], plan.values["model"]["normalization"]) == ("weights/tu-resnet10t.pt", "imagenet")
    assert "a pretrained start" in plan.reasons["optimizer.lr"]
    assert plan.values["optimizer"]["lr"] == round(0.25 * 0.3 * plan.values["trainer"]["batch_size"] / 4, 3)


ALL_SET = """
import json, sys
from pathlib import Path
from seg.stages.plan import Settings, run
run(Settings.of(json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
print("torch" in sys.modules)
"""


def test_where_all_is_set_sections_are_empty_and_torch_is_not_imported(composed: dict[str, Params], project: Path) -> None:
    (project / "params.json").write_text(json.dumps(with_examples(composed["semantic"])))
    lines = lines_of(project, ALL_SET, str(project / "params.json"), str(project), fresh=True)
    assert lines == ["plan.yaml: nothing is left to plan; all values are set", "False"]
    plan = read_plan(project / FILE)
    assert plan.values == {name: {} for name in SECTIONS}
    assert plan.reasons == {}


def changed_data(prepared: Path, folder: Path, **changed: Any) -> Path:
    """The same data set, of which dataset.json says something else."""
    folder.mkdir()
    for part in prepared.iterdir():
        if part.name != "dataset.json":
            (folder / part.name).symlink_to(part)
    content = json.loads((prepared / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(content | changed))
    return folder


def test_data_that_cannot_be_planned_for(composed: dict[str, Params], prepared: Path, project: Path) -> None:
    splits = json.loads((prepared / "dataset.json").read_text())["splits"]
    empty = changed_data(prepared, project / "empty", splits=splits | {"train": splits["train"] | {"num_images": 0}})
    with pytest.raises(DataError, match=r"empty: the training split has no image; set data\.split so that it has some"):
        run(with_value(composed["semantic"], "paths.prepare", str(empty)), project)
    pixels = changed_data(prepared, project / "pixels", task="semantic")
    with pytest.raises(DataError, match="has no instances, which task=instance learns; set task=semantic"):
        run(with_value(composed["instance"], "paths.prepare", str(pixels)), project)
    without = changed_data(prepared, project / "without")
    (without / "train").unlink()
    (without / "train").mkdir()
    for part in (prepared / "train").iterdir():
        (without / "train" / part.name).symlink_to(part)
    annotations = json.loads((prepared / "train/instances.json").read_text())
    (without / "train/instances.json").unlink()
    (without / "train/instances.json").write_text(json.dumps(annotations | {"annotations": []}))
    with pytest.raises(DataError, match=r"without: the training split has no object; set data\.split so that it has some, or task=sem"):
        run(with_value(composed["instance"], "paths.prepare", str(without)), project)
    assert not (project / FILE).exists()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (0.5, "0.5"),
        ([256, 256], "[256, 256]"),
        ([[4], [8]], "[[4], [8]]"),
        ({"size": [1, 2], "foreground": 0.33}, "size [1, 2], foreground 0.33"),
        ({"_target_": "segmentation_models_pytorch.Unet", "encoder_name": "resnet18", "depth": 5}, "Unet on resnet18"),
        ([{"_target_": "albumentations.HorizontalFlip", "p": 0.5}, {"_target_": "albumentations.Affine"}], "HorizontalFlip, Affine"),
        ([], "[]"),
    ],
    ids=str,
)
def test_values_as_they_are_shown(value: Any, shown: str) -> None:
    assert stage.shown(value) == shown


def test_names_of_kept_plans() -> None:
    given = {"task": "semantic", "data": "d", "settings": "s", "rules": "r"}
    names = {stage.digest_of(given | {key: "other"}) for key in given} | {
        stage.digest_of(given),
        stage.digest_of(dict(reversed(given.items()))),
    }
    assert len(names) == 5
    assert stage.digest_of(dict(reversed(given.items()))) == stage.digest_of(given)
