"""What is said of odd geometry: each kind by hand, with its place, and nothing of what is sound."""

from math import inf, nan

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from seg.sources.geometry import box_of, examine
from seg.sources.part_rle import Part, rle_of

SQUARE: Part = [10, 20, 30, 20, 30, 40, 10, 40]
INNER: Part = [15, 25, 20, 25, 20, 30, 15, 30]
BOW: Part = [10, 10, 20, 20, 20, 10, 10, 20]
MASK: Part = {"left": 90, "top": 50, "width": 20, "height": 5, "runs": [0, 100]}
RUNS: Part = {"size": [80, 100], "counts": [8000]}


def found(*parts: Part, holes: bool = False) -> list[tuple[str, str, str]]:
    return [(f.kind, f.severity, str(f)) for f in examine(parts, 80, 100, "a.json, shape 3", holes)]


@pytest.mark.parametrize(
    "parts",
    [
        [SQUARE],
        [[0, 0, 100, 0, 100, 80, 0, 80]],
        [[-0.4, 0, 100.4, 0, 50, 80.4]],
        [[*SQUARE, 10, 20]],  # closed
        [SQUARE, [50, 50, 60, 50, 60, 60]],
        [[10, 10, 50, 10, 50, 50, 30, 10, 10, 50]],  # touches itself at a point
        [{"line": [5, 5, 50, 5], "width": 4}],
        [{**MASK, "left": 80}],
        [RUNS],
        [],
    ],
)
def test_nothing_is_said_of_what_is_sound(parts: list[Part]) -> None:
    assert found(*parts) == []


@pytest.mark.parametrize(
    ("parts", "kind", "severity", "message"),
    [
        ([[10, 20, nan, 20, 30, 40]], "nan-coordinate", "error", "its polygon has a coordinate that is no number; correct or remove it"),
        ([[10, 20, 30, inf, 30, 40]], "nan-coordinate", "error", "its polygon has a coordinate that is no number"),
        ([[10, 20, 30, 40]], "too-few-points", "error", "its polygon has 2 points, expected at least 3; correct or remove it"),
        ([SQUARE, []], "too-few-points", "error", "its polygon 1 has 0 points, expected at least 3"),
        ([{"line": [3, 3], "width": 2}], "too-few-points", "error", "its line has 1 points, expected at least 2"),
        (
            [[-5, 20, 30, 20, 30, 83]],
            "outside-image",
            "warning",
            "its polygon has 2 of its 3 points outside of the image, by up to 5 pixels; what lies beyond 100x80 is cut off",
        ),
        ([MASK], "outside-image", "warning", "its mask has 1 of its 2 points outside of the image, by up to 10 pixels"),
        ([[5, 5, 5, 5, 5, 5]], "zero-area", "warning", "its polygon has no area; it covers no pixel and is left out; remove or redraw it"),
        ([[5, 5, 15, 15, 25, 25, 10, 10]], "zero-area", "warning", "its polygon has no area"),
        ([{"line": [5, 5, 5, 5], "width": 4}], "zero-area", "warning", "its line has no length"),
        ([BOW], "self-intersecting", "warning", "its polygon crosses itself at (15.0, 15.0); what it encloses twice counts as outside"),
        (
            [SQUARE, INNER],
            "polygon-in-polygon",
            "warning",
            "1 of its 2 polygons lie inside another and are added to it; if they are holes, set data.source.holes=true",
        ),
        ([INNER, SQUARE, INNER], "polygon-in-polygon", "warning", "2 of its 3 polygons lie inside another"),
        ([SQUARE, SQUARE], "polygon-in-polygon", "warning", "1 of its 2 polygons lie inside another"),
    ],
)
def test_each_oddity_by_hand(parts: list[Part], kind: str, severity: str, message: str) -> None:
    ((got, how, text),) = found(*parts)
    assert (got, how) == (kind, severity)
    assert text.startswith(f"a.json, shape 3: {message}")


def test_holes_that_are_meant_are_not_odd() -> None:
    assert found(SQUARE, INNER, holes=True) == []


def test_what_rasterising_refuses_is_left_to_it() -> None:
    assert found(["a"], [1, 2, 3], {"size": 3}) == []  # type: ignore[list-item]


def test_a_finding_says_where() -> None:
    (finding,) = examine([BOW], 80, 100, "a.json, shape 3", False)
    assert finding.box == (10, 10, 20, 20)
    assert box_of([[-5.0, 20.5, 120, 20.5, 30, 30.2]], 80, 100) == (0, 20, 100, 31)
    assert box_of([[500.0, 500, 600, 500, 600, 600]], 80, 100) == (99, 79, 100, 80), "beyond the image: its nearest pixel"
    assert box_of([MASK, SQUARE], 80, 100) == (10, 20, 100, 55)
    assert box_of([[5.0, 1, 5, 1, 5, 9]], 80, 100) == (5, 1, 6, 9), "a pixel wide at least"
    assert box_of([RUNS], 80, 100) is None
    assert examine([[nan, 20, 30, 20, 30, 40]], 80, 100, "", False)[0].box is None


def test_what_is_said_of_filling_is_so() -> None:
    """Zero areas cover no pixel, and what a polygon encloses twice is outside."""
    for flat in ([5, 5, 5, 5, 5, 5], [5, 5, 15, 15, 25, 25, 10, 10], [5, 5, 25, 5, 15, 5], [5, 5, 5, 25, 5, 15]):
        assert rle_of([flat], 80, 100)[1] == 0
    twice = [10, 10, 30, 10, 30, 30, 15, 30, 15, 15, 25, 15, 25, 25, 10, 25]
    assert rle_of([twice], 80, 100)[1] == 20 * 20 - 5 * 5 - 10 * 10, "a square without a corner, and without what it encloses twice"


def test_many_parts_and_points_take_time_in_proportion() -> None:
    """A second or two, though the pairs of triangles, and of the edges of a scribble, are too many."""
    from time import process_time

    rng = np.random.default_rng(0)
    triangles = (rng.random((40_000, 1, 2)) * 500 + rng.random((40_000, 3, 2)) * 8).reshape(-1, 6).tolist()
    turn = np.linspace(0, 2 * np.pi, 200_001)
    circle = np.stack([250 + 200 * np.cos(turn), 250 + 200 * np.sin(turn)], 1).ravel().tolist()
    scribble = (rng.random(40_000) * 500).tolist()
    rle_of(triangles[:2], 512, 512)  # compiles
    start = process_time()
    for parts in (triangles, [circle], [scribble], [{"rings": triangles}]):
        examine(parts, 512, 512, "a.json", False)
        rle_of(parts, 512, 512)
    assert process_time() - start < 8
    with pytest.raises(ValueError, match=r"its outlines are [4-7].*e\+07 pixels long, expected at most 3e\+07"):
        rle_of([(rng.random(40_000) * 5000).tolist()], 512, 512)


def test_many_parts_are_one_mask_as_pycocotools_has_it() -> None:
    rng = np.random.default_rng(0)
    triangles = (rng.random((3000, 1, 2)) * 500 + rng.random((3000, 3, 2)) * 8).reshape(-1, 6).tolist()
    rle, area = rle_of(triangles, 512, 512)
    assert rle == coco_mask.merge(coco_mask.frPyObjects(triangles, 512, 512))
    assert area == int(coco_mask.area(rle))


def test_parts_that_are_many_are_told_as_one_by_one() -> None:
    odd = [BOW, [5, 5, 15, 15, 25, 25, 10, 10], [-5, 20, 30, 20, 30, 83], [10, 20, nan, 20, 30, 40], [10, 20, 30, 40], SQUARE, INNER]
    parts = [*odd, *([50 + i, 50, 54 + i, 50, 54 + i, 54] for i in range(20)), *odd]
    together = [(f.kind, f.what) for f in examine(parts, 80, 100, "", True)]
    alone = [[(f.kind, f.what) for f in examine([part], 80, 100, "", True)] for part in parts]
    by_one = [(kind, what.replace("its polygon", f"its polygon {n}", 1)) for n, found in enumerate(alone) for kind, what in found]
    assert together == by_one
    assert len(by_one) == 10
