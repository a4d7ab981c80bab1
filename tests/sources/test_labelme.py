"""LabelMe: every shape with its area, images beside, elsewhere and within the JSON, groups, and what is left out."""

import base64
from pathlib import Path

import numpy as np
import pytest
from annotations import areas, labelme, png_text, shape, square, write_images, write_labelme
from pycocotools import mask as coco_mask
from tiny import SIZE, encoded, masks_of, picture, read_all, split

from seg.core.errors import DataError


def test_every_shape_has_its_area(tmp_path: Path) -> None:
    write_images(tmp_path, "a")
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:5] = True
    shapes = [
        square("cat", 2, 3, 8, 9),
        shape("cat", [[1, 1], [5, 1], [5, 3], [1, 3]], None),
        shape("cat", [[20, 12], [10, 2]], "rectangle"),
        shape("cat", [[20, 2], [22, 2], [22, 12], [20, 12]], "rectangle"),
        shape("dog", [[12, 20], [22, 20]], "line"),
        shape("dog", [[4, 16], [4, 20], [4, 23]], "linestrip"),
        shape("dog", [[7.6, 12.9], [12, 16]], "mask", mask=png_text(mask)),
        shape("dog", [[16, 12], [16, 17]], "circle"),
        shape("dog", [[25, 16]], "point"),
    ]
    write_labelme(tmp_path / "a.json", shapes)
    sample = read_all(labelme(tmp_path))["a"]
    assert areas(sample)[:7] == [36, 8, 100, 20, 40, 28, 8]
    assert areas(sample)[7:] == [pytest.approx(np.pi * 25, abs=4), pytest.approx(np.pi * 9, abs=4)]
    assert np.argwhere(masks_of(sample)[6])[[0, -1]].tolist() == [[13, 8], [14, 11]], "a mask lies at its whole pixel"
    assert sample.categories.tolist() == [1] * 4 + [2] * 5


def test_groups_join_parts_and_labels_tell_them_apart(tmp_path: Path) -> None:
    write_images(tmp_path, "a")
    shapes = [
        square("cat", 2, 3, 8, 9, group_id=0),
        square("cat", 12, 3, 14, 9, group_id=0),
        square("dog", 20, 3, 22, 9, group_id=0),
        square("__ignore__", 20, 12, 22, 14),
        square("_background_", 2, 3, 30, 20, flags={"occluded": True}),
    ]
    write_labelme(tmp_path / "a.json", shapes)
    sample = read_all(labelme(tmp_path))["a"]
    assert (areas(sample), sample.categories.tolist(), sample.crowd.tolist()) == ([4, 48, 12], [1, 1, 2], [True, False, False])
    assert np.bincount(sample.semantic.ravel(), minlength=256)[[0, 1, 2, 255]].tolist() == [24 * 32 - 64, 48, 12, 4]


def test_images_in_a_folder_of_their_own_and_named_by_a_path_of_windows(tmp_path: Path) -> None:
    write_images(tmp_path / "images", "a", "sub/b", "other", "sub/deep")
    write_labelme(tmp_path / "json" / "a.json", [square("cat", 2, 3, 8, 9)], "..\\images\\a.png")
    write_labelme(tmp_path / "json" / "sub" / "b.json", [square("dog", 2, 3, 8, 9)], "C:\\somebody\\b.png")
    write_labelme(tmp_path / "json" / "renamed.json", [], "D:\\other.png")
    write_labelme(tmp_path / "json" / "z.json", [], "..\\images\\sub\\deep.png")
    source = labelme(tmp_path, images="images", annotations="json")
    items = source.items()
    assert [(i.image_id, Path(i.files[0]).name) for i in items] == [
        ("a", "a.png"),
        ("renamed", "other.png"),
        ("sub/b", "b.png"),
        ("z", "deep.png"),
    ]
    records = [source.read(item) for item in items]
    assert [r.sample.categories.tolist() for r in records] == [[1], [], [2], []]
    assert np.array_equal(records[1].sample.image, picture(2))
    assert {"sub/b.png", "b.png", "b", "sub/b"} <= set(items[2].names)
    assert source.findings == []
    assert [f for r in records for f in r.findings] == []


def test_a_file_that_names_another_image_than_its_name_says_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, "a", "b")
    for name in "ab":
        write_labelme(tmp_path / f"{name}.json", [], "a.png")
    source = labelme(tmp_path)
    found = [f for item in source.items() for f in source.read(item).findings]
    assert [(f.kind, str(f)) for f in found] == [
        (
            "other-image-name",
            f"{tmp_path}/b.json: names the image a.png, but is used for b.png, whose name it has; rename one of them, or correct imagePath",
        )
    ]
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"b.json: is of the image .*a.png, and so is .*a.json; remove one of the two"):
        source.items()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_within_the_json(tmp_path: Path, suffix: str) -> None:
    data = encoded(picture(3), suffix)
    write_labelme(tmp_path / "a.json", [square("cat", 2, 3, 8, 9)], "gone.tif", imageData=base64.b64encode(data).decode())
    source = labelme(tmp_path)
    (item,) = source.items()
    record = source.read(item)
    assert (record.sample.image_id, record.encoded, record.suffix) == ("a", data, suffix)
    assert areas(record.sample) == [36]
    assert np.abs(record.sample.image.astype(int) - picture(3)).mean() < 8


def test_an_image_beside_goes_before_the_one_within(tmp_path: Path) -> None:
    write_images(tmp_path, "a")
    data = base64.b64encode(encoded(picture(3), ".png")).decode()
    write_labelme(tmp_path / "a.json", [square("cat", 2, 3, 8, 9)], imageData=data, imageHeight=None)
    assert np.array_equal(read_all(labelme(tmp_path))["a"].image, picture(0))


def test_images_without_json_are_refused_or_left_out(tmp_path: Path) -> None:
    write_images(tmp_path, "a", "b", "c")
    write_labelme(tmp_path / "a.json", [])
    write_labelme(tmp_path / "lost.json", [])
    with pytest.raises(DataError, match=r"b.png: has no JSON file b.json in .* \(and 1 more images without one\); save one with LabelMe"):
        labelme(tmp_path).items()
    source = labelme(tmp_path, skip_unlabelled=True)
    assert [i.image_id for i in source.items()] == ["a"]
    assert [(f.kind, str(f).partition(": ")[2]) for f in source.findings] == [
        (
            "label-without-image",
            f"1 JSON files have no image and are left out, such as lost.json; add the image to {tmp_path}, or set data.source.images",
        ),
        ("image-without-label", "2 images have no JSON file and are left out, such as b.png"),
    ]


def test_folders_of_splits(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_images(tmp_path / part, "a")
        write_labelme(tmp_path / part / "a.json", [])
    source = labelme(tmp_path, split("folders"), images="{split}", annotations="{split}")
    assert [(i.split, i.image_id) for i in source.items()] == [("train", "a"), ("val", "a"), ("test", "a")]


def test_rotated_rectangles_of_x_anylabeling(tmp_path: Path) -> None:
    write_images(tmp_path, "a")
    corners = [[10.0, 2.0], [14.0, 6.0], [8.0, 12.0], [4.0, 8.0]]
    shapes = [shape("cat", corners, "rotation", direction=0.78), shape("dog", [[20, 2], [24, 2], [24, 8], [20, 8]], "rectangle")]
    write_labelme(tmp_path / "a.json", [*shapes, shape("cat", [[20, 12], [28, 12], [28, 16], [20, 16]], "quadrilateral")])
    source = labelme(tmp_path)
    expected = int(coco_mask.area(coco_mask.frPyObjects([[v for p in corners for v in p]], *SIZE))[0])
    assert areas(source.read(source.items()[0]).sample) == [expected, 24, 32]
    write_labelme(tmp_path / "a.json", [shape("cat", corners[:2], "rotation")])
    with pytest.raises(DataError, match="shape 0: is a rotation of 2 points, expected 4"):
        source.read(source.items()[0])
