"""Figures of boxes: of true instances, whatever their masks, and of predictions by their boxes alone."""

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, random_scenes

from seg.data.sample import Prediction
from seg.metrics.detection import DetectionMetrics
from seg.metrics.instance import InstanceMetrics

NAMES = ["background", "cell", "nucleus", "debris"]


def metrics_of(*scenes: Scene) -> DetectionMetrics:
    metrics = DetectionMetrics(NAMES, score_threshold=0.5, max_detections=100)
    metrics.update(*batch_of(scenes))
    return metrics


def test_a_ring_is_found_by_its_box() -> None:
    ring = box(20, 20, 2, 2, 12, 12) & ~box(20, 20, 4, 4, 10, 10)
    scene = Scene("a", (20, 20)).add(ring).predict(box(20, 20, 2, 2, 12, 12)).predict(box(20, 20, 2, 2, 12, 9), category=2)
    metrics = metrics_of(scene)
    figures = metrics.figures()
    assert (figures["box_ap"], figures["recall_50"], figures["precision_50"], figures["pq"]) == (1, 1, 0.5, 0.5)
    assert not [name for name in figures if name.startswith("mask")]
    assert set(metrics.per_class()["cell"]) >= {"box_ap", "box_ap50", "box_ap75", "pq"}
    assert {row["kind"] for row in metrics.tables()["coco"]} == {"box"}
    (kept,) = metrics.images.values()
    assert (kept.true_areas(np.array([0])).tolist(), figures["pq"]) == ([64], 0.5), "sizes are those of the instances"


def test_masks_of_predictions_do_not_matter_and_states_carry_all() -> None:
    scenes = random_scenes(3, number=12)
    metrics, emptied = metrics_of(*scenes), DetectionMetrics(NAMES, 0.5, 100)
    bare = [Prediction(None, None, p.scores, p.categories, p.boxes, p.masks[:1] * len(p.scores)) for p in (s.prediction for s in scenes)]
    emptied.update(batch_of(scenes)[0], bare)
    assert emptied.figures() == pytest.approx(metrics.figures(), nan_ok=True)
    joined = DetectionMetrics(NAMES, 0.5, 100)
    joined.load_states([metrics.state()])
    assert joined.figures() == pytest.approx(metrics.figures(), nan_ok=True)
    ids, ones = [s.image_id for s in scenes], np.ones((1, len(scenes)))
    again = {name: float(values[0]) for name, values in metrics.resampled(ids, ones).items()}
    assert again == pytest.approx(metrics.figures(), nan_ok=True)
    of_masks = InstanceMetrics(NAMES, 0.5, 100)
    of_masks.update(*batch_of(scenes))
    assert {k: v for k, v in of_masks.figures().items() if k.startswith("box")} == pytest.approx(
        {k: v for k, v in metrics.figures().items() if k.startswith("box")}, nan_ok=True
    )
