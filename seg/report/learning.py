"""Learning curves: the history of a training as charts and numbers."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from seg.core.errors import plural
from seg.report.charts import Line, line_chart
from seg.report.html import number, table, whole


def learning_section(rows: Sequence[Mapping[str, float]], best: int | None) -> str:
    """A chart a figure; those of training and validation that share a name share a chart. rows: one an epoch; best: the epoch evaluated."""
    if not rows:
        return ""
    epochs = [row["epoch"] for row in rows]
    names = [name for name in rows[0] if name != "epoch"]
    lines: dict[str, list[Line]] = {}
    for name in names:
        part, _, figure = name.partition("_")
        shared = figure if part in ("train", "val") else name
        values = [row[name] for row in rows]
        lines.setdefault(shared, []).append(Line(name, values, "second" if part == "val" and f"train_{figure}" in names else "first"))
    drawn = "".join(_curve(name, epochs, group, best) for name, group in lines.items())
    text = "" if best is None else f"<p>The evaluated weights are those of epoch {best}, the dashed line.</p>"
    cells = ["".join(f"<td>{number(whole(row[key]))}</td>" for key in rows[0]) for row in rows]
    numbers = f"<details><summary>The numbers of {plural(len(rows), 'epoch')}</summary>{table(list(rows[0]), cells)}</details>"
    return f'{text}<div class="charts">{drawn}</div>{numbers}'


def _curve(name: str, epochs: Sequence[float], group: Sequence[Line], best: int | None) -> str:
    values = [v for line in group for v in line.values if math.isfinite(v)]
    if not values:
        return ""
    names = "solid: train; dashed: val" if len(group) > 1 else group[0].name
    key = f'<p class="key">{escape(names)}</p>' if names != name else ""
    said = "; ".join(f"{line.name} from {line.values[0]:.4g} to {line.values[-1]:.4g}" for line in group)
    return f"<figure><h3>{escape(name)}</h3>{line_chart(said, 'epoch', epochs, group, best)}{key}</figure>"
