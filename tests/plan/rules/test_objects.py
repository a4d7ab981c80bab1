"""What Mask R-CNN expects of objects."""

from itertools import pairwise
from typing import Any

import pytest
from planned_facts import chosen, draft, facts, objects, reason, spread

from seg.plan.rules.networks import anchors, counts

SIZES, RATIOS = "model.network.anchor_sizes", "model.network.aspect_ratios"


def sizes(scale: Any, side: tuple[float, ...], **changed: Any) -> list[list[int]]:
    found: list[list[int]] = chosen(anchors, facts(task="instance", objects=objects(side=side), **changed), draft(model__scale=scale))[
        SIZES
    ]
    return found


def test_a_level_for_each_of_five_percentiles() -> None:
    """p5, p25, p50, p75, p95, each over 0.9: an object fills that share of its box's side."""
    side = (18, 20, 36, 45, 90, 100, 180, 200)
    assert sizes(1.0, side) == [[20], [40], [50], [100], [200]]
    assert sizes(1, side) == sizes(1.0, side)
    assert sizes(0.5, side) == [[10], [20], [25], [50], [100]]
    assert sizes([240, 640], side, height=spread(480), width=spread(800)) == sizes(0.5, side)


@pytest.mark.parametrize("side", [(10.0,) * 8, (0.5, 0.6, 0.7, 0.8, 0.9, 1, 2, 3), (3, 3, 3, 100, 100, 100, 100, 100)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_sizes_rise_strictly(side: tuple[float, ...], scale: float) -> None:
    found = [size for (size,) in sizes(scale, side)]
    assert len(found) == 5
    assert found[0] >= 4
    assert all(b > a for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("tall", "expected"),
    [(1.0, [0.5, 1.0, 2.0]), (0.1, [0.2, 1.0, 1.25]), (2.0, [0.8, 1.0, 4.0]), (9.0, [0.8, 1.0, 5.0]), (0.55, [0.28, 1.0, 1.25])],
)
def test_ratios_from_boxes_within_bounds(tall: float, expected: list[float]) -> None:
    """The 10th percentile is half of `tall`, the 90th twice of it."""
    assert chosen(anchors, facts(task="instance", objects=objects(tall=tall)), draft(model__scale=1.0))[RATIOS] == expected


@pytest.mark.parametrize(
    ("most", "detections", "before", "after"),
    [
        (0, 100, [500, 300], [300, 150]),
        (33, 100, [500, 300], [300, 150]),
        (34, 150, [1000, 2000], [500, 1000]),
        (100, 300, [1000, 2000], [500, 1000]),
        (313, 950, [1000, 2000], [500, 1000]),
        (1000, 3000, [1000, 3000], [500, 3000]),
    ],
)
def test_detections_leave_room_for_more_than_the_largest_count(most: int, detections: int, before: list[int], after: list[int]) -> None:
    """Three times of it, rounded up to 50, at least COCO's 100; where there are many, at least as many proposals."""
    found = chosen(counts, facts(task="instance", objects=objects(most=most)), draft())
    assert found["model.network.box_detections_per_img"] == found["task.metrics.max_detections"] == detections
    assert found["model.network.rpn_pre_nms_top_n"] == before
    assert found["model.network.rpn_post_nms_top_n"] == after


def test_pixels_have_none() -> None:
    assert chosen(anchors, facts(), draft(model__scale=1.0)) == chosen(counts, facts(), draft()) == {}


def test_reasons() -> None:
    known = facts(task="instance", objects=objects(most=30, side=(18, 20, 36, 45, 90, 100, 180, 200)))
    assert "18, 36, 45, 90, 180 pixels" in reason(anchors, SIZES, known, draft(model__scale=1.0))
    assert "up to 30 objects" in reason(counts, "task.metrics.max_detections", known, draft())
