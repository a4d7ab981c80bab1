"""The scorers that others use find our figures in the files that an evaluation leaves."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import MakeConfig
from official import cocos_figures, evaluated
from random_instances import random_scenes
from tiny import CLASSES, picture, write

from seg.data.labelmaps import boxed
from seg.data.sample import IGNORE, Prediction
from seg.data.store import read_entries, read_sample
from seg.evaluation.predictions import BOXES, write_predictions
from seg.loading.batch import collate
from seg.metrics.semantic import SemanticMetrics
from seg.raw.record import Record
from seg.stages import prepare
from seg.storing.write import write_record, write_split

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")


def test_pycocotools_finds_our_figures_in_the_files(tmp_path: Path) -> None:
    """Several classes, one of them never true; crowds, images without truth or predictions, equal scores, boxes beside their masks."""
    scenes = random_scenes(2, number=30)
    split = tmp_path / "test"
    write_split(split, [write_record(split, Record(s.sample), len(CLASSES)) for s in scenes], CLASSES, True)
    predictions = {s.image_id: s.prediction for s in scenes}
    ours = evaluated(split, tmp_path / "predictions", [c.name for c in CLASSES], predictions)
    for kind in ("mask", "box"):
        official = cocos_figures(split, tmp_path / "predictions", kind)
        assert sum(0 < value < 1 for value in official.values()) == len(FIGURES), "the data tells figures apart"
        for figure in FIGURES:
            assert official[figure] == pytest.approx(ours[f"{kind}_{figure}"], abs=1e-6), (kind, figure)


def test_pycocotools_finds_our_figures_of_boxes_alone(tmp_path: Path) -> None:
    """The truth has masks, whose areas are not those of their boxes."""
    scenes, split = random_scenes(4, number=30), tmp_path / "test"
    write_split(split, [write_record(split, Record(s.sample), len(CLASSES)) for s in scenes], CLASSES, True)
    predictions = {s.image_id: boxed(replace(s.prediction, boxes=s.prediction.boxes + np.float32(0.3))) for s in scenes}
    ours = evaluated(split, tmp_path / "predictions", [c.name for c in CLASSES], predictions, "boxes")
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == [BOXES]
    official = cocos_figures(split, tmp_path / "predictions", "box")
    assert sum(0 < value < 1 for value in official.values()) == len(FIGURES), "the data tells figures apart"
    assert {figure: ours[f"box_{figure}"] for figure in FIGURES} == pytest.approx(official, abs=1e-6)


HOW_TO = Path(__file__).parents[2] / "docs/how-to/other-scorers.md"


def recipe(place: int) -> str:
    """The block of Python number `place` of the guide."""
    return re.findall(r"```python\n(.*?)```", HOW_TO.read_text(), re.DOTALL)[place]


def test_the_guide_scores_instances_as_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scenes, split = random_scenes(2), tmp_path / "data/prepared/test"
    write_split(split, [write_record(split, Record(s.sample), len(CLASSES)) for s in scenes], CLASSES, True)
    predictions = {s.image_id: s.prediction for s in scenes}
    ours = evaluated(split, tmp_path / "artifacts/evaluate/predictions", [c.name for c in CLASSES], predictions)
    monkeypatch.chdir(tmp_path)
    exec(recipe(0), {})
    printed = re.findall(r"\(AP\) @\[ IoU=0.50:0.95 \| area=   all \| maxDets=100 \] = ([0-9.]+)", capsys.readouterr().out)
    assert printed == [f"{ours[name]:.3f}" for name in ("mask_ap", "box_ap")]


def test_the_scorer_of_cityscapes_finds_our_figures_with_the_guides_conversion(
    tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label maps of all ids, some of which are not evaluated; one class never occurs, one is predicted alone."""
    scorer = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="pip install --no-deps cityscapesscripts pyquaternion (its further requirement `typing` hides the standard library's)",
    )
    rng, raw = np.random.default_rng(0), tmp_path / "raw"
    folders = ["data.split.folders={train: [train/aachen], val: [train/ulm], test: val}"]
    config = make_config("data=cityscapes", f"data.root={raw}", *folders, "runtime.progress=none")
    ids = [label for c in config.data.classes for label in c.labels]
    never, only_predicted = 31, 14  # the label id of train, the index of truck
    occurring = [label for label in range(34) if label not in (never, ids[only_predicted])]
    for city in ("aachen", "ulm", "frankfurt", "lindau", "munster"):
        part = "val" if city in ("frankfurt", "lindau", "munster") else "train"
        for number in range(2):
            name = f"{city}_{number:06d}_000019"
            write(raw / f"leftImg8bit/{part}/{city}/{name}_leftImg8bit.png", picture(int(rng.integers(1 << 30)), (40, 60)))
            labels = np.kron(rng.choice(occurring, (10, 12)), np.ones((4, 5))).astype(np.uint8)
            write(raw / f"gtFine/{part}/{city}/{name}_gtFine_labelIds.png", labels)
    prepare.run(config, tmp_path / "data/prepared")
    split, folder = tmp_path / "data/prepared/test", tmp_path / "artifacts/evaluate/predictions"
    metrics, entries = SemanticMetrics([c.name for c in config.data.classes]), read_entries(split)
    with write_predictions(folder, entries, "classes") as into:
        for entry in entries:
            sample = read_sample(split, entry, 3)
            guess = rng.choice([k for k, label in enumerate(ids) if label != never], sample.size)
            predicted = np.where((rng.random(sample.size) < 0.7) & (sample.semantic != IGNORE), sample.semantic, guess).astype(np.uint8)
            metrics.update(collate([sample]), [Prediction(predicted)])
            into.add(entry, Prediction(predicted))
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)))
    exec(recipe(1), {})
    scorer.args.predictionPath, scorer.args.predictionWalk = "submission", None
    scorer.args.evalInstLevelScore, scorer.args.JSONOutput, scorer.args.quiet = False, False, True
    truth = sorted(str(path) for path in raw.glob("gtFine/val/*/*_gtFine_labelIds.png"))
    found = scorer.evaluateImgLists([scorer.getPrediction(scorer.args, path) for path in truth], truth, scorer.args)
    assert len(truth) == len(entries) == 6
    assert entries[0].image_id.startswith("frankfurt/"), "whose prediction lies in a folder"
    for name, figures in metrics.per_class().items():
        assert found["classScores"][name] == pytest.approx(figures["iou"], abs=1e-6, nan_ok=True), name
    assert found["averageScoreClasses"] == pytest.approx(metrics.figures()["miou"], abs=1e-6)
    assert [name for name, score in found["classScores"].items() if math.isnan(score) and name in metrics.class_names] == ["train"]
    assert found["classScores"][metrics.class_names[only_predicted]] == 0
