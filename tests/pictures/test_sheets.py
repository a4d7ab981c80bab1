"""Sheets of panels, as files."""

from pathlib import Path

import cv2
import numpy as np

from seg.data.sample import ClassInfo
from seg.pictures.sheets import Panel, attention_panels, save_panels

CLASSES = [ClassInfo("sky", (0, 0, 200)), ClassInfo("tree", (10, 150, 20))]


def sheet(path: Path, count: int) -> np.ndarray:
    """A sheet of green panels."""
    green = np.zeros((20, 30, 3), np.uint8)
    green[..., 1] = 255
    save_panels(path, "title", [Panel(f"panel {i}", green) for i in range(count)], CLASSES)
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


def test_panels_stand_in_rows_of_four(tmp_path: Path) -> None:
    for count, rows, columns in ((3, 1, 3), (4, 1, 4), (6, 2, 4)):
        picture = sheet(tmp_path / f"{count}.png", count)
        regions, _, boxes, _ = cv2.connectedComponentsWithStats((picture == (0, 255, 0)).all(axis=2).astype(np.uint8))
        assert regions - 1 == count
        assert abs(picture.shape[0] - 110 * (rows * (3.4 * 20 / 30 + 0.3) + 0.8)) <= 1, "no row is empty"
        assert len({box[1] // 20 for box in boxes[1:]}) == rows
        assert len({box[0] // 20 for box in boxes[1:]}) == columns
        assert np.ptp(boxes[1:, 2]) <= 1, "panels are of one size"


def test_attention_is_named_with_its_range() -> None:
    image = np.full((2, 2, 1), 90, np.uint8)
    maps = {"stride 8": np.array([[0.125, 0.5], [0.5, 0.75]], np.float32), "stride 4": np.ones((2, 2), np.float32)}
    panels = attention_panels(image, maps)
    assert [p.name for p in panels] == [
        "attention at stride 8: 0.12 (dark) to 0.75 (bright)",
        "attention at stride 4: 1.00 (dark) to 1.00 (bright)",
    ]
    assert panels[0].picture.shape == (2, 2, 3)
    assert panels[0].picture[1, 1].sum() > panels[0].picture[0, 1].sum() > panels[0].picture[0, 0].sum()
