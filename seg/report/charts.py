"""Charts of a page as inline SVG, drawn in the page's own colours, so that they are read in light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 300, 190  # of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 42, 10, 10, 36  # around the plot
TITLED = 2000  # points of a scatter chart, at most, that say what they are


@dataclass(frozen=True, slots=True)
class Frame:
    """Where numbers lie in a drawing. xs, ys: the lowest and highest number of each axis. height: of the drawing."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    height: float = HEIGHT

    @property
    def bottom(self) -> float:
        """Where the x axis lies."""
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        return LEFT + (value - self.xs[0]) / (self.xs[1] - self.xs[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.ys[0]) / (self.ys[1] - self.ys[0]) * (self.bottom - TOP)


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers over the x axis; NaN breaks the line. style: a class of STYLE."""

    name: str
    values: Sequence[float]
    style: str = "first"


def line_chart(label: str, x_name: str, xs: Sequence[float], lines: Sequence[Line], mark: float | None = None) -> str:
    """Lines over xs. label: what the chart says, for who cannot see it; mark: where a dashed line stands."""
    values = [v for line in lines for v in line.values if math.isfinite(v)]
    frame = Frame(_apart(min(xs), max(xs)), _nice(min(values, default=0.0), max(values, default=1.0)))
    parts = [_axes(frame, x_name, whole="x")]
    parts += _mark(frame, mark)
    for line in lines:
        for run in _runs(xs, line.values):
            points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
            parts.append(f'<polyline class="{line.style}" points="{points}"/>')
            if len(xs) <= 60:
                parts += [_dot(frame, x, y, f"{line.name}, {x_name} {x:g}: {y:.4g}", line.style) for x, y in run]
    return _drawing(label, parts)


def histogram(label: str, x_name: str, edges: Sequence[float], counts: Sequence[int], noun: str, mark: float | None = None) -> str:
    """Bars between B + 1 edges. noun: what is counted; mark: where a dashed line stands."""
    frame = Frame((edges[0], edges[-1]), _nice(0, max(1, *counts)))
    parts = [_axes(frame, x_name, whole="y")]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, top = frame.x(low) + 0.5, frame.y(count)
        size = f'width="{frame.x(high) - left - 0.5:.1f}" height="{frame.bottom - top:.1f}"'
        title = f"<title>{low:.3g} to {high:.3g}: {count} {escape(noun)}</title>"
        parts.append(f'<rect class="column" x="{left:.1f}" y="{top:.1f}" {size}>{title}</rect>')
    parts += _mark(frame, mark)
    return _drawing(label, parts)


def reliability_chart(label: str, confidence: np.ndarray, accuracy: np.ndarray, counts: np.ndarray, unit: str) -> str:
    """Accuracy over confidence, the diagonal of perfect calibration beside it; the area of a dot grows with its count."""
    frame = Frame((0.0, 1.0), (0.0, 1.0))
    parts = [_axes(frame, "confidence"), _diagonal(frame)]
    there = [(float(c), float(a), int(n)) for c, a, n in zip(confidence, accuracy, counts, strict=True) if n]
    points = " ".join(f"{frame.x(c):.1f},{frame.y(a):.1f}" for c, a, _ in there)
    parts.append(f'<polyline class="first" points="{points}"/>')
    most = max((n for _, _, n in there), default=1)
    for c, a, n in there:
        title = f"confidence {c:.3f}, {a:.3f} right, {n:,} {unit}"
        parts.append(_dot(frame, c, a, title, "first", 2.5 + 6 * math.sqrt(n / most)))
    return _drawing(label, parts)


def scatter_chart(label: str, x_name: str, y_name: str, points: Sequence[tuple[float, float, str]]) -> str:
    """A dot a point (x, y, what it is), both axes alike, and the diagonal on which x and y are equal."""
    values = [v for x, y, _ in points for v in (x, y)]
    axis = _nice(min(values, default=0.0), max(values, default=1.0))
    frame = Frame(axis, axis, WIDTH - LEFT - RIGHT + TOP + BOTTOM)
    parts = [_axes(frame, x_name), _upright(frame, y_name), _diagonal(frame)]
    if len(points) <= TITLED:
        parts += [_dot(frame, x, y, text, "point", 3) for x, y, text in points]
    else:
        dots = "".join(f"M{frame.x(x):.1f} {frame.y(y):.1f}h0" for x, y, _ in points)
        parts.append(f'<path class="point" d="{dots}"/>')
    return _drawing(label, parts, frame.height)


def _upright(frame: Frame, name: str) -> str:
    """The name of the y axis, read from below."""
    x, y = 11, (TOP + frame.bottom) / 2
    return f'<text x="{x}" y="{y:.1f}" text-anchor="middle" transform="rotate(-90 {x} {y:.1f})">{escape(name)}</text>'


def _diagonal(frame: Frame) -> str:
    (low, high) = frame.xs
    return f'<line class="mark" x1="{frame.x(low):.1f}" y1="{frame.y(low):.1f}" x2="{frame.x(high):.1f}" y2="{frame.y(high):.1f}"/>'


def _mark(frame: Frame, at: float | None) -> list[str]:
    if at is None:
        return []
    x = frame.x(at)
    return [f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{frame.bottom}"/>']


def _dot(frame: Frame, x: float, y: float, title: str, style: str, radius: float = 2.5) -> str:
    place = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{radius:.1f}"'
    return f'<circle class="{style}" {place}><title>{escape(title)}</title></circle>'


def _drawing(label: str, parts: Sequence[str], height: float = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _axes(frame: Frame, x_name: str, whole: str = "") -> str:
    """Grid, numbers and the name of the x axis. whole: the axis, x or y, of whole numbers alone."""
    parts = []
    for value in _ticks(*frame.ys, 5, whole == "y"):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{_number(value)}</text>')
    for value in _ticks(*frame.xs, 6, whole == "x"):
        x = frame.x(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.bottom}" y2="{frame.bottom + 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{frame.bottom + 15}" text-anchor="middle">{_number(value)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{frame.height - 4:g}" text-anchor="middle">{escape(x_name)}</text>')
    return "".join(parts)


def _runs(xs: Sequence[float], values: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The pieces of a line between the numbers that are NaN."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, values, strict=True):
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten that takes at most `most` steps over a span."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * n for n in (1, 2, 5, 10) if span / (power * n) <= most + 1e-9)


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _nice(low: float, high: float) -> tuple[float, float]:
    """An axis around the numbers that starts and ends at a tick."""
    low, high = _apart(low, high)
    step = _step(high - low, 5)
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _ticks(low: float, high: float, most: int, whole: bool) -> list[float]:
    step = max(_step(high - low, most), 1.0 if whole else 0.0)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


STYLE = """
svg { display: block; width: 100%; height: auto; max-width: 27rem; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); stroke-width: .7; }
svg .mark { stroke: var(--ink); stroke-dasharray: 4 3; }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .first { stroke: var(--bar); }
svg .second { stroke: var(--wrong); stroke-dasharray: 6 3; }
svg circle { stroke-dasharray: none !important; fill: var(--paper); stroke-width: 1.5; }
svg circle.first { fill: var(--bar); }
svg .column { fill: var(--bar); }
svg circle.point { fill: var(--bar); fill-opacity: .45; stroke: var(--bar); stroke-width: .8; }
svg circle.point:hover { fill: var(--wrong); fill-opacity: 1; stroke: var(--ink); }
svg path.point { stroke: var(--bar); stroke-width: 4; stroke-linecap: round; stroke-opacity: .45; fill: none; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
.charts h3 { margin: .2rem 0; font-size: .95rem; overflow-wrap: anywhere; }
.key { color: var(--soft); font-size: .85rem; margin: 0; }
"""
