"""Figures as files that DVC, spreadsheets and people read: metrics.json and tables."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from seg.core.outputs import write_whole


def write_metrics(path: Path, content: Mapping[str, Any]) -> None:
    """Nested figures as JSON, six digits; NaN (an absent class) becomes null."""
    write_whole(path, json.dumps(_rounded(content), indent=2) + "\n")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A CSV with the keys of the first row as columns; NaN is left blank. Raises ValueError without a row, which names no columns."""
    if not rows:
        raise ValueError(f"{path}: a table needs a row to tell its columns; leave an empty one out")
    file = StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in _rounded(row).items()} for row in rows)
    write_whole(path, file.getvalue())


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines for a console, each column as wide as it has to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
