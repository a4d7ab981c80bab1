"""Shapes that annotation programs draw -> polygons [x1, y1, x2, y2, ...] in pixels, x to the right and y down.

Coordinates are continuous: the pixel in the first row and column covers 0..1 on both axes, so a rectangle from (2, 3) to
(8, 9) has 6 x 6 pixels.
"""

from math import ceil, cos, isfinite, nan, pi, radians, sin, sqrt

import shapely

from seg.core.errors import ConfigError

WHOLE, PIECE = 256, 16  # points of a line that is drawn at once, and of a piece of a longer one
ERROR = 0.02  # pixels that the polygon of an ellipse may lie inside of its curve


def rectangle(x1: float, y1: float, x2: float, y2: float, turn: float = 0.0) -> list[float]:
    """The rectangle of two opposite corners, turned clockwise around its centre by `turn` degrees."""
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if turn:
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        corners = [_turned(x - cx, y - cy, cx, cy, radians(turn)) for x, y in corners]
    return [value for corner in corners for value in corner]


def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> list[float]:
    """The ellipse of a centre and two radii, turned clockwise by `turn` degrees; with equal radii a circle, or a point's disc."""
    radius = max(abs(rx), abs(ry))
    if not radius <= 1e6:  # not a number, or far beyond any image: both are refused by what looks at the outline
        return [cx + rx, cy + ry] * 3
    count = max(16, ceil(pi * sqrt(radius / (2 * ERROR))))
    angles = [2 * pi * i / count for i in range(count)]
    points = [_turned(rx * cos(a), ry * sin(a), cx, cy, radians(turn)) for a in angles]
    return [value for point in points for value in point]


def bands(points: list[float], width: float) -> list[list[list[float]]]:
    """A line of `width` pixels through the points, with flat ends and round joints, as areas that may overlap.

    An area is rings: its outline, then its holes. A line of many points makes several areas, as a line that crosses itself takes a time
    with the square of its points.
    """
    pairs = list(zip(points[::2], points[1::2], strict=True))
    if len(pairs) <= WHOLE:
        return [_band(pairs, width)]
    return [_band(pairs[max(0, at - 1) : at + PIECE + 1], width) for at in range(0, len(pairs) - 1, PIECE)]


def _band(points: list[tuple[float, float]], width: float) -> list[list[float]]:
    drawn = shapely.LineString(points).buffer(width / 2, quad_segs=16, cap_style="flat", join_style="round")
    rings = [ring for polygon in shapely.get_parts(drawn) for ring in (polygon.exterior, *polygon.interiors)]
    return [shapely.get_coordinates(ring).ravel().tolist() for ring in rings if not ring.is_empty]


def refuse_no_width(**settings: float) -> None:
    """ConfigError where a line or point would be drawn without any width."""
    for key, value in settings.items():
        if not 0 < value < 1e4:
            raise ConfigError(
                f"data.source.{key}={value}: expected a number of pixels above 0; to leave such shapes out, drop their labels"
            )


def _turned(dx: float, dy: float, cx: float, cy: float, angle: float) -> tuple[float, float]:
    angle = angle if isfinite(angle) else nan  # then all of it is not a number, which what looks at the outline refuses
    return cx + dx * cos(angle) - dy * sin(angle), cy + dx * sin(angle) + dy * cos(angle)
