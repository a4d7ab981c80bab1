"""Learning curves: the history of a training as charts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seg.report.charts import Chart, Line, line_chart


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """A chart of a figure. key: what its lines are."""

    name: str
    chart: Chart
    key: str


def learning_curves(rows: Sequence[Mapping[str, float]], best: int | None) -> list[LearningCurve]:
    """A chart a figure; those of training and validation that share a name share a chart. rows: one an epoch; best: the epoch evaluated."""
    names = [name for name in rows[0] if name not in ("epoch", "threads")] if rows else []
    groups: dict[str, list[Line]] = {}
    for name in names:
        part, _, figure = name.partition("_")
        shared = figure if part in ("train", "val") else name
        values = [row[name] for row in rows]
        if any(map(math.isfinite, values)):
            groups.setdefault(shared, []).append(Line(name, values, "second" if part == "val" and f"train_{figure}" in names else "first"))
    epochs = [row["epoch"] for row in rows]
    return [_curve(name, epochs, lines, best) for name, lines in groups.items()]


def _curve(name: str, epochs: Sequence[float], lines: Sequence[Line], best: int | None) -> LearningCurve:
    key = "solid: train; dashed: val" if len(lines) > 1 else lines[0].name
    said = "; ".join(f"{line.name} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for line in lines)
    return LearningCurve(name, line_chart(said, "epoch", epochs, lines, best), key if key != name else "")
