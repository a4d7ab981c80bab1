"""Pascal VOC: palette PNGs by index, objects with their classes, void, images that have boxes only."""

from pathlib import Path

import numpy as np
import pytest
from annotations import VOC_CLASSES, voc, voc_scene, write_voc
from tiny import masks_of, picture, prepare_tiny, read_back, split, write

from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo
from seg.sources.voc import instances_of


def test_objects_have_the_class_of_their_pixels_and_void_is_a_crowd(tmp_path: Path) -> None:
    source = voc(write_voc(tmp_path))
    sample = source.read(source.items()[0]).sample
    assert (sample.categories.tolist(), sample.crowd.tolist()) == ([1, 1, 2], [True, False, False])
    assert [int(m.sum()) for m in masks_of(sample)] == [36 - 16, 16, 15]
    assert np.array_equal(sample.semantic, voc_scene()[0])


def test_classes_alone(tmp_path: Path) -> None:
    source = voc(write_voc(tmp_path), task="semantic")
    assert not source.with_instances
    sample = source.read(source.items()[1]).sample
    assert (len(sample.categories), np.array_equal(sample.semantic, voc_scene(shift=1)[0])) == (0, True)
    drop = voc(tmp_path, task="semantic", classes=VOC_CLASSES[:2], drop=[2])
    assert np.bincount(drop.read(drop.items()[1]).sample.semantic.ravel()).tolist()[:2] == [24 * 32 - 36, 16]


def test_labels_rename_and_merge_and_drop(tmp_path: Path) -> None:
    write_voc(tmp_path)
    animal = [VOC_CLASSES[0], ClassInfo("animal", (1, 1, 1), (1, 2))]
    classes = [ClassInfo("background", (0, 0, 0), (0,)), *animal[1:]]
    source = voc(tmp_path, classes=classes)
    assert source.read(source.items()[0]).sample.categories.tolist() == [1, 1, 1]
    source = voc(tmp_path, classes=VOC_CLASSES[:2], drop=[2])
    sample = source.read(source.items()[0]).sample
    assert (sample.categories.tolist(), np.unique(sample.semantic).tolist()) == ([1, 1], [0, 1, 255])


def test_images_with_boxes_only_are_left_out(tmp_path: Path) -> None:
    write_voc(tmp_path)
    write(tmp_path / "JPEGImages" / "boxes.png", picture(8))
    source = voc(tmp_path)
    assert [item.image_id for item in source.items()] == ["0", "1", "2"]
    assert [(f.kind, str(f)) for f in source.findings] == [
        ("image-without-label", f"{tmp_path}/JPEGImages: 1 images have no mask and are left out, such as boxes.png")
    ]


def test_lists_of_voc_name_the_splits(tmp_path: Path) -> None:
    raw = write_voc(tmp_path / "raw")
    lists = {}
    for number, name in enumerate(("train", "val", "test")):
        lists[name] = f"ImageSets/Segmentation/{name}.txt"
        path = raw / lists[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    info = prepare_tiny(voc(raw), tmp_path / "out", split("lists", lists=lists, ratios=None), raw, classes=VOC_CLASSES)
    assert {name: counts["num_instances"] for name, counts in info.splits.items()} == {"train": 3, "val": 3, "test": 3}
    assert sorted(read_back(tmp_path / "out")) == ["0", "1", "2"]


def test_gray_masks_are_read_by_value(tmp_path: Path) -> None:
    write_voc(tmp_path)
    for folder, values in zip(("SegmentationClass", "SegmentationObject"), voc_scene(), strict=True):
        write(tmp_path / folder / "0.png", values)
    source = voc(tmp_path)
    assert np.array_equal(source.read(source.items()[0]).sample.semantic, voc_scene()[0])


@pytest.mark.parametrize(
    ("objects", "targets", "ids", "classes", "odd"),
    [
        ([0, 1, 1, 2], [0, 3, 3, 4], [0, 1, 1, 2], [3, 4], []),
        ([0, 5, 5, 9], [0, 3, 3, 4], [0, 1, 1, 2], [3, 4], []),
        ([255, 1, 1, 0], [255, 3, 255, 255], [1, 2, 2, 1], [255, 3], []),
        ([1, 1, 1, 2], [3, 4, 3, 4], [1, 1, 1, 2], [3, 4], ["object-of-two-classes"]),
        ([1, 1, 1, 2], [0, 0, 3, 4], [1, 1, 1, 2], [255, 4], ["object-without-class"]),
        ([1, 1, 2, 2], [255, 255, 3, 3], [1, 1, 2, 2], [255, 3], ["object-without-class"]),
        ([0, 0, 2, 2], [4, 0, 3, 3], [1, 0, 2, 2], [255, 3], ["class-without-object"]),
        ([0, 1, 2, 2], [-1, -1, 3, 3], [0, 0, 1, 1], [3], []),
    ],
)
def test_objects_and_classes_by_hand(objects: list[int], targets: list[int], ids: list[int], classes: list[int], odd: list[str]) -> None:
    found = instances_of(np.array([objects], np.uint8), np.array([targets], np.int16), 0)
    assert (found[0].tolist(), found[1].tolist(), [kind for kind, _ in found[2]]) == ([ids], classes, odd)


def test_slips_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path)
    with pytest.raises(ConfigError, match=r"^data.source.task=semantics: did you mean 'semantic'\?"):
        voc(tmp_path, task="semantics")
    source = voc(tmp_path, classes=VOC_CLASSES[:2])
    with pytest.raises(DataError, match=r"0.png: has the value 2 in 15 pixels, which no class has \(the classes have 0, 1\); "):
        source.read(source.items()[0])


def test_colours_of_a_segmentation_mask_of_cvat(tmp_path: Path) -> None:
    """Classes and objects by colour: red alone is a colour like others, though its number is that of void."""
    classes, objects = (np.where(found == 255, 0, found) for found in voc_scene())
    colors = np.array([[0, 0, 0], [48, 112, 32], [176, 112, 32]], np.uint8)
    write(tmp_path / "JPEGImages" / "a.png", picture(0))
    write(tmp_path / "SegmentationClass" / "a.png", colors[classes])
    write(tmp_path / "SegmentationObject" / "a.png", np.array([[0, 0, 0], [255, 0, 0], [0, 0, 0], [0, 200, 7]], np.uint8)[objects])
    known = [ClassInfo("background", (0, 0, 0)), ClassInfo("Cat", (48, 112, 32)), ClassInfo("Dog", (176, 112, 32))]
    source = voc(tmp_path, classes=known, labels="color", ignore=[])
    sample = source.read(source.items()[0]).sample
    assert np.array_equal(sample.semantic, classes)
    assert (sorted(sample.categories.tolist()), sample.crowd.any()) == ([1, 2], False)
    source = voc(tmp_path, classes=known[:2], labels="color", ignore=[])
    with pytest.raises(DataError, match=r"has the colour \[176, 112, 32\] in 15 pixels"):
        source.read(source.items()[0])
