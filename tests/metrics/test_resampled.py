"""Resampled instance figures: against data sets in which images really occur so often, each time under a name of its own."""

from collections.abc import Sequence
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from random_instances import Scene, batch_of, box, random_scenes

from seg.metrics.instance import InstanceMetrics

NAMES = ["background", "cell", "nucleus", "debris"]


def metrics_of(scenes: Sequence[Scene], max_detections: int = 100) -> InstanceMetrics:
    metrics = InstanceMetrics(NAMES, 0.5, max_detections)
    metrics.update(*batch_of(scenes))
    return metrics


def untied(scenes: Sequence[Scene]) -> list[Scene]:
    """With scores that no two predictions share: of equal ones, the order within an image that comes twice would be another."""
    numbers = iter(range(10**6))
    return [replace(s, scores=[score + next(numbers) * 1e-4 for score in s.scores]) for s in scenes]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tied", [False, True])
def test_figures_are_those_of_data_sets_that_hold_images_so_often(seed: int, tied: bool) -> None:
    scenes = random_scenes(seed, number=8, side=110)
    scenes = scenes if tied else untied(scenes)
    metrics, names = metrics_of(scenes), [s.image_id for s in scenes]
    rng = np.random.default_rng(seed)
    some = [*(rng.random((4, 8)) < 0.5), np.eye(8)[3]] if tied else rng.multinomial(8, [1 / 8] * 8, 5)
    weights = np.stack([np.ones(8), *some]).astype(float)
    found = metrics.resampled(names, weights)
    for row, times in enumerate(weights.astype(int)):
        drawn = [replace(s, image_id=f"{s.image_id}_{number}") for s, count in zip(scenes, times, strict=True) for number in range(count)]
        expected = metrics_of(drawn).figures()
        assert {n: v[row] for n, v in found.items()} == pytest.approx(expected, nan_ok=True, rel=1e-12), f"row {row}"


def test_a_limit_of_detections_and_images_in_another_order() -> None:
    scenes = random_scenes(11, number=9)
    metrics, names = metrics_of(scenes, max_detections=1), [s.image_id for s in scenes]
    figures = metrics.figures()
    assert metrics_of(scenes).figures()["mask_ap"] > figures["mask_ap"], "the limit tells"
    turned = np.random.default_rng(0).permutation(9)
    found = metrics.resampled([names[i] for i in turned], np.ones((1, 9)))
    assert {n: v[0] for n, v in found.items()} == pytest.approx(figures, nan_ok=True, rel=1e-12)
    some = metrics.resampled([names[4], names[1]], np.ones((1, 2)))
    assert {n: v[0] for n, v in some.items()} == pytest.approx(metrics_of([scenes[1], scenes[4]], 1).figures(), nan_ok=True, rel=1e-12)
    with pytest.raises(KeyError):
        metrics.resampled(["another"], np.ones((1, 1)))


def test_by_hand() -> None:
    """A found instance, and a missed one beside a prediction of nothing: their images once each, and the first alone three times."""
    first = Scene("a", (20, 30)).add(box(20, 30, 2, 2, 8, 8)).predict(box(20, 30, 2, 2, 8, 8), score=0.9)
    second = Scene("b", (20, 30)).add(box(20, 30, 2, 2, 8, 8)).predict(box(20, 30, 12, 12, 18, 18), score=0.95)
    found = metrics_of([first, second]).resampled(["a", "b"], np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]))
    assert found["mask_ap50"][:3] == pytest.approx([51 / 101 / 2, 1, 0]), "half the recalls are reached, with a precision of one half"
    assert found["f1_50"][:3].tolist() == [0.5, 1, 0]
    assert found["aji"][:3].tolist() == [36 / 108, 1, 0]
    assert all(np.isnan(values[3]) for values in found.values()), "no image at all"


@pytest.mark.slow
def test_a_thousand_data_sets_of_many_instances_take_seconds() -> None:
    scenes = [s for seed in range(20) for s in renamed(random_scenes(seed, number=15, side=120), seed)]
    metrics, names = metrics_of(scenes), [s.image_id for s in scenes]
    weights = np.random.default_rng(0).multinomial(len(names), [1 / len(names)] * len(names), 1000).astype(float)
    metrics.resampled(names, weights[:1])  # compiles
    start = process_time()
    metrics.resampled(names, weights)
    assert process_time() - start < 60


def renamed(scenes: Sequence[Scene], seed: int) -> list[Scene]:
    return [replace(s, image_id=f"{seed}_{s.image_id}") for s in scenes]
