"""Real masks and class maps as if they were predicted: written as polygons and read back to the same pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from annotations import labelme
from random_instances import Scene
from scipy import ndimage
from shapely.geometry import shape
from tiny import masks_of, picture, read_all, write

from seg.data.sample import ClassInfo, Prediction, Sample
from seg.predict.write.polygons import geojson, labelme_file

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CAMVID, NUCLEI = DATA / "camvid" / "testannot", DATA / "dsb2018_nuclei" / "stage1_train"
OVERLAPPING = "0a7d30b252359a10fd298b638b90cb9ada3acced4e0c0e5a3692013f432ee4e9"
CLASSES = [ClassInfo(f"class{k}", (20 * k, 0, 0)) for k in range(12)]

pytestmark = [pytest.mark.real, pytest.mark.skipif(not (CAMVID.is_dir() and NUCLEI.is_dir()), reason=f"the data do not lie in {DATA}")]


def read_again(folder: Path, prediction: Prediction, size: tuple[int, int]) -> Sample:
    write(folder / "a.png", picture(0, size))
    (folder / "a.json").write_text(json.dumps(labelme_file("a.png", *size, prediction, CLASSES, 0, 1)))
    return read_all(labelme(folder, holes=True, classes=CLASSES))["a"]


@pytest.mark.parametrize("index", [3, 100, 232])
def test_a_street_scene(tmp_path: Path, index: int) -> None:
    semantic = cv2.imread(str(sorted(CAMVID.glob("*.png"))[index]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read_again(tmp_path, Prediction(semantic), semantic.shape).semantic, semantic)
    features = geojson(Prediction(semantic), CLASSES, 0, 1)["features"]
    assert len(features) == sum(ndimage.label(semantic == k)[1] for k in range(12)) > 100
    assert all(shape(f["geometry"]).is_valid for f in features)
    for k in np.unique(semantic):
        of_class = [shape(f["geometry"]) for f in features if f["properties"]["class"] == f"class{k}"]
        assert shapely.area(of_class).sum() == (semantic == k).sum()


@pytest.mark.parametrize("name", [OVERLAPPING, "the first six"])
def test_nuclei(tmp_path: Path, name: str) -> None:
    folders = [NUCLEI / name] if name == OVERLAPPING else sorted(NUCLEI.iterdir())[:6]
    for folder in folders:
        masks = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0 for path in sorted((folder / "masks").glob("*.png"))]
        masks = [mask if mask.ndim == 2 else mask.any(axis=2) for mask in masks]
        scene = Scene("a", masks[0].shape)
        for mask in masks:
            scene.predict(mask, 1)
        sample = read_again(tmp_path, scene.prediction, scene.size)
        found = masks_of(sample)
        assert len(found) == len(masks) > 3
        assert all(np.array_equal(a, b) for a, b in zip(found[::-1], masks, strict=True))
        features = geojson(scene.prediction, CLASSES, 0, 1)["features"]
        assert [shape(f["geometry"]).area for f in features[::-1]] == [mask.sum() for mask in masks]
