"""What the page of an evaluation is made of: which images are shown, and what each figure is."""

import math

import numpy as np
import pytest

from seg.data.sample import Prediction
from seg.evaluation.pixels import PixelMetrics
from seg.evaluation.settings import BoundarySettings
from seg.metrics.base import ImageScore
from seg.metrics.instance import InstanceMetrics
from seg.metrics.semantic import SemanticMetrics
from seg.report.page_of_evaluation import choose, text_of


def scores(*values: float) -> list[ImageScore]:
    return [ImageScore(f"image{i}", "iou", {"iou": value}) for i, value in enumerate(values)]


def named(chosen: list[tuple[str, ImageScore]]) -> list[tuple[str, str]]:
    return [(kind, score.image_id.removeprefix("image")) for kind, score in chosen]


def test_worst_median_and_best_are_in_the_order_of_their_scores() -> None:
    found = choose(scores(0.5, 0.9, 0.1, math.nan, 0.3, 0.7), 1)
    assert named(found) == [("worst", "2"), ("median", "0"), ("best", "1")]
    assert named(choose(scores(0.5, 0.9, 0.1, 0.2, 0.3, 0.7, 0.6), 2)) == [
        ("worst", "2"),
        ("worst", "3"),
        ("median", "4"),
        ("median", "0"),
        ("best", "1"),
        ("best", "5"),
    ]


def test_few_images_are_chosen_once_each() -> None:
    assert named(choose(scores(0.5, 0.9), 3, seed=0)) == [("worst", "0"), ("worst", "1")]
    assert choose([], 3, seed=0) == []
    assert choose(scores(0.1, 0.2, 0.3), 0, seed=0) == []


def test_random_images_are_others_and_the_same_for_the_same_seed() -> None:
    many = scores(*(i / 100 for i in range(100)))
    first, again, other = (choose(many, 5, seed=seed) for seed in (1, 1, 2))
    assert named(first) == named(again) != named(other)
    assert [kind for kind, _ in first].count("random") == 5
    assert len({score.image_id for _, score in first}) == 20
    assert not [kind for kind, _ in choose(many, 5) if kind == "random"]


def test_every_figure_of_the_tasks_has_a_text() -> None:
    names = [*SemanticMetrics(["a", "b"]).figures(), *InstanceMetrics(["a", "b"], 0.5, 100).figures()]
    assert len(names) > 20
    assert [name for name in names if not text_of(name)] == []


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5)])
def test_every_figure_of_pixels_has_a_text(spacing: tuple[float, float] | None) -> None:
    metrics = PixelMetrics(["a", "b"], BoundarySettings(width=0.02, tolerance=2), True, 5)
    labels = np.eye(8, dtype=np.uint8)
    metrics.count(labels, Prediction(labels, np.full((8, 8), 65535, np.uint16)), spacing)
    names = list(metrics.figures())
    assert [name for name in names if not text_of(name)] == []
    assert text_of("mean_hd95_um").endswith("micrometres")


def test_what_is_compared_and_what_is_unknown() -> None:
    assert text_of("mask_ap50") == "masks: average precision at IoU 0.50"
    assert text_of("box_ar").startswith("boxes: ")
    assert text_of("of_ones_own") == text_of("mask_of_ones_own") == ""
