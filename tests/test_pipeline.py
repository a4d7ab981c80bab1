"""What reruns after what, with `dvc repro` and `dvc exp run` in a clone of the project.

Where a test is told what runs and is brought back, stubs stand for the stages after `configure`: what DVC decides, it decides by dvc.yaml.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from project import STAGES, Project, stages_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose pipeline has run once with stubs."""
    project = Project.clone(tmp_path_factory.mktemp("pipeline"))
    project.stub(*STAGES[1:])
    assert project.repro() == STAGES
    project.commit("first run")
    return project


@pytest.fixture
def project(stubbed: Project) -> Iterator[Project]:
    """The pipeline of stubs, up to date before and after each test."""
    yield stubbed
    stubbed.run("git", "reset", "-q", "--hard")
    stubbed.dvc("checkout", "-q")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone whose pipeline has run once with its defaults."""
    return Project.ran(tmp_path_factory, tmp_path_factory.mktemp("real"))


def figures_of(project: Project) -> dict[str, float]:
    return json.loads((project.folder / "artifacts/evaluate/metrics.json").read_text())["test"]


def params(project: Project) -> dict:
    return yaml.safe_load((project.folder / "params.yaml").read_text())


def test_nothing_reruns_when_nothing_changed(project: Project) -> None:
    assert project.repro() == []
    assert project.repro("--downstream", "plan") == []


def changed_sections(project: Project) -> dict[str, set[str]]:
    """The sections of params.yaml that DVC holds for changed, by stage."""
    status = json.loads(project.dvc("status", "--json").stdout)
    changed = {stage: [c["changed deps"].get("params.yaml", {}) for c in causes if "changed deps" in c] for stage, causes in status.items()}
    return {stage: {key for keys in found for key in keys} for stage, found in changed.items() if any(found)}


LR = ("conf/experiment/smoke.yaml", "lr: 0.02", "lr: 0.03")
LOSS = ("conf/loss/ce.yaml", "label_smoothing: 0.0", "label_smoothing: 0.1")
MODEL = ("conf/model/unet_small.yaml", "[64, 32, 16, 16]", "[32, 32, 16, 16]")
SPLIT = ("conf/data/shapes.yaml", "train: 0.75, val: 0.10", "train: 0.70, val: 0.15")
AUGMENT = ("conf/augment/light.yaml", "brightness_limit: 0.15", "brightness_limit: 0.20")
EVALUATE = ("conf/evaluate/default.yaml", "num_overlays: 3", "num_overlays: 2")
MINUTES = ("conf/experiment/smoke.yaml", "minutes: 0.1", "minutes: 0.2")
NOT_SELECTED = ("conf/model/fcn.yaml", "scale: 1.0", "scale: 0.5")
COMMENT = ("conf/optimizer/sgd.yaml", "# Stochastic", "# The stochastic")
RUNTIME = ("conf/config.yaml", "workers: auto", "workers: 1")


@pytest.mark.parametrize(
    ("edits", "sections", "expected"),
    [
        ([LR, LOSS, MODEL], {stage: {"optimizer", "loss", "model"} for stage in ("plan", "train")}, ["plan", "train", "evaluate"]),
        ([SPLIT], {"prepare": {"data"}}, STAGES[1:]),
        ([AUGMENT], {stage: {"augment"} for stage in ("plan", "augment")}, ["plan", "augment", "train", "evaluate"]),
        ([MINUTES], {"plan": {"plan"}}, ["plan", "train", "evaluate"]),
        ([EVALUATE], {"evaluate": {"evaluate"}}, ["evaluate"]),
        ([NOT_SELECTED, COMMENT, RUNTIME], {}, []),
    ],
    ids=["training", "split", "augment", "minutes", "evaluate", "nothing"],
)
def test_an_edit_reruns_what_depends_on_it(
    project: Project, edits: list[tuple[str, str, str]], sections: dict[str, set[str]], expected: list[str]
) -> None:
    for edit in edits:
        project.edit(*edit)
    assert project.repro("configure") == ["configure"]
    assert changed_sections(project) == sections
    assert project.repro() == expected


def test_a_corrected_file_reruns_prepare_and_what_follows(project: Project) -> None:
    corrected = project.folder / "data/corrections/scene0.json"
    corrected.write_text("{}")
    assert project.repro() == STAGES[1:]
    assert project.repro() == []
    corrected.unlink()


def test_another_machine_runs_nothing(project: Project, tmp_path: Path) -> None:
    """A clone, without the cache, the kept plans and the outputs of the first: a repro that may miss files would run no stage."""
    project.run("git", "clone", "-q", ".", str(tmp_path / "clone"))
    elsewhere = Project(tmp_path / "clone")
    assert not (elsewhere.folder / "data/prepared").exists()
    done = elsewhere.dvc("repro", "--dry", "--allow-missing", "plan", "augment", "train", "evaluate")
    assert stages_run(done.stdout) == []
    elsewhere.edit("conf/experiment/smoke.yaml", *MINUTES[1:])
    assert "configure" in stages_run(elsewhere.dvc("repro", "--dry", "--allow-missing", "configure").stdout)


def test_going_back_restores_from_the_run_cache(project: Project) -> None:
    before = project.bytes_of("artifacts/train/best.ckpt", "artifacts/evaluate/metrics.json")
    project.edit("conf/optimizer/sgd.yaml", "momentum: 0.9", "momentum: 0.5")
    assert project.repro() == ["configure", "plan", "train", "evaluate"]
    assert project.bytes_of("artifacts/train/best.ckpt") != before
    project.edit("conf/optimizer/sgd.yaml", "momentum: 0.5", "momentum: 0.9")
    assert project.repro() == ["configure", "plan"]
    assert project.bytes_of(*before) == before


def test_an_option_that_sets_other_groups_is_recorded_by_its_name(project: Project) -> None:
    (project.folder / "conf/experiment/other.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: adamw\n  - override /augment: none\n"
        "experiment:\n  name: other\ndata:\n  source: {num_images: 40, size: 64}\ntrainer:\n  batch_size: 8\n  max_epochs: 1\n"
    )
    project.dvc("exp", "run", "-S", "experiment=other", "-S", "trainer.max_epochs=2", "configure")
    assert params(project)["overrides"] == ["experiment=other", "trainer.max_epochs=2"]
    (project.folder / "conf/experiment/other.yaml").unlink()


def experiments(project: Project) -> dict[str, dict]:
    """What `dvc exp show` knows of each experiment, by its name."""
    rows = [row for base in json.loads(project.dvc("exp", "show", "--json").stdout) for row in base.get("experiments") or []]
    return {revision["name"]: revision for row in rows for revision in row["revs"]}


def test_experiments_are_recorded_told_apart_brought_back_and_kept(project: Project) -> None:
    done = project.dvc("exp", "run", "-n", "other", "-S", "optimizer=adamw", "-S", "optimizer.lr=3e-3", "-S", "experiment=smoke")
    assert stages_run(done.stdout) == ["configure", "plan", "train", "evaluate"]
    assert params(project)["overrides"] == ["optimizer=adamw", "optimizer.lr=0.003"]
    other = project.bytes_of("artifacts/train/best.ckpt")
    project.dvc("exp", "run", "-n", "plain", "-S", "optimizer.lr=0.03")
    assert project.bytes_of("artifacts/train/best.ckpt") != other
    shown = experiments(project)
    values = {name: shown[name]["data"]["params"]["params.yaml"]["data"]["optimizer"]["lr"] for name in ("other", "plain")}
    assert values == {"other": 0.003, "plain": 0.03}
    project.dvc("exp", "apply", "other")
    assert project.repro() == []
    assert project.bytes_of("artifacts/train/best.ckpt") == other
    project.edit("conf/optimizer/adamw.yaml", "weight_decay: 1.0e-2", "weight_decay: 2.0e-2")
    assert project.repro() == ["configure", "plan", "train", "evaluate"]
    kept = params(project)["optimizer"]
    assert (kept["lr"], kept["weight_decay"]) == (0.003, 0.02)
    project.dvc("exp", "remove", "-A")


def test_a_failed_experiment_does_not_change_what_runs_next(project: Project) -> None:
    project.dvc("exp", "run", "-S", "data=folders", "-S", "data.root=/nowhere", ok=False)
    refused = project.dvc("repro", ok=False)
    assert "params.yaml was not written by `seg configure`: an experiment that failed leaves it so" in refused.stdout + refused.stderr
    project.run("git", "checkout", "-q", "params.yaml")
    assert project.repro() == []


def test_a_wrong_argument_in_an_experiment_fails_before_anything_is_read(project: Project) -> None:
    done = project.dvc("exp", "run", "-S", "+model.network.encoder_nam=resnet34", ok=False)
    assert "unknown key model.network.encoder_nam: did you mean 'encoder_name'?" in done.stdout + done.stderr
    assert stages_run(done.stdout) == ["configure"]


def test_a_local_file_of_weights_is_an_input(project: Project) -> None:
    weights = project.folder / "start.ckpt"
    weights.write_bytes((project.folder / "artifacts/train/last.ckpt").read_bytes())
    project.dvc("exp", "run", "-S", "model.weights=start.ckpt")
    assert project.repro() == []
    weights.write_bytes((project.folder / "artifacts/train/last.ckpt").read_bytes())
    assert project.repro() == ["configure", "train", "evaluate"]
    weights.unlink()


def test_params_edited_by_hand_is_refused(project: Project) -> None:
    project.edit("params.yaml", "lr: 0.02", "lr: 0.5")
    done = project.dvc("repro", ok=False)
    assert "params.yaml was edited by hand" in done.stdout + done.stderr
    assert "lr: 0.5" in (project.folder / "params.yaml").read_text()


def test_the_list_of_overrides_may_be_edited(project: Project) -> None:
    project.edit("params.yaml", "overrides: []", "overrides:\n- evaluate.num_overlays=1")
    assert project.repro() == ["configure", "evaluate"]
    assert params(project)["evaluate"]["num_overlays"] == 1


def test_a_changed_stage_module_reruns_that_stage_and_what_follows(project: Project) -> None:
    path = project.folder / "seg/stages/evaluate.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert project.repro() == ["evaluate"]


def test_dvc_reads_metrics_and_plots(real: Project) -> None:
    shown = json.loads(real.dvc("metrics", "show", "--json").stdout)
    figures = shown[""]["data"]["artifacts/evaluate/metrics.json"]["data"]["test"]
    assert 0 <= figures["miou"] <= 1
    real.dvc("plots", "show")
    page = (real.folder / "dvc_plots/index.html").read_text()
    assert "val_miou" in page
    assert "predicted" in page
    assert Path(real.folder / "artifacts/evaluate/overlays").is_dir()


def test_a_queued_experiment_runs_in_a_copy_and_is_compared(real: Project) -> None:
    """With a sum of losses, whose terms are in the history; compared with the workspace by DVC's own diffs and by `seg compare`."""
    before = figures_of(real)
    weighted = ("-S", "loss.terms.dice.weight=0.5", "-S", "loss.terms.ce.loss.class_weights=median", "-S", "optimizer.lr=0.1")
    real.dvc("exp", "run", "--queue", "-n", "queued", "-S", "trainer.max_epochs=1", "-S", "loss=ce_dice", *weighted)
    real.dvc("exp", "run", "--run-all")
    after = experiments(real)["queued"]["data"]["metrics"]["artifacts/evaluate/metrics.json"]["data"]["test"]
    assert figures_of(real) == before != after

    shown = json.loads(real.dvc("metrics", "diff", "queued", "workspace", "--json").stdout)
    changed = shown["artifacts/evaluate/metrics.json"]["test.miou"]
    assert (changed["old"], changed["new"]) == (after["miou"], before["miou"])
    drawn = real.dvc("plots", "diff", "queued", "workspace")
    assert "failed" not in drawn.stdout + drawn.stderr
    page = (real.folder / "dvc_plots/index.html").read_text()
    assert page.count("queued") > 1
    assert "workspace" in page
    printed = real.seg("compare", "queued", "workspace").stdout
    out = real.folder / "artifacts/compare"
    with open(out / "differences.csv", newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file)}
    for name, row in rows.items():
        assert float(row["first"]) == pytest.approx(after[name], abs=2e-6), "the figures of the evaluation itself"
        assert float(row["value"]) == pytest.approx(before[name], abs=2e-6)
        assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    assert f"{before['miou'] - after['miou']:+.4f}" in printed
    assert "<code>optimizer.lr</code></th><td>0.1</td><td>0.02</td>" in (out / "compare.html").read_text()
    assert real.run("git", "status", "--porcelain").stdout.strip() == "", "what a comparison leaves is no part of the project"

    real.dvc("exp", "apply", "queued")
    assert 0 <= figures_of(real)["miou"] <= 1
    composed = params(real)
    assert composed["trainer"]["max_epochs"] == 1
    terms = ["loss.terms.ce.loss.class_weights=median", "loss.terms.dice.weight=0.5"]
    assert sorted(composed["overrides"]) == [*terms, "loss=ce_dice", "optimizer.lr=0.1", "trainer.max_epochs=1"]
    assert real.repro() == []
    (epoch,) = csv.DictReader((real.folder / "artifacts/train/history.csv").open())
    ce, dice = float(epoch["train_ce_term"]), float(epoch["train_dice_term"])
    assert 0 < dice <= 0.5
    assert float(epoch["train_loss"]) == pytest.approx(ce + dice, abs=1e-5)
    real.dvc("exp", "remove", "-A")
    real.run("git", "reset", "-q", "--hard")
    real.dvc("checkout", "-q")


def test_an_instance_run_stands_beside_the_semantic_one(real: Project) -> None:
    results = ("artifacts/train/best.ckpt", "artifacts/train/history.csv", "artifacts/evaluate/metrics.json")
    pixels = real.bytes_of(*results)
    real.dvc("exp", "run", "-n", "pixels")
    done = real.dvc("exp", "run", "-n", "objects", "-S", "task=instance", "-S", "trainer.max_epochs=1")
    assert stages_run(done.stdout) == ["configure", "plan", "augment", "train", "evaluate"], "both tasks have one prepared data set"
    objects = real.bytes_of(*results)
    tables = {p.name for p in (real.folder / "artifacts/evaluate/tables").iterdir()}
    assert {"coco.csv", "matching.csv", "errors.csv"} <= tables
    assert "confusion.csv" not in tables
    shown = experiments(real)
    figures = {n: shown[n]["data"]["metrics"]["artifacts/evaluate/metrics.json"]["data"]["test"] for n in ("pixels", "objects")}
    assert "miou" in figures["pixels"]
    assert "mask_ap" in figures["objects"]
    plots = real.dvc("plots", "show")
    assert "failed" not in plots.stdout + plots.stderr
    page = (real.folder / "dvc_plots/index.html").read_text()
    assert "iou_threshold" in page
    for name, wanted in (("pixels", pixels), ("objects", objects)):
        real.dvc("exp", "apply", name)
        assert real.repro() == []
        assert real.bytes_of(*results) == wanted
    real.dvc("exp", "remove", "-A")
    real.run("git", "reset", "-q", "--hard")


def test_segments_go_through_the_whole_pipeline(real: Project) -> None:
    done = real.dvc("exp", "run", "-n", "segments", "-S", "task=panoptic", "-S", "task.model.thing_score=0.0", "-S", "trainer.max_epochs=1")
    ran = [stage for stage in stages_run(done.stdout) if stage != "augment"]  # which may have run for another task before
    assert ran == ["configure", "plan", "train", "evaluate"], "all tasks have one prepared data set"
    figures = json.loads((real.folder / "artifacts/evaluate/metrics.json").read_text())["test"]
    assert {"pq", "pq_things", "pq_stuff"} <= set(figures)
    assert real.repro() == []
    images = str(real.folder / "data/prepared/test/images")
    real.seg("predict", "artifacts/train/best.ckpt", images, "--out", "segments", "predict.outputs=[panoptic,overlay]")
    said = json.loads((real.folder / "segments/panoptic.json").read_text())
    assert [c["isthing"] for c in said["categories"]] == [0, 1, 1, 1, 1, 1]
    assert len(said["annotations"]) == len(said["images"]) == len(list((real.folder / "segments/overlay").glob("*.png")))
    for annotation in said["annotations"]:
        colors = np.asarray(Image.open(real.folder / "segments/panoptic" / annotation["file_name"])).astype(int)
        ids, areas = np.unique(colors @ [1, 256, 65536], return_counts=True)
        known = {segment["id"]: segment["area"] for segment in annotation["segments_info"]}
        assert {i: a for i, a in zip(ids.tolist(), areas.tolist(), strict=True) if i} == known
    refused = real.seg("export", "artifacts/train/best.ckpt", ok=False)
    assert "panoptic.PanopticModel is of a kind of its own" in refused.stderr
    real.dvc("exp", "remove", "-A")
    real.run("git", "reset", "-q", "--hard")


def test_boxes_go_through_the_whole_pipeline(real: Project) -> None:
    done = real.dvc("exp", "run", "-n", "boxes", "-S", "task=detection", "-S", "trainer.max_epochs=1")
    ran = [stage for stage in stages_run(done.stdout) if stage != "augment"]  # which may have run for another task before
    assert ran == ["configure", "plan", "train", "evaluate"], "all tasks have one prepared data set"
    out = real.folder / "artifacts/evaluate"
    figures = json.loads((out / "metrics.json").read_text())["test"]
    assert "box_ap" in figures
    assert "mask_ap" not in figures
    assert [path.name for path in (out / "predictions").iterdir()] == ["boxes.json"]
    assert {"coco.csv", "matching.csv", "errors.csv", "sizes.csv"} <= {p.name for p in (out / "tables").iterdir()}
    assert real.repro() == []
    images = str(real.folder / "data/prepared/test/images")
    real.seg("predict", "artifacts/train/best.ckpt", images, "--out", "boxes", "predict.outputs=[yolo,coco,overlay]")
    said = json.loads((real.folder / "boxes/coco.json").read_text())["annotations"]
    assert all("segmentation" not in one and len(one["bbox"]) == 4 for one in said)
    assert len(list((real.folder / "boxes/yolo").glob("*.txt"))) == len(list((real.folder / "boxes/overlay").glob("*.png")))
    real.dvc("exp", "remove", "-A")
    real.run("git", "reset", "-q", "--hard")
