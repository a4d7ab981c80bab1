"""Charts of a page, as shapes in SVG's coordinates; assets/charts.css draws them in the page's own colours, light or dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

WIDTH, HEIGHT = 300, 190  # of the drawing; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 42, 10, 10, 36  # around the plot
TITLED = 2000  # points of a scatter chart, at most, that say what they are


@dataclass(frozen=True, slots=True)
class Shape:
    """An element of a drawing. title: what it says when it is pointed at; text: what is written."""

    tag: str
    attributes: Mapping[str, Any]
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """label: what the chart says, for who cannot see it."""

    label: str
    shapes: Sequence[Shape]
    height: float = HEIGHT
    width: float = WIDTH


@dataclass(frozen=True, slots=True)
class Frame:
    """Where numbers lie in a drawing. xs, ys: the lowest and highest number of each axis. height: of the drawing."""

    xs: tuple[float, float]
    ys: tuple[float, float]
    height: float = HEIGHT

    @property
    def bottom(self) -> float:
        return self.height - BOTTOM

    def x(self, value: float) -> float:
        return LEFT + (value - self.xs[0]) / (self.xs[1] - self.xs[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.ys[0]) / (self.ys[1] - self.ys[0]) * (self.bottom - TOP)


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers over the x axis; NaN breaks the line. style: its class in the style."""

    name: str
    values: Sequence[float]
    style: str = "first"


def line_chart(label: str, x_name: str, xs: Sequence[float], lines: Sequence[Line], mark: float | None = None) -> Chart:
    """Lines over xs. mark: where a dashed line stands."""
    values = [v for line in lines for v in line.values if math.isfinite(v)]
    frame = Frame(_apart(min(xs), max(xs)), _nice(min(values, default=0.0), max(values, default=1.0)))
    shapes = [*_axes(frame, x_name, whole="x"), *_mark(frame, mark)]
    for line in lines:
        for run in _runs(xs, line.values):
            shapes.append(_polyline(frame, run, line.style))
            if len(xs) <= 60:
                shapes += [_dot(frame, x, y, f"{line.name}, {x_name} {x:g}: {y:.4g}", line.style) for x, y in run]
    return Chart(label, shapes)


def histogram(label: str, x_name: str, edges: Sequence[float], counts: Sequence[int], noun: str, mark: float | None = None) -> Chart:
    """Bars between B + 1 edges. noun: what is counted; mark: where a dashed line stands."""
    frame = Frame((edges[0], edges[-1]), _nice(0, max(1, *counts)))
    shapes = [*_axes(frame, x_name, whole="y")]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, top = frame.x(low) + 0.5, frame.y(count)
        title = f"{low:.3g} to {high:.3g}: {count} {noun}"
        shapes.append(_shape("rect", "column", title, x=left, y=top, width=frame.x(high) - left - 0.5, height=frame.bottom - top))
    return Chart(label, [*shapes, *_mark(frame, mark)])


def reliability_chart(rows: Sequence[Mapping[str, Any]], unit: str, error: float) -> Chart:
    """Accuracy over confidence of bins (Guo et al. 2017), the diagonal of perfect calibration beside it; the area of a dot grows with its
    count. rows: see `seg.metrics.calibration.reliability_rows`; unit: what they count; error: the expected calibration error."""
    frame = Frame((0.0, 1.0), (0.0, 1.0))
    there = [(row["confidence"], row["accuracy"], row[unit]) for row in rows if row[unit]]
    shapes = [*_axes(frame, "confidence"), _diagonal(frame), _polyline(frame, [(c, a) for c, a, _ in there], "first")]
    most = max((n for _, _, n in there), default=1)
    for c, a, n in there:
        title = f"confidence {c:.3f}, {a:.3f} right, {n:,} {unit}"
        shapes.append(_dot(frame, c, a, title, "first", 2.5 + 6 * math.sqrt(n / most)))
    return Chart(f"reliability: expected calibration error {error:.4f}", shapes)


def scatter_chart(label: str, x_name: str, y_name: str, points: Sequence[tuple[float, float, str]]) -> Chart:
    """A dot a point (x, y, what it is), both axes alike, and the diagonal on which x and y are equal."""
    values = [v for x, y, _ in points for v in (x, y)]
    axis = _nice(min(values, default=0.0), max(values, default=1.0))
    frame = Frame(axis, axis, WIDTH - LEFT - RIGHT + TOP + BOTTOM)
    x, y = 11.0, (TOP + frame.bottom) / 2
    upright = _text(y_name, x, y, "middle", transform=f"rotate(-90 {x} {y:.1f})")
    shapes = [*_axes(frame, x_name), upright, _diagonal(frame)]
    if len(points) <= TITLED:
        shapes += [_dot(frame, x, y, text, "point", 3) for x, y, text in points]
    else:
        shapes.append(_shape("path", "point", d="".join(f"M{frame.x(x):.1f} {frame.y(y):.1f}h0" for x, y, _ in points)))
    return Chart(label, shapes, frame.height)


def _shape(tag: str, style: str | None, title: str = "", text: str = "", **attributes: float | str) -> Shape:
    """An element of a class of the style; coordinates in tenths of a pixel."""
    rounded = {key.replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else value for key, value in attributes.items()}
    return Shape(tag, {"class": style, **rounded}, title, text)


def _line(style: str, start: tuple[float, float], stop: tuple[float, float]) -> Shape:
    return _shape("line", style, x1=start[0], y1=start[1], x2=stop[0], y2=stop[1])


def _polyline(frame: Frame, points: Sequence[tuple[float, float]], style: str) -> Shape:
    return _shape("polyline", style, points=" ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points))


def _diagonal(frame: Frame) -> Shape:
    start, stop = ((frame.x(v), frame.y(v)) for v in frame.xs)
    return _line("mark", start, stop)


def _mark(frame: Frame, at: float | None) -> list[Shape]:
    return [] if at is None else [_line("mark", (frame.x(at), TOP), (frame.x(at), frame.bottom))]


def _dot(frame: Frame, x: float, y: float, title: str, style: str, radius: float = 2.5) -> Shape:
    return _shape("circle", style, title, cx=frame.x(x), cy=frame.y(y), r=radius)


def _text(text: str, x: float, y: float, anchor: str, **more: str) -> Shape:
    return _shape("text", None, "", text, x=x, y=y, text_anchor=anchor, **more)


def _axes(frame: Frame, x_name: str, whole: str = "") -> Iterator[Shape]:
    """Grid, numbers and the name of the x axis. whole: the axis, x or y, of whole numbers alone."""
    for value in _ticks(*frame.ys, 5, whole == "y"):
        y = frame.y(value)
        yield _line("grid", (LEFT, y), (WIDTH - RIGHT, y))
        yield _text(_number(value), LEFT - 5, y + 3.5, "end")
    for value in _ticks(*frame.xs, 6, whole == "x"):
        x = frame.x(value)
        yield _line("grid", (x, frame.bottom), (x, frame.bottom + 4))
        yield _text(_number(value), x, frame.bottom + 15, "middle")
    yield _text(x_name, (LEFT + WIDTH - RIGHT) / 2, frame.height - 4, "middle")


def _runs(xs: Sequence[float], values: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The pieces of a line between the numbers that are NaN."""
    runs = groupby(zip(xs, values, strict=True), lambda point: math.isfinite(point[1]))
    return [list(run) for is_known, run in runs if is_known]


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
