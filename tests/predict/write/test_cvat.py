"""Predictions written for CVAT, and read again by the source `cvat`: the same instances, class maps and boxes, pixel by pixel."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from annotations import CLASSES, cvat
from random_instances import Scene, random_scenes
from scipy import ndimage
from tiny import masks_of, picture, read_all, write

from seg.data.sample import CERTAIN, ClassInfo, Prediction, Sample
from seg.predict.inputs import Input
from seg.predict.write.coco import CvatWriter, objects_of


def read_again(folder: Path, given: Sequence[Prediction], size: tuple[int, int], classes: Sequence[ClassInfo] = CLASSES) -> list[Sample]:
    """The images' samples, after the predictions were written; names hold what XML must escape."""
    writer = CvatWriter(folder / "annotations.xml", classes, 1, 0.0)
    for number, prediction in enumerate(given):
        path = write(folder / "images" / f'{number} "a" & <b>.png', picture(number, size))
        writer.add(Input(path.stem, path), *size, prediction)
    writer.close()
    source = cvat(folder, classes=classes)
    found = read_all(source)
    assert not source.findings
    return [found[f'{number} "a" & <b>'] for number in range(len(given))]


def test_instances_come_back_as_they_were(tmp_path: Path) -> None:
    """Ragged, of several parts and with holes, at every edge, on top of each other."""
    scenes, rng = [], np.random.default_rng(0)
    for scene in random_scenes(5, number=8, side=40, crowds=False):
        given: dict[tuple[int, bytes], np.ndarray] = {}
        for mask, category in zip(scene.predicted, scene.predicted_categories, strict=True):
            holed = mask & (rng.random(mask.shape) < 0.9)
            if holed.any():
                given.setdefault((category % 2 + 1, holed.tobytes()), holed)
        written = Scene("a", (80, 80))
        for (category, _), mask in given.items():
            full = np.zeros((80, 80), bool)
            full[: mask.shape[0], : mask.shape[1]] = mask
            written.predict(full, category, float(rng.random()))
        scenes.append(written.predict(np.ones((80, 80), bool), 2, 0.01))
    assert sum(len(scene.predicted) for scene in scenes) > 20
    for scene, sample in zip(scenes, read_again(tmp_path, [scene.prediction for scene in scenes], (80, 80)), strict=True):
        assert sample.categories.tolist() == scene.predicted_categories[::-1], "the best lies on top"
        assert all(np.array_equal(a, b) for a, b in zip(masks_of(sample), scene.predicted[::-1], strict=True))


@pytest.mark.parametrize("background", [True, False])
def test_class_maps_come_back_as_they_were(tmp_path: Path, background: bool) -> None:
    rng, size = np.random.default_rng(1), (21, 34)
    maps = [ndimage.gaussian_filter(rng.standard_normal((3, *size)), (0, s, s)).argmax(0).astype(np.uint8) for s in (0, 1, 4)]
    classes = CLASSES if background else [ClassInfo("ground", (0, 0, 0)), *CLASSES[1:]]
    samples = read_again(tmp_path, [Prediction(semantic) for semantic in maps], size, classes)
    for semantic, sample in zip(maps, samples, strict=True):
        assert np.array_equal(sample.semantic, semantic)


def test_regions_have_the_mean_confidence_of_their_pixels_and_a_least_area() -> None:
    semantic, confidence = np.zeros((4, 6), np.uint8), np.full((4, 6), CERTAIN, np.uint16)
    semantic[0, :3], semantic[1, 3], semantic[3, 4:] = 1, 1, 2
    confidence[0, 0] = 0
    found = objects_of(Prediction(semantic, confidence), CLASSES, 1)
    assert found.categories.tolist() == [1, 1, 2]
    assert found.scores.tolist() == pytest.approx([2 / 3, 1, 1])
    assert found.boxes.tolist() == [[0, 0, 3, 1], [3, 1, 4, 2], [4, 3, 6, 4]]
    assert objects_of(Prediction(semantic, confidence), CLASSES, 2).categories.tolist() == [1, 2]


def test_boxes_and_thresholds(tmp_path: Path) -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    scene = Scene("a", (10, 12)).predict(mask, 1, 0.9).predict(mask, 2, 0.3)
    writer = CvatWriter(tmp_path / "cvat.xml", CLASSES, 1, 0.5)
    writer.add(Input("film/000003", Path("film.mp4"), 3), 10, 12, replace(scene.prediction, boxed=True))
    writer.close()
    lines = (tmp_path / "cvat.xml").read_text().splitlines()
    assert lines[3:5] == [
        '<image id="0" name="film/000003.png" width="12" height="10">',
        '  <box xtl="3.0" ytl="2.0" xbr="9.0" ybr="5.0" label="cat" source="auto" occluded="0" z_order="0"/>',
    ]
    assert lines[5:] == ["</image>", "</annotations>"]
