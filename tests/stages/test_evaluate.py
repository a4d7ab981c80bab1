"""What an evaluation leaves: intervals, groups, and pictures of a network's attention."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeConfig
from models.test_contract import SMALLER
from parsed import Page, check_sound

from seg.configure.config import Config
from seg.core.errors import ConfigError, UsageError
from seg.data.store import read_info
from seg.evaluation.record import read_run
from seg.metrics.semantic import confusion_matrix
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, load, save
from seg.models.postprocess import Postprocess
from seg.report.rendering import number
from seg.stages.evaluate import run

FEW_OBJECTS = (
    "model.network.encoder_name=tu-test_resnet",
    "model.network.rpn_post_nms_top_n=[50,20]",
    "model.network.box_detections_per_img=20",
)


def untrained(prepared: Path, folder: Path, make_config: MakeConfig, *overrides: str, seed: int = 0) -> Config:
    """The settings of an evaluation of a network that nobody trained, whose checkpoint is in `folder`."""
    torch.manual_seed(seed)
    paths = [f"paths.prepare={prepared}", f"paths.train={folder}"]
    config, info = make_config(*overrides, *paths, "runtime.workers=0", "runtime.progress=none"), read_info(prepared)
    state = build_model(config, info).state_dict()
    save(folder / "best.ckpt", Checkpoint(state, config.model_dump(mode="json", by_alias=True), info, 1, {}))
    return config


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_figures_have_intervals_and_groups_their_own(
    prepared: Path, tmp_path: Path, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "prepared"
    shutil.copytree(prepared, copied)
    manifest = copied / "test/manifest.csv"
    header, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([f"{header},kind", *(f"{line},{'ab'[number % 2]}" for number, line in enumerate(lines))]))
    config = untrained(
        copied,
        tmp_path,
        make_config,
        "evaluate.num_overlays=0",
        "evaluate.groups=[kind]",
        "evaluate.bootstrap.resamples=50",
        "data.licence=CC BY | 4.0",
    )
    run(config, tmp_path / "out")
    figures = json.loads((tmp_path / "out/metrics.json").read_text())["test"]
    rows = {r["figure"]: r for r in rows_of(tmp_path / "out/tables/figures.csv")}
    assert list(rows) == [name for name in figures if not name.startswith("num_")]
    for name, row in rows.items():
        low, value, high = (float(row[key]) for key in ("low", "value", "high"))
        assert value == figures[name]
        assert low <= value <= high
        assert low < high
    limits = f"({float(rows['miou']['low']):.4f} to {float(rows['miou']['high']):.4f})"
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"test: miou {figures['miou']:.4f} {limits}" in printed
    assert f"test: from {figures['num_images']} images: the figures are rough, and an interval is wide and itself uncertain" in printed
    groups = rows_of(tmp_path / "out/tables/groups.csv")
    assert [(g["column"], g["group"]) for g in groups] == [("kind", "a"), ("kind", "b")]
    assert sum(int(g["num_images"]) for g in groups) == figures["num_images"]
    assert float(groups[0]["miou"]) != float(groups[1]["miou"])
    card = (tmp_path / "out/model_card.md").read_text()
    shown = {name: number(float(rows["miou"][name])) for name in ("value", "low", "high")}
    assert f"| miou | {shown['value']} | {shown['low']} | {shown['high']} |" in card
    assert f"digest `{read_info(copied).digest}`" in card
    assert "licence of the data: CC BY | 4.0" in card
    worst = min(groups, key=lambda row: float(row["miou"]))
    assert card.index(f"| kind | {worst['group']} |") < card.index(f"| kind | {'ab'.replace(worst['group'], '')} |")
    run(config, tmp_path / "again")
    assert (tmp_path / "again/model_card.md").read_text() == card
    for group in groups:  # evaluated by itself, each has the same figures
        kept = [line for number, line in enumerate(lines) if "ab"[number % 2] == group["group"]]
        manifest.write_text("\n".join([header, *kept]))
        alone = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"groups": []})})
        assert run(alone, tmp_path / group["group"]) == pytest.approx(float(group["miou"]), abs=1e-6)
        assert not (tmp_path / group["group"] / "tables/groups.csv").exists()
    with pytest.raises(ConfigError, match=r"^evaluate.groups: no column 'kind' of the manifest; set data.split.table"):
        run(config, tmp_path / "none")


def test_a_checkpoint_at_a_url_is_refused(tmp_path: Path, make_config: MakeConfig) -> None:
    with pytest.raises(UsageError, match=r"^s3://bucket/train: is a URL, but a path of this machine is needed here"):
        run(make_config("paths.train=s3://bucket/train"), tmp_path / "out")


def test_class_maps_have_boundaries_and_calibration_where_asked_for(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    few = ["evaluate.num_overlays=0", "evaluate.bootstrap.resamples=20"]
    run(untrained(prepared, tmp_path, make_config, *few, "evaluate.surface=true", "evaluate.calibration_bins=4"), tmp_path / "all")
    figures = json.loads((tmp_path / "all/metrics.json").read_text())
    further = {
        "mean_boundary_iou",
        "mean_boundary_f",
        "mean_hd95_px",
        "mean_assd_px",
        "expected_calibration_error",
        "maximum_calibration_error",
    }
    assert further <= figures["test"].keys()
    classes = rows_of(tmp_path / "all/tables/per_class.csv")
    assert {"class", "iou", "boundary_iou", "boundary_f", "hd95_px"} <= classes[0].keys()
    assert further <= rows_of(tmp_path / "all/per_image.csv")[0].keys()
    assert len(rows_of(tmp_path / "all/tables/reliability.csv")) == 4
    assert [r["class"] for r in rows_of(tmp_path / "all/tables/boundary.csv")] == [r["class"] for r in classes]
    run(untrained(prepared, tmp_path, make_config, *few, "evaluate.boundary=null", "evaluate.calibration_bins=null"), tmp_path / "none")
    assert not further & json.loads((tmp_path / "none/metrics.json").read_text())["test"].keys()
    assert sorted(p.stem for p in (tmp_path / "none/tables").iterdir()) == ["confusion", "figures", "per_class"]


def test_instances_have_kinds_of_errors_and_sizes(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    overrides = [
        "task=instance",
        *FEW_OBJECTS,
        "evaluate.num_overlays=0",
        "evaluate.bootstrap.resamples=20",
        "evaluate.score_threshold=0.1",
    ]
    run(untrained(prepared, tmp_path, make_config, *overrides), tmp_path / "out")
    truth = [r for r in rows_of(tmp_path / "out/tables/instances.csv") if r["which"] == "truth"]
    errors = rows_of(tmp_path / "out/tables/errors.csv")
    assert len(truth) == sum(int(n) for r in errors for key, n in r.items() if key.startswith("truth_")) > 0
    assert sum(int(r["num_truth"]) for r in rows_of(tmp_path / "out/tables/sizes.csv")) == len(truth)
    assert {"mask_ap", "pq"} <= {r["figure"] for r in rows_of(tmp_path / "out/tables/figures.csv")}


def test_the_predictions_that_are_kept_have_the_figures(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    config = untrained(
        prepared, tmp_path, make_config, "evaluate.num_overlays=0", "evaluate.batch_size=1", "evaluate.bootstrap.resamples=0"
    )
    run(config, tmp_path / "out")
    counted = np.zeros((6, 6), np.int64)
    for truth in sorted((prepared / "test/semantic").rglob("*.png")):
        found = cv2.imread(str(tmp_path / "out/predictions" / truth.name), cv2.IMREAD_UNCHANGED)
        counted += confusion_matrix(cv2.imread(str(truth), cv2.IMREAD_UNCHANGED), found, 6)
    assert [int(r["pixels"]) for r in rows_of(tmp_path / "out/tables/confusion.csv")] == counted.ravel().tolist()
    record = read_run(tmp_path / "out/evaluation.json")
    assert (record.task, record.split, record.digest, record.monitor) == ("semantic", "test", read_info(prepared).digest, "miou")
    assert record.settings["evaluate"]["batch_size"] == 1
    assert record.settings["optimizer"] == config.optimizer.model_dump(mode="json", by_alias=True)


def with_postprocess(path: Path, config: Config, post: Postprocess) -> None:
    """Write the checkpoint anew, as if its training had chosen this."""
    save(path, replace(load(path, config.targets.allow), postprocess=post))


def test_what_training_chose_is_done_before_anything_is_counted(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    config = untrained(prepared, tmp_path, make_config, "evaluate.num_overlays=0", "evaluate.bootstrap.resamples=0")
    with_postprocess(tmp_path / "best.ckpt", config, Postprocess(least_area=10**6))
    run(config, tmp_path / "out")
    matrix = np.array([int(r["pixels"]) for r in rows_of(tmp_path / "out/tables/confusion.csv")]).reshape(6, 6)
    assert not matrix[:, 1:].any(), "no object is so large"
    assert matrix[1:, 0].any()


def test_instances_count_from_the_chosen_score_on(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    quick = ("evaluate.num_overlays=0", "evaluate.bootstrap.resamples=0")
    config = untrained(prepared, tmp_path, make_config, "task=instance", *FEW_OBJECTS, *quick)
    counts = {}
    for threshold in (0.0, 0.9999):
        with_postprocess(tmp_path / "best.ckpt", config, Postprocess(score_threshold=threshold))
        run(config, tmp_path / "out")
        counts[threshold] = sum(int(r["num_predicted"]) for r in rows_of(tmp_path / "out/per_image.csv"))
        assert read_run(tmp_path / "out/evaluation.json").settings["evaluate"]["score_threshold"] == threshold
    assert counts[0.0] > 0 == counts[0.9999]


@pytest.mark.parametrize("task", ["semantic", "instance", "detection", "panoptic"])
def test_the_page_shows_what_was_found(prepared: Path, tmp_path: Path, make_config: MakeConfig, task: str) -> None:
    overrides = [f"task={task}", "evaluate.num_overlays=0", "evaluate.bootstrap.resamples=20", "evaluate.score_threshold=0.1"]
    if task == "panoptic":
        overrides.append("task.model.thing_score=0.0")  # an untrained network is sure of nothing
    overrides += FEW_OBJECTS if task != "semantic" else ()
    config = untrained(prepared, tmp_path, make_config, *overrides, f"paths.augment={tmp_path}")
    (tmp_path / "history.csv").write_text("epoch,train_loss,val_miou\n1,0.5,\n2,0.25,0.125\n")
    shutil.copyfile(next((prepared / "test/images").iterdir()), tmp_path / "preview.png")
    run(config, tmp_path / "out")
    page = Page(tmp_path / "out/report.html")
    check_sound(page)
    sections = ["summary", "learning", "classes", "images", "gallery", "augmentation", "data"]
    sections += ["calibration", "confusions" if task == "semantic" else "tables"]
    assert set(page.sections) == set(sections)
    figures = rows_of(tmp_path / "out/tables/figures.csv")
    rows = {row[0]: row[:3] for row in page.rows("summary")}
    figure = max((r for r in figures if r["figure"] in rows), key=lambda r: bool(r["low"]))
    assert {r["num_images"] for r in figures} == {str(len(rows_of(tmp_path / "out/per_image.csv")))}
    assert f"From {figure['num_images']} images: the figures are rough" in page.text
    assert rows[figure["figure"]][1] == number(float(figure["value"]))
    assert rows[figure["figure"]][2].endswith(f" to {number(float(figure['high']))}" if figure["low"] else "")
    assert len(page.all("li", kind="entry")) == len(rows_of(tmp_path / "out/per_image.csv"))
    assert len(page.all("svg")) >= 3


@pytest.mark.parametrize(
    "overrides", [("model.window=48",), ("task=instance", *FEW_OBJECTS), ("task=panoptic", "task.model.thing_score=0.0", *FEW_OBJECTS)]
)
def test_the_page_shows_what_misled_the_model(prepared: Path, tmp_path: Path, make_config: MakeConfig, overrides: tuple[str, ...]) -> None:
    few = ("evaluate.num_overlays=0", "evaluate.bootstrap.resamples=0", "evaluate.score_threshold=0.01", "evaluate.explained=2")
    config = untrained(prepared, tmp_path, make_config, *overrides, *few)
    run(config, tmp_path / "out")
    page = Page(tmp_path / "out/report.html")
    check_sound(page)
    pictures = [tag.attributes["alt"] for tag in page.all("img") if tag.section == "mistakes"]
    assert len(pictures) == 2 * 3
    shown = [alt.removesuffix(" with the mistake outlined") for alt in pictures[::3]]
    assert shown == [row[0] for row in page.rows("images") if row[0] in shown], "the worst first"
    assert pictures[1].startswith("integrated gradients: what speaks for ")
    assert pictures[2].startswith("occlusion: what speaks for ")
    assert sum(f" {words} " in page.text for words in ("taken for", "found as")) == 1
    run(config, tmp_path / "again")
    assert (tmp_path / "again/report.html").read_bytes() == (tmp_path / "out/report.html").read_bytes()


def test_what_cannot_be_explained_is_said_before_the_evaluation(
    prepared: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = untrained(prepared, tmp_path, make_config, "task=detection", "model=retinanet_small", "evaluate.explained=1")
    with pytest.raises(ConfigError, match=r"^evaluate.explained: DetectionModel gives no evidence that could be explained; set it to 0$"):
        run(boxes, tmp_path / "out")
    monkeypatch.setattr("seg.explain.subject.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^evaluate.explained: needs the package captum; pip install -e '\.\[explain\]'$"):
        run(untrained(prepared, tmp_path, make_config, "evaluate.explained=1"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_overlays_show_the_gates_of_an_attention_unet(prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    overrides = ["model=attention_unet", *SMALLER["attention_unet"], "evaluate.num_overlays=1"]
    run(untrained(prepared, tmp_path, make_config, *overrides), tmp_path / "out")
    pictures = [cv2.imread(str(path)) for path in (tmp_path / "out/overlays").glob("*.png")]
    assert pictures
    inches = 2 * 3.4 + 0.8 + 2 * 0.3  # two rows: four panels of any network, and four gates
    assert all(picture.shape[0] == round(110 * inches) for picture in pictures)
