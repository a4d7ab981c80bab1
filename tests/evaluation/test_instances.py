"""Errors and sizes gathered over images, counted by hand and added up."""

import math
from collections import Counter

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, random_scenes

from seg.evaluation.detail import InstanceDetail
from seg.evaluation.errors import PREDICTED_KINDS, TRUTH_KINDS, judge
from seg.metrics.coco import ImageInstances
from seg.metrics.instance import InstanceMetrics, instances_of

NAMES = {1: "cell", 2: "nucleus", 3: "debris"}


def images_of(scenes: list[Scene]) -> list[ImageInstances]:
    batch, predictions = batch_of(scenes)
    return [instances_of(batch, index, prediction) for index, prediction in enumerate(predictions)]


def gathered(scenes: list[Scene]) -> InstanceDetail:
    metrics = InstanceMetrics(["background", *NAMES.values()], 0.5, 100)
    detail = InstanceDetail(metrics, 0.5, 5, None)
    if scenes:
        batch, predictions = batch_of(scenes)
        metrics.update(batch, predictions)
        detail.update(batch, predictions)
    return detail


def part(y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    return box(20, 20, y1, x1, y2, x2)


def two_images() -> list[Scene]:
    b = Scene("b", (20, 20)).add(part(0, 0, 2, 2)).add(part(10, 0, 20, 10), 2).add(part(10, 10, 20, 20), 1, crowd=True)
    b.predict(part(0, 0, 2, 2), 1, 0.9).predict(part(10, 0, 20, 10), 1, 0.8).predict(part(10, 12, 12, 14), 1, 0.7)
    a = Scene("a", (20, 20)).add(part(0, 0, 5, 5)).predict(part(0, 10, 2, 12), 3, 0.5).predict(part(0, 0, 5, 5), 1, 0.4)
    return [b, a]


def test_tables_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.evaluation.detail.quantile_edges", lambda *_: [10, 50])
    tables = gathered(two_images()).tables()
    errors = {row["class"]: {k: n for k, n in row.items() if k != "class" and n} for row in tables["errors"]}
    assert errors == {
        "cell": {"truth_matched": 1, "truth_missed": 1, "predicted_matched": 1, "predicted_wrong_class": 1, "predicted_crowd": 1},
        "nucleus": {"truth_wrong_class": 1},
        "debris": {"predicted_background": 1},
    }
    columns = ["class", *[f"truth_{k}" for k in TRUTH_KINDS], *[f"predicted_{k}" for k in PREDICTED_KINDS]]
    assert all(list(row) == columns for row in tables["errors"])
    small, medium, large = tables["sizes"]
    assert small == {"low": 0, "high": 10, "num_truth": 1, "found": 1, "recall": 1, "num_predicted": 2, "precision": 0.5}
    assert (medium["num_truth"], medium["recall"], medium["num_predicted"]) == (1, 0, 0)
    assert math.isnan(medium["precision"])
    assert large == {"low": 50, "high": None, "num_truth": 1, "found": 0, "recall": 0, "num_predicted": 1, "precision": 0}
    rows = [(r["image_id"], r["which"], r["index"], r["category"], r["kind"], r["partner"], r["area"]) for r in tables["instances"]]
    assert rows == [
        ("a", "truth", 0, "cell", "missed", None, 25),
        ("a", "predicted", 0, "debris", "background", None, 4),
        ("b", "truth", 0, "cell", "matched", 0, 4),
        ("b", "truth", 1, "nucleus", "wrong_class", 1, 100),
        ("b", "predicted", 0, "cell", "matched", 0, 4),
        ("b", "predicted", 1, "cell", "wrong_class", 1, 100),
        ("b", "predicted", 2, "cell", "crowd", None, 4),
    ]
    columns = ["image_id", "which", "index", "category", "kind", "iou", "partner", "area", "score"]
    assert all(list(row) == columns for row in tables["instances"])


def test_counts_add_up_over_images_in_any_order() -> None:
    scenes = random_scenes(2, number=20)
    total: Counter[tuple[int, str, str]] = Counter()
    for image in images_of(scenes):
        total += Counter((v.category, v.which, v.kind) for v in judge(image, 0.5))
    forth, back = gathered(scenes).tables(), gathered(scenes[::-1]).tables()
    kinds = [("truth", kind) for kind in TRUTH_KINDS] + [("predicted", kind) for kind in PREDICTED_KINDS]
    rows = dict(zip(NAMES, forth["errors"], strict=True))
    assert {(c, which, kind): row[f"{which}_{kind}"] for c, row in rows.items() for which, kind in kinds if row[f"{which}_{kind}"]} == total
    assert repr(forth) == repr(back)


def test_sizes_add_up_to_the_headline_figures() -> None:
    scenes = random_scenes(4, number=30)
    metrics = InstanceMetrics(["background", *NAMES.values()], 0.5, 100)
    metrics.update(*batch_of(scenes))
    figures, rows = metrics.figures(), gathered(scenes).tables()["sizes"]
    assert len(rows) == 5
    found, correct = sum(r["found"] for r in rows), sum(round(r["precision"] * r["num_predicted"]) for r in rows if r["num_predicted"])
    assert found == correct
    assert found / sum(r["num_truth"] for r in rows) == figures["recall_50"]
    assert correct / sum(r["num_predicted"] for r in rows) == figures["precision_50"]


def test_nothing_seen_and_nothing_in_it() -> None:
    for scenes in ([], [Scene("a", (20, 20))]):
        tables = gathered(scenes).tables()
        assert "instances" not in tables
        assert [sum(n for n in row.values() if n != row["class"]) for row in tables["errors"]] == [0, 0, 0]
        assert [(r["num_truth"], r["num_predicted"]) for r in tables["sizes"]] == [(0, 0)]


def test_without_instances_and_predictions_every_table_that_is_left_has_rows() -> None:
    metrics = InstanceMetrics(["background", *NAMES.values()], 0.5, 100)
    detail = InstanceDetail(metrics, 0.5, 5, 15)
    batch, predictions = batch_of([Scene("a", (20, 20)), Scene("b", (20, 20))])
    metrics.update(batch, predictions)
    detail.update(batch, predictions)
    assert all(metrics.tables().values())
    assert {name: len(rows) for name, rows in detail.tables().items()} == {"errors": 3, "sizes": 1}


def test_the_calibration_of_scores_by_hand_and_of_drawn_images() -> None:
    """Two predictions of 0.9 of which one is right, then one of 0.2 that is wrong: |0.9 - 0.5| twice and |0.2 - 0| once."""
    metrics = InstanceMetrics(["background", *NAMES.values()], 0.5, 100)
    detail = InstanceDetail(metrics, 0.5, 5, 10)
    first = Scene("a", (20, 20)).add(part(0, 0, 6, 6)).predict(part(0, 0, 6, 6), score=0.9).predict(part(10, 10, 16, 16), score=0.9)
    batch, predictions = batch_of([first, Scene("b", (20, 20)).predict(part(0, 0, 6, 6), score=0.2)])
    metrics.update(batch, predictions)
    detail.update(batch, predictions)
    name = "expected_calibration_error"
    assert detail.figures()[name] == pytest.approx((2 * 0.4 + 0.2) / 3, abs=1e-4)
    drawn = detail.resampled(["b", "a"], np.array([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]]))[name]
    assert drawn == pytest.approx([(2 * 0.4 + 0.2) / 3, 0.4, 0.2, (2 * 0.4 + 2 * 0.2) / 4], abs=1e-4)
    rows = {row["low"]: row for row in detail.tables()["reliability"] if row["instances"]}
    assert [(low, row["instances"], row["accuracy"]) for low, row in rows.items()] == [(0.1, 1, 0.0), (0.8, 2, 0.5)]
