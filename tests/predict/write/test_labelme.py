"""Predictions written for LabelMe, and read again by the source `labelme`: the same instances and class maps, pixel by pixel."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from annotations import CLASSES, labelme
from random_instances import Scene, random_scenes
from scipy import ndimage
from tiny import masks_of, picture, read_all, write

from seg.data.sample import ClassInfo, Prediction, Sample
from seg.predict.write.polygons import labelme_file


def read_again(folder: Path, prediction: Prediction, size: tuple[int, int], classes: Sequence[ClassInfo] = CLASSES) -> Sample:
    """The image's sample, after the prediction was written beside an image."""
    write(folder / "images" / "a.png", picture(0, size))
    content = labelme_file("../images/a.png", *size, prediction, classes, 0, 1)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.json").write_text(json.dumps(content, allow_nan=False))
    source = labelme(folder, images="images", annotations="labels", holes=True, classes=classes)
    sample = read_all(source)["a"]
    assert not source.findings
    return sample


def test_instances_come_back_as_they_were(tmp_path: Path) -> None:
    seen = 0
    for scene in random_scenes(5, number=8, side=40, crowds=False):
        given: dict[tuple[int, bytes], np.ndarray] = {}
        rng = np.random.default_rng(seen)
        for mask, category in zip(scene.predicted, scene.predicted_categories, strict=True):
            holed = mask & (rng.random(mask.shape) < 0.9)
            if holed.any():
                given.setdefault((category % 2 + 1, holed.tobytes()), holed)
        written = Scene("a", scene.size)
        for (category, _), mask in given.items():
            written.predict(mask, category, float(rng.random()))
        sample = read_again(tmp_path, written.prediction, scene.size)
        assert not sample.crowd.any()
        assert sample.categories.tolist() == written.predicted_categories[::-1], "the best lies on top"
        assert all(np.array_equal(a, b) for a, b in zip(masks_of(sample), written.predicted[::-1], strict=True))
        seen += len(given)
    assert seen > 15


def test_holes_parts_and_single_pixels_come_back(tmp_path: Path) -> None:
    size = (12, 16)
    ring = np.zeros(size, bool)
    ring[0:6, 0:6] = True
    ring[1:5, 1:5] = False
    ring[2, 2] = True
    corners = np.zeros(size, bool)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    pixel = np.zeros(size, bool)
    pixel[11, 7] = True
    staircase = np.zeros(size, bool)
    staircase[np.arange(4, 10), np.arange(6, 12)] = True
    scene = Scene("a", size).predict(ring, 1).predict(corners, 2).predict(pixel, 1).predict(staircase, 1).predict(np.ones(size, bool), 2)
    sample = read_again(tmp_path, scene.prediction, size)
    assert all(np.array_equal(a, b) for a, b in zip(masks_of(sample), scene.predicted[::-1], strict=True))
    content = json.loads((tmp_path / "labels" / "a.json").read_text())
    groups = [(shape["label"], shape["group_id"]) for shape in content["shapes"]]
    assert groups == [("dog", None)] + [("cat", 4)] * 6 + [("cat", None)] + [("dog", 2)] * 4 + [("cat", 1)] * 3
    assert content["shapes"][7]["points"] in ([[7, 11], [7, 12], [8, 12], [8, 11]], [[7, 11], [8, 11], [8, 12], [7, 12]])
    assert {shape["description"] for shape in content["shapes"]} == {"0.9000"}
    rest = {"version": "5.5.0", "flags": {}, "imagePath": "../images/a.png", "imageData": None, "imageHeight": 12, "imageWidth": 16}
    assert {key: value for key, value in content.items() if key != "shapes"} == rest
    shape = content["shapes"][0]
    assert (shape["shape_type"], shape["flags"], shape["mask"]) == ("polygon", {}, None)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("sigma", [0, 1, 4])
def test_class_maps_come_back_as_they_were(tmp_path: Path, sigma: float, background: bool) -> None:
    rng = np.random.default_rng(int(sigma))
    size = (21, 34)
    smooth = np.stack([ndimage.gaussian_filter(rng.standard_normal(size), sigma) for _ in range(3)])
    semantic = smooth.argmax(0).astype(np.uint8)
    classes = CLASSES if background else [ClassInfo("ground", (0, 0, 0)), *CLASSES[1:]]
    sample = read_again(tmp_path, Prediction(semantic), size, classes)
    assert np.array_equal(sample.semantic, semantic)


def test_an_image_in_which_nothing_was_found(tmp_path: Path) -> None:
    sample = read_again(tmp_path, Prediction(np.zeros((5, 7), np.uint8)), (5, 7))
    assert (len(sample.categories), sample.semantic.any()) == (0, False)
