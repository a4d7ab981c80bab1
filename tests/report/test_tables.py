"""metrics.json and tables, by their text."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from seg.report.tables import write_metrics, write_rows


def test_metrics_are_nested_json_with_six_digits_and_null_for_nan(tmp_path: Path) -> None:
    path = tmp_path / "made/metrics.json"
    write_metrics(
        path, {"test": {"miou": 1 / 3, "num_images": 24}, "per_class": {"disc": {"iou": math.nan, "dice": np.float64(0.1234567)}}}
    )
    assert path.read_text() == (
        '{\n  "test": {\n    "miou": 0.333333,\n    "num_images": 24\n  },\n'
        '  "per_class": {\n    "disc": {\n      "iou": null,\n      "dice": 0.123457\n    }\n  }\n}\n'
    )
    assert json.loads(path.read_text())["per_class"]["disc"]["iou"] is None


def test_rows_are_csv_with_blanks_for_nan(tmp_path: Path) -> None:
    path = tmp_path / "made/per_image.csv"
    rows = [
        {"image_id": "a/1, left", "miou": 2 / 3, "pixels": 7, "note": None},
        {"image_id": "b", "miou": math.nan, "pixels": 0, "note": "x"},
    ]
    write_rows(path, rows)
    assert path.read_bytes() == b'image_id,miou,pixels,note\n"a/1, left",0.666667,7,\nb,,0,x\n'


def test_a_row_with_another_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="extra"):
        write_rows(tmp_path / "rows.csv", [{"a": 1}, {"a": 1, "extra": 2}])


def test_a_table_without_rows_is_refused_and_no_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"made/rows\.csv: a table needs a row"):
        write_rows(tmp_path / "made/rows.csv", [])
    assert not list(tmp_path.iterdir())
