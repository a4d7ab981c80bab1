"""Which images are shown: by score, none twice, and some by chance."""

import math

from seg.metrics.base import ImageScore
from seg.report.page_of_evaluation import choose


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
