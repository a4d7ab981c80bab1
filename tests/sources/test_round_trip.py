"""An import loses nothing: what is prepared, read again as COCO and prepared again, gives the same label maps."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from annotations import CLASSES, VOC_CLASSES, labelme, shape, voc, write_images, write_labelme, write_voc
from tiny import CLASSES as BLOB_CLASSES
from tiny import SIZE, Blobs, prepare_tiny, read_back, split, tree

from seg.data.sample import ClassInfo, Sample
from seg.raw.record import Source
from seg.sources.coco import Coco
from seg.sources.images import ImageReader


def again(folder: Path, classes: Sequence[ClassInfo]) -> Coco:
    """A prepared data set as a source, its splits as they are."""
    given = {"root": str(folder), "annotations": "{split}/instances.json", "images": "{split}/images", "split": split("folders")}
    rules = {"ignore": [], "drop": [], "others": "refuse", "holes": False}
    return Coco(**given, **rules, classes=classes, reader=ImageReader(3))  # type: ignore[arg-type]


def polygons(root: Path) -> Source:
    """LabelMe with random overlapping polygons, groups, lines, masks, ignored regions, and an image of none."""
    names = [f"image{number}" for number in range(8)]
    write_images(root, *names)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        shapes = []
        for index in range(0 if number == 3 else 7):
            points = rng.uniform((-2, -2), (SIZE[1] + 2, SIZE[0] + 2), (2 if index == 5 else 5, 2)).round(3).tolist()
            label = "__ignore__" if index == 2 else ("cat", "dog")[index % 2]
            shapes.append(
                shape(label, points, "line" if index == 5 else "polygon", group_id=index % 2 if index < 2 or index == 6 else None)
            )
        write_labelme(root / f"{name}.json", shapes)
    return labelme(root)


SOURCES: dict[str, tuple[Callable[[Path], Source], Sequence[ClassInfo], int]] = {
    "coco": (lambda _: Blobs(), [ClassInfo("background", (0, 0, 0)), *BLOB_CLASSES[1:]], 3),
    "labelme": (polygons, CLASSES, 3),
    "voc": (lambda root: voc(write_voc(root, 6)), VOC_CLASSES, 1),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_label_maps_survive_a_second_import(tmp_path: Path, kind: str) -> None:
    make, classes, layers = SOURCES[kind]
    plain = [ClassInfo(c.name, c.color) for c in classes]
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    prepare_tiny(make(tmp_path / "raw"), first, classes=classes)
    prepare_tiny(again(first, plain), second, split("folders"), classes=plain)
    prepare_tiny(again(second, plain), third, split("folders"), classes=plain)
    before, after = read_back(first), read_back(second)
    assert sorted(before) == sorted(after)
    assert max(s.instances.shape[2] for s in before.values()) >= layers
    assert sum(len(s.categories) for s in before.values()) >= 18
    assert any(s.crowd.any() for s in before.values())
    for name, sample in before.items():
        same(sample, after[name])
    kept = [{name: data for name, data in tree(folder).items() if name != "doctor.json"} for folder in (second, third)]
    assert kept[0] == kept[1], "but for what names the raw files"


def same(one: Sample, other: Sample) -> None:
    """All that two samples hold is equal, instance by instance and layer by layer; crowds come first on reading."""
    order = np.argsort(~one.crowd, kind="stable")
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.categories[order], other.categories)
    assert np.array_equal(one.crowd[order], other.crowd)
    assert one.instances.shape[:2] == other.instances.shape[:2]
    for number, index in enumerate(order):
        assert np.array_equal((one.instances == index + 1).any(axis=2), (other.instances == number + 1).any(axis=2)), one.image_id
    if np.array_equal(order, np.arange(len(order))):
        assert np.array_equal(one.semantic, other.semantic)
        assert np.array_equal(one.instances, other.instances)
