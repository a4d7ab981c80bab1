"""Shapes as polygons: areas counted by hand, and curves against the pixels whose centres lie within."""

import numpy as np
import pytest

from seg.core.errors import ConfigError
from seg.data.labelmaps import decode
from seg.data.sample import ClassInfo
from seg.sources import part_rle
from seg.sources.base import Drawn
from seg.sources.images import ImageReader
from seg.sources.part_rle import Part, bands, ellipse, rectangle, rle_of


def area(*parts: Part, holes: bool = False) -> int:
    return rle_of(list(parts), 100, 120, holes)[1]


def test_rectangles_have_the_pixels_that_they_cover() -> None:
    assert rectangle(2, 3, 8, 9) == [2, 3, 8, 3, 8, 9, 2, 9]
    assert area(rectangle(2, 3, 8, 9)) == 6 * 6
    assert area(rectangle(8, 9, 2, 3)) == 6 * 6, "from any corner to the opposite one"
    assert np.allclose(rectangle(10, 20, 30, 24, 90), [22, 12, 22, 32, 18, 32, 18, 12]), "clockwise, as y goes down"
    assert area(rectangle(10, 20, 30, 24, 90)) == 20 * 4


@pytest.mark.parametrize(("rx", "ry", "turn"), [(12, 12, 0), (30, 8, 0), (30, 8, 90), (25, 10, 30), (5, 5, 0), (40.5, 20.25, -45)])
def test_ellipses_cover_the_pixels_whose_centres_they_hold(rx: float, ry: float, turn: float) -> None:
    y, x = np.mgrid[0:100, 0:120] + 0.5
    dx, dy, angle = x - 60.3, y - 49.8, np.radians(turn)
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    truth = np.count_nonzero((along / rx) ** 2 + (across / ry) ** 2 <= 1)
    assert truth == pytest.approx(np.pi * rx * ry, rel=0.05)
    assert area(ellipse(60.3, 49.8, rx, ry, turn)) == pytest.approx(truth, abs=0.25 * (rx + ry)), "the rim is drawn as polygons are"


def test_a_curve_keeps_close_to_its_polygon() -> None:
    for radius in (3, 50, 4000):
        points = np.array(ellipse(0, 0, radius, radius)).reshape(-1, 2)
        assert np.allclose(np.hypot(*points.T), radius)
        middles = (points + np.roll(points, 1, axis=0)) / 2
        assert radius - np.hypot(*middles.T).min() < 0.1


def test_lines_have_their_width() -> None:
    assert area({"line": [10, 20, 30, 20], "width": 4}) == 20 * 4
    assert area({"line": [10, 20, 10, 50], "width": 6}) == 30 * 6
    bent = area({"line": [10, 20, 30, 20, 30, 40], "width": 4})
    assert bent == pytest.approx(20 * 4 + 20 * 4 - 2 * 2 + np.pi, abs=1.2), "two bands overlap in a square, and the joint is round"


def test_a_line_around_something_leaves_it_free() -> None:
    ring = {"line": [20, 20, 60, 20, 60, 60, 20, 60, 20, 20], "width": 4}
    assert [len(rings) for rings in bands(ring["line"], 4)] == [2]
    mask_area, corners = area(ring), 3 * (np.pi - 4) + -4
    assert mask_area == pytest.approx(44 * 44 - 36 * 36 + corners, abs=6)
    assert area(ring, holes=True) == mask_area, "what encloses a line is no hole of an object"


def test_widths_must_be_above_zero() -> None:
    shared = {"root": "", "classes": [ClassInfo("car", (0, 0, 0))], "reader": ImageReader(3), "split": None}
    named = {"ignore": [], "drop": [], "others": "refuse"}
    Drawn(**shared, **named, line_width=1, point_radius=0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^data.source.point_radius=0: expected a number of pixels above 0; to leave such shapes out, "):
        Drawn(**shared, **named, line_width=1, point_radius=0)  # type: ignore[arg-type]


def test_a_long_line_is_the_line_whatever_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a time in proportion to its points, though it crosses itself as often as their square."""
    from time import process_time

    def drawn(points: np.ndarray) -> np.ndarray:
        return decode([rle_of([{"line": points.ravel().tolist(), "width": 1.0}], 100, 120)[0]], 100, 120).any(axis=2)

    rng = np.random.default_rng(0)
    for points in (rng.uniform(0, 90, (300, 2)), np.cumsum(rng.normal(0, 0.7, (900, 2)), axis=0) + 45):
        pieces = drawn(points)
        with monkeypatch.context() as context:
            context.setattr(part_rle, "WHOLE", 10**6)
            whole = drawn(points)
        assert (pieces != whole).mean() < 0.03, "where pieces meet, a pixel may fall on the other side"
        assert 0.02 < whole.mean() < 0.999
    start = process_time()
    drawn(rng.uniform(0, 90, (3000, 2)))
    assert process_time() - start < 5
