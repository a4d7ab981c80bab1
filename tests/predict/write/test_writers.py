"""Boxes as files: YOLO's lines by hand, and COCO's annotations without masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Prediction
from seg.predict.api import settings_of
from seg.predict.inputs import Input
from seg.predict.write.writers import Predicted, Writers
from seg.tiles.network import Facts

CLASSES = (ClassInfo("background", (0, 0, 0)), ClassInfo("cat", (255, 0, 0)), ClassInfo("dog", (0, 255, 0)))


def predicted(boxes: list[list[float]], scores: list[float], categories: list[int]) -> Predicted:
    columns = np.array(scores, np.float32), np.array(categories, np.int32), np.array(boxes, np.float32).reshape(-1, 4)
    said = Facts("detection", CLASSES, 3, 32, None).finished([Prediction(None, None, *columns, [{"size": [50, 100]}] * len(boxes))])
    return Predicted(Input("sub/a", Path("a.png")), np.zeros((50, 100, 3), np.uint8), said[0])


@pytest.mark.parametrize("first", [0, 1], ids=["with background", "without"])
def test_boxes_are_yolos_lines_and_cocos_annotations(tmp_path: Path, first: int) -> None:
    settings = settings_of(["predict.outputs=[yolo,coco]", "predict.score_threshold=0.3"], ROOT).predict
    writers = Writers(tmp_path, settings, Facts("detection", CLASSES[first:], 3, 32, None))
    writers.write(predicted([[10, 20, 30, 45], [0, 0, 100, 50], [1, 1, 2, 2]], [0.9, 0.5, 0.25], [2, 1, 1]))
    writers.write(Predicted(Input("b", Path("b.png")), np.zeros((50, 100, 3), np.uint8), predicted([], [], []).prediction))
    writers.close()
    lines = [f"{1 + first} 0.2 0.65 0.2 0.5 0.9", f"{first} 0.5 0.5 1 1 0.5"]
    assert (tmp_path / "yolo/sub/a.txt").read_text().splitlines() == lines
    assert (tmp_path / "yolo/b.txt").read_text() == ""
    written = json.loads((tmp_path / "coco.json").read_text())["annotations"]
    assert [(a["category_id"], a["bbox"]) for a in written] == [(2, [10, 20, 20, 25]), (1, [0, 0, 100, 50]), (1, [1, 1, 1, 1])]
    assert not any("segmentation" in a for a in written)
    with pytest.raises(ConfigError, match=r"predict.outputs: ids: .*outputs of task=detection"):
        Writers(tmp_path, settings_of(["predict.outputs=[ids]"], ROOT).predict, Facts("detection", CLASSES, 3, 32, None))
